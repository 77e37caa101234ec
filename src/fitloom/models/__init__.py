# SPDX-License-Identifier: Apache-2.0
"""What users hold: Model, Sequential, and what makes, copies and shows them."""
from fitloom.layers.graph import Function as Function, get_source_inputs as get_source_inputs
from fitloom.models.cloning import clone_model as clone_model
from fitloom.models.model import (
    Functional as Functional,
    Model as Model,
    model_from_config as model_from_config,
    model_from_json as model_from_json,
)
from fitloom.models.plotting import model_to_dot as model_to_dot, plot_model as plot_model
from fitloom.models.sequential import Sequential as Sequential
