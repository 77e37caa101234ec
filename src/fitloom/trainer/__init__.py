# SPDX-License-Identifier: Apache-2.0
"""The training loop: compile, fit, evaluate, predict."""
from fitloom.trainer.compile_loss import CompileLoss as CompileLoss
from fitloom.trainer.compile_metrics import CompileMetrics as CompileMetrics
from fitloom.trainer.compiling import (
    compile as compile,
    compile_from_config as compile_from_config,
    get_compile_config as get_compile_config,
    get_metrics_result as get_metrics_result,
    metrics as metrics,
    metrics_names as metrics_names,
    reset_metrics as reset_metrics,
)
from fitloom.trainer.loop import (
    evaluate as evaluate,
    fit as fit,
    predict as predict,
    predict_on_batch as predict_on_batch,
    test_on_batch as test_on_batch,
    train_on_batch as train_on_batch,
)
from fitloom.trainer.programs import make_function as _make_function
from fitloom.trainer.py_dataset import PyDataset as PyDataset
from fitloom.trainer.steps import (
    CompiledMetrics as CompiledMetrics,
    compiled_loss as compiled_loss,
    compute_loss as compute_loss,
    compute_metrics as compute_metrics,
    pack_x_y_sample_weight as pack_x_y_sample_weight,
    predict_step as predict_step,
    test_step as test_step,
    train_step as train_step,
    unpack_x_y_sample_weight as unpack_x_y_sample_weight,
)
from fitloom.trainer.validation import check_data as check_data


def make_train_function(model, force=False):
    """Return a function that trains on the next batch of an iterator and returns the logs."""
    return _make_function(model, "train", force)


def make_test_function(model, force=False):
    """Return a function that evaluates the next batch of an iterator and returns the logs."""
    return _make_function(model, "test", force)


def make_predict_function(model, force=False):
    """Return a function that predicts the next batch of an iterator."""
    return _make_function(model, "predict", force)
