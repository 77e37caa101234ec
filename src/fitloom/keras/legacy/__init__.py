# SPDX-License-Identifier: Apache-2.0
"""`keras.legacy`. Names only."""

from fitloom.keras.legacy import saving as saving
