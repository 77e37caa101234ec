# SPDX-License-Identifier: Apache-2.0
"""`keras.preprocessing.sequence`. Names only."""

from fitloom.data.arrays import pad_sequences as pad_sequences
from fitloom.data.token_lists import make_sampling_table as make_sampling_table, skipgrams as skipgrams
from fitloom.trainer.generators import TimeseriesGenerator as TimeseriesGenerator
