# SPDX-License-Identifier: Apache-2.0
"""One step of training, evaluation and prediction, as `Model.train_step` and its neighbours run it by default."""
import contextlib
import inspect
import threading
import warnings

from fitloom import ops
from fitloom.autodiff import GradientTape
from fitloom.base import nest
from fitloom.trainer.compiling import compiled_of


class _Rows(threading.local):
    mask = None


_rows = _Rows()


@contextlib.contextmanager
def counting_only(row_mask):
    """Within: rows whose mask is False are padding; they count in no loss and no metric."""
    before, _rows.mask = _rows.mask, row_mask
    try:
        yield
    finally:
        _rows.mask = before


def pack_x_y_sample_weight(x, y=None, sample_weight=None):
    """Return the data a step receives: x, (x, y) or (x, y, sample_weight)."""
    if y is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data):
    """Return (x, y, sample_weight) from x, [x], (x,), (x, y) or (x, y, sample_weight); what is missing is None.

    Raises:
        ValueError: a tuple of another length.
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if len(data) <= 3 and data:
        return (*data, None, None)[:3]
    raise ValueError("Data is expected to be x, (x,), (x, y) or (x, y, sample_weight), but received a tuple of "
                     f"{len(data)}. Several inputs belong in one tuple or dict: ((x1, x2), y).")


def rows_of(x):
    """Return the number of rows of a batch: an int, or without the padding a scalar Tensor."""
    if _rows.mask is not None:
        return ops.reduce_sum(ops.cast(_rows.mask, "float32"))
    leaves = [leaf for leaf in nest.flatten(x) if leaf is not None]
    return float(leaves[0].shape[0]) if leaves and len(leaves[0].shape) else 1.0


def train_step(model, data):
    """Compute the loss and its gradients, apply them, and return the metrics as a dict."""
    x, y, sample_weight = unpack_x_y_sample_weight(data)
    with GradientTape() as tape:
        y_pred = model(x, training=True)
        loss = _loss_of(model, x, y, y_pred, sample_weight, True)
        _track(model, loss, x)
        if model.optimizer is not None:
            loss = model.optimizer.scale_loss(loss)
    weights = model.trainable_weights
    if weights:
        gradients = tape.gradient(loss, weights)
        model.optimizer.apply_gradients(zip(gradients, weights))
    else:
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def test_step(model, data):
    """Compute the loss and return the metrics as a dict."""
    x, y, sample_weight = unpack_x_y_sample_weight(data)
    y_pred = model(x, training=False)
    loss = _loss_of(model, x, y, y_pred, sample_weight, False)
    _track(model, loss, x)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def predict_step(model, data):
    """Return the predictions for a batch."""
    x, _, _ = unpack_x_y_sample_weight(data)
    return model(x, training=False)


def _loss_of(model, x, y, y_pred, sample_weight, training):
    """Call the model's compute_loss; an older override may not know the argument `training`."""
    arguments = dict(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
    parameters = inspect.signature(model.compute_loss).parameters
    if "training" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        arguments["training"] = training
    return model.compute_loss(**arguments)


def compute_loss(model, x=None, y=None, y_pred=None, sample_weight=None, training=True):
    """Return the total loss of a batch: the compiled losses plus the model's added losses (a scalar Tensor)."""
    compiled, parts = compiled_of(model), []
    if compiled is not None and compiled.compile_loss is not None:
        total = compiled.compile_loss(y, y_pred, sample_weight, row_mask=_rows.mask)
        compiled.denominator, compiled.compile_loss.denominator = compiled.compile_loss.denominator, None
        if total is not None:
            parts.append(total)
    parts += [ops.reduce_sum(ops.cast(loss, "float32")) for loss in model.losses]
    if not parts:
        if training and model.trainable_weights and model.optimizer is not None and compiled is not None \
                and compiled.compile_loss is None:
            raise ValueError(f"Model '{model.name}' has no loss to train with. Give compile() one, for example "
                             "model.compile('adam', loss='mse'), or use add_loss() in a layer.")
        warnings.warn("The model does not have any loss to compute: give compile() a loss, or use add_loss().",
                      stacklevel=2)
        return ops.zeros(())
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _track(model, loss, x):
    """Enter the loss into the mean of the epoch, weighted by what it was divided by."""
    compiled = compiled_of(model)
    if compiled is None:
        return
    denominator, compiled.denominator = compiled.denominator, None
    compiled.loss_tracker.update_state(loss, sample_weight=rows_of(x) if denominator is None else denominator)


def compute_metrics(model, x, y, y_pred, sample_weight=None):
    """Update the compiled metrics with a batch and return all results as a dict."""
    CompiledMetrics(model).update_state(y, y_pred, sample_weight)
    return model.get_metrics_result()


def compiled_loss(model, y_true, y_pred, sample_weight=None, regularization_losses=None):
    """Return the compiled losses of a batch plus `regularization_losses`, and enter the sum into the log 'loss'."""
    compiled = compiled_of(model)
    if compiled is None or compiled.compile_loss is None:
        raise ValueError("compiled_loss needs a loss: give one to compile().")
    total = compiled.compile_loss(y_true, y_pred, sample_weight, row_mask=_rows.mask)
    compiled.denominator, compiled.compile_loss.denominator = compiled.compile_loss.denominator, None
    for loss in regularization_losses or ():
        total = total + ops.reduce_sum(ops.cast(loss, "float32"))
    _track(model, total, y_true)
    return total


class CompiledMetrics:
    """`model.compiled_metrics` of tf.keras 2: the metrics that `compile` was given."""

    def __init__(self, model):
        self._metrics = getattr(compiled_of(model), "compile_metrics", None)

    @property
    def metrics(self):
        """The metrics, flat."""
        return [] if self._metrics is None else self._metrics.metrics

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Update every metric with its output."""
        if self._metrics is not None:
            self._metrics.update_state(y_true, y_pred, sample_weight, row_mask=_rows.mask)

    def reset_state(self):
        """Reset every metric."""
        for metric in self.metrics:
            metric.reset_state()
