# SPDX-License-Identifier: Apache-2.0
"""`tf.train`: examples, and checkpoints. Names only."""

from fitloom.data.messages import (
    BytesList as BytesList,
    Example as Example,
    Feature as Feature,
    FeatureList as FeatureList,
    FeatureLists as FeatureLists,
    Features as Features,
    FloatList as FloatList,
    Int64List as Int64List,
    SequenceExample as SequenceExample,
)
from fitloom.distribute.cluster_resolver import ClusterSpec as ClusterSpec
from fitloom.optimizers.moving_average import ExponentialMovingAverage as ExponentialMovingAverage
from fitloom.saving.checkpoint import Checkpoint as Checkpoint, CheckpointOptions as CheckpointOptions
from fitloom.saving.checkpoint_manager import CheckpointManager as CheckpointManager
from fitloom.saving.checkpoint_reader import (
    checkpoints_iterator as checkpoints_iterator,
    list_variables as list_variables,
    load_checkpoint as load_checkpoint,
    load_variable as load_variable,
)
from fitloom.saving.checkpoint_state import (
    get_checkpoint_state as get_checkpoint_state,
    latest_checkpoint as latest_checkpoint,
)
