# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.export`: names only."""
from fitloom.saving.export import ExportArchive as ExportArchive
