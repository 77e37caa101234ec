# SPDX-License-Identifier: Apache-2.0
"""`tf.train`: examples, and checkpoints. Names only."""

from fitloom.data.messages import (
    BytesList as BytesList,
)
from fitloom.data.messages import (
    Example as Example,
)
from fitloom.data.messages import (
    Feature as Feature,
)
from fitloom.data.messages import (
    FeatureList as FeatureList,
)
from fitloom.data.messages import (
    FeatureLists as FeatureLists,
)
from fitloom.data.messages import (
    Features as Features,
)
from fitloom.data.messages import (
    FloatList as FloatList,
)
from fitloom.data.messages import (
    Int64List as Int64List,
)
from fitloom.data.messages import (
    SequenceExample as SequenceExample,
)
