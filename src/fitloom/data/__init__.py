# SPDX-License-Identifier: Apache-2.0
"""`tf.data`: how batches arrive. A dataset is a plan; iterating it runs the plan, rewritten to be fast."""
from fitloom.data import experimental as experimental
from fitloom.data.combining import NestedSpec as DatasetSpec
from fitloom.data.dataset import Dataset as Dataset
from fitloom.data.iterators import Iterator as Iterator, NumpyIterator as NumpyIterator
from fitloom.data.options import Options as Options, ThreadingOptions as ThreadingOptions
from fitloom.data.plan import INFINITE as INFINITE_CARDINALITY, UNKNOWN as UNKNOWN_CARDINALITY
from fitloom.data.records import (
    FixedLengthRecordDataset as FixedLengthRecordDataset,
    TextLineDataset as TextLineDataset,
    TFRecordDataset as TFRecordDataset,
)
from fitloom.data.threads import AUTOTUNE as AUTOTUNE
