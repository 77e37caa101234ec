# SPDX-License-Identifier: Apache-2.0
"""What made a step's numbers bad: the batch once more, layer by layer, then operation by operation."""
import functools

import numpy as np

from fitloom import engine, ops
from fitloom.autodiff import GradientTape
from fitloom.base import nest
from fitloom.monitor.arithmetic import first_bad_operation
from fitloom.trainer.compiling import nested_layers
from fitloom.trainer.steps import unpack_x_y_sample_weight


def diagnose(model, batch):
    """Return a text that names the first bad tensor of a batch: the data, a weight, a layer and its operation, the loss
    or a gradient, with the samples.

    Args:
        model: the model, with the weights before the bad step.
        batch: the data of the step, NumPy or tensors.
    """
    data = nest.map_structure(lambda leaf: None if leaf is None else engine.convert_to_tensor(leaf), batch)
    x, y, sample_weight = unpack_x_y_sample_weight(data)
    for label, part in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        for leaf in nest.flatten(part) if part is not None else ():
            if leaf is not None and _bad(leaf):
                return f"The data are bad: {label} holds {_what(leaf)} in {_samples(leaf)}."
    for variable in model.variables:
        if _bad(variable):
            return f"The weight '{variable.path}' held {_what(variable)} already."
    with engine.eager_scope():
        found = _forward(model, x)
        if found is not None:
            return found
        y_pred = model(x, training=True)
        loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        if _bad(loss):
            def again(outputs):
                return model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight)
            return (f"Every layer's output is finite, the loss is {float(loss)}."
                    + _operation(again, (y_pred,), model.variables))
        with GradientTape() as tape:
            y_pred = model(x, training=True)
            loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        weights = model.trainable_weights
        for weight, gradient in zip(weights, tape.gradient(loss, weights)):
            if gradient is not None and _bad(gradient):
                return f"The loss is {float(loss):g}, but the gradient of '{weight.path}' holds {_what(gradient)}."
    return (f"Forward pass (loss {float(loss):g}) and gradients are finite: the update made it bad. Look at the "
            f"learning rate and at the optimizer ({type(model.optimizer).__name__}).")


def _forward(model, x):
    """Return the text for the first layer whose output is bad, or None."""
    found, layers = [], [layer for layer in nested_layers(model) if layer is not model]

    def watching(layer, call):
        @functools.wraps(call)
        def watched(*args, **kwargs):
            outputs = call(*args, **kwargs)
            if not found:
                for leaf in nest.flatten(outputs):
                    if isinstance(leaf, engine.Tensor) and _bad(leaf):
                        found.append((layer, call, args, kwargs, leaf))
                        break
            return outputs
        return watched

    before = {layer: layer.__dict__.get("call") for layer in layers}
    try:
        for layer in layers:
            layer.__dict__["call"] = watching(layer, layer.call)
        model(x, training=True)
    finally:
        for layer, call in before.items():
            layer.__dict__.pop("call")
            if call is not None:
                layer.__dict__["call"] = call
    if not found:
        return None
    layer, call, args, kwargs, output = found[0]
    text = (f"The first bad tensor is the output of layer '{layer.name}' ({type(layer).__name__}): {_what(output)} in "
            f"{_samples(output)}, shape {tuple(output.shape)}.")
    tensors = [leaf for leaf in nest.flatten(args) if isinstance(leaf, engine.Tensor)]

    def again(*given):
        rest = iter(given)
        return call(*nest.map_structure(lambda leaf: next(rest) if isinstance(leaf, engine.Tensor) else leaf, args),
                    **kwargs)
    return text + _operation(again, tensors, layer.variables)


def _operation(fn, tensors, variables):
    """Return a sentence that names the first bad operation of `fn(*tensors)`, or nothing."""
    pure = engine.functional(fn, variables)
    values = pure.read()
    try:
        operation = first_bad_operation(
            lambda *arrays: pure(values, np.uint64(0), *arrays)[0], [tensor.array for tensor in tensors])
    except Exception:                # only the name of the operation is missing then
        return ""
    return "" if operation is None else f" The operation {operation}."


def _host(tensor):
    return np.asarray(engine.convert_to_tensor(tensor).numpy())


def _bad(tensor):
    tensor = engine.convert_to_tensor(tensor)
    return tensor.dtype.is_floating and not bool(ops.reduce_all(ops.is_finite(tensor)))


def _what(tensor):
    host = _host(tensor).astype(np.float64)
    return "NaN" if np.isnan(host).any() else "infinity"


def _samples(tensor):
    host = _host(tensor).astype(np.float64)
    if host.ndim == 0:
        return "one number"
    rows = np.flatnonzero(~np.isfinite(host).reshape(len(host), -1).all(axis=1))
    return (f"{len(rows)} of {len(host)} samples of the batch (first: {', '.join(map(str, rows[:5]))})")
