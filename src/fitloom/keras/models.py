# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.models`."""
from fitloom.models import Functional as Functional
from fitloom.models import Model as Model
from fitloom.models import Sequential as Sequential
from fitloom.models import clone_model as clone_model
from fitloom.models import model_from_config as model_from_config
from fitloom.models import model_from_json as model_from_json
from fitloom.saving import load_model as load_model
from fitloom.saving import save_model as save_model
