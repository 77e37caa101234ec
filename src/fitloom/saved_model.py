# SPDX-License-Identifier: Apache-2.0
"""`tf.saved_model`: names only."""
from fitloom.saving.export import LoadOptions as LoadOptions, SaveOptions as SaveOptions, save as save
from fitloom.saving.exported import contains_saved_model as contains_saved_model, load as load

ASSETS_DIRECTORY = "assets"
VARIABLES_DIRECTORY = "variables"
VARIABLES_FILENAME = "variables"
DEFAULT_SERVING_SIGNATURE_DEF_KEY = "serving_default"
SERVING, TRAINING = "serve", "train"
