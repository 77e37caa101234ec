# SPDX-License-Identifier: Apache-2.0
"""`keras.preprocessing.sequence`. Names only."""

from fitloom.data.arrays import pad_sequences as pad_sequences
