# SPDX-License-Identifier: Apache-2.0
"""How a run survives: model files, weights, checkpoints."""
from fitloom.saving.export import export_model as export_model
from fitloom.saving.file_editor import KerasFileEditor as KerasFileEditor
from fitloom.saving.model_files import (
    load_model as load_model,
    load_weights as load_weights,
    save_model as save_model,
    save_weights as save_weights,
)
