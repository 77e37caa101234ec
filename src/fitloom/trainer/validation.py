# SPDX-License-Identifier: Apache-2.0
"""Bad input is found before the first step: what was expected, what came, how to fix it."""
import math
import numbers
import os

import numpy as np

from fitloom import losses
from fitloom.base import nest

# NaN and infinity in data held in memory are an error; FITLOOM_CHECK_DATA=0 or `check_data(False)` turns it off.
_check_values = os.environ.get("FITLOOM_CHECK_DATA", "1") != "0"


def check_data(enabled=True):
    """Turn the search for NaN and infinity in the data given to `fit` and `evaluate` on or off."""
    global _check_values
    _check_values = bool(enabled)


def check_integer(name, value, least, optional=True):
    """Raise unless `value` is an integer >= `least` (or None)."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (numbers.Integral, np.integer)):
        if not (isinstance(value, float) and value.is_integer() and name != "batch_size"):
            raise TypeError(f"{name} must be an integer, but received {value!r} ({type(value).__name__}).")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, but received {value}.")


def check_fit_arguments(epochs, initial_epoch, batch_size, steps_per_epoch, validation_split, validation_steps,
                        validation_batch_size, validation_freq, verbose):
    """Raise for numbers with which nothing, or nonsense, would be computed."""
    check_integer("epochs", epochs, 0, optional=False)
    check_integer("initial_epoch", initial_epoch, 0, optional=False)
    check_integer("batch_size", batch_size, 1)
    check_integer("steps_per_epoch", steps_per_epoch, 1)
    check_integer("validation_steps", validation_steps, 1)
    check_integer("validation_batch_size", validation_batch_size, 1)
    if not isinstance(validation_split, numbers.Real) or not 0 <= validation_split < 1:
        if validation_split is not None:
            raise ValueError("validation_split is the fraction of the data held back for validation, at least 0 and "
                             f"less than 1, but received {validation_split!r}.")
    if isinstance(validation_freq, (list, tuple, set)):
        for epoch in validation_freq:
            check_integer("each entry of validation_freq", epoch, 1, optional=False)
    else:
        check_integer("validation_freq", validation_freq, 1, optional=False)
    check_verbose(verbose)


def check_verbose(verbose):
    """Raise unless `verbose` is 'auto', 0, 1, 2 or a bool."""
    if verbose != "auto" and verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 'auto', 0 (silent), 1 (progress line) or 2 (one line an epoch), but "
                         f"received {verbose!r}.")


def label_of(path, name):
    """Return how an array is called in an error: x, x['age'], y[1]."""
    return name + "".join(f"[{key!r}]" for key in path)


def paths(structure, path=()):
    """Return (path, leaf) pairs in the order of nest.flatten."""
    if isinstance(structure, dict):
        return [pair for key in nest.sorted_keys(structure) for pair in paths(structure[key], (*path, key))]
    if isinstance(structure, (list, tuple)):
        return [pair for i, child in enumerate(structure) for pair in paths(child, (*path, i))]
    return [(path, structure)]


def check_lengths(named):
    """Raise unless all arrays have the same number of rows, at least one; return it.

    Args:
        named: (label, array) pairs.
    """
    for label, array in named:
        if array.ndim == 0:
            raise ValueError(f"{label} is a scalar; training data need one row for each sample: shape (samples, ...).")
    sizes = {label: len(array) for label, array in named}
    if len(set(sizes.values())) > 1:
        listing = ", ".join(f"{label} has {size}" for label, size in sizes.items())
        raise ValueError("Data cardinality is ambiguous. Make sure all arrays contain the same number of samples: "
                         f"{listing}.")
    rows = next(iter(sizes.values()))
    if rows == 0:
        raise ValueError(f"The data is empty: {named[0][0]} has shape {named[0][1].shape}. Give at least one sample.")
    return rows


def is_text(array):
    """Whether an array holds text (bytes, as string tensors do)."""
    return array.dtype.kind == "O" and array.size > 0 and all(isinstance(v, bytes) for v in array.flat)


def check_kind(label, array):
    """Raise for arrays that are neither numbers nor, among the inputs, text."""
    kind = array.dtype.kind
    if label.startswith("x") and is_text(array):
        return
    if kind == "O":
        ragged = {np.shape(row) for row in array.flat[:1000]} if array.size else set()
        if len(ragged) > 1:
            raise ValueError(f"{label} has rows of different shapes {sorted(ragged, key=str)[:4]}, so it is no array. "
                             "Pad them to one length: tf.keras.utils.pad_sequences.")
        sample = array.flat[0] if array.size else None
        raise ValueError(f"{label} has dtype object (the first entry is a {type(sample).__name__}: {sample!r:.60}). "
                         "Convert it to numbers first, e.g. np.asarray(x, dtype='float32').")
    if kind in "Mm":
        raise ValueError(f"{label} has dtype {array.dtype}, but a compiled step takes numbers. Turn times into numbers "
                         "first, for example days: (x - x.min()) / np.timedelta64(1, 'D').")
    if kind in "UST":
        raise ValueError(f"{label} has dtype {array.dtype}, but a compiled step takes numbers. Turn it into numbers "
                         "first: StringLookup or TextVectorization applied to the data, or in a tf.data pipeline.")


def check_indices(model, x):
    """Raise for indices on the host that an Embedding right behind an Input has no row for."""
    graph = getattr(model, "_graph", None)
    if graph is None:
        return
    tables = graph.__dict__.get("_tables")
    if tables is None:
        tables = graph.__dict__["_tables"] = _tables(graph)
    if not tables:
        return
    named = isinstance(x, dict)
    arrays = None if named else nest.flatten(x)
    for position, name, layer in tables:
        array = x.get(name) if named else arrays[position] if position < len(arrays) else None
        if not isinstance(array, np.ndarray) or not array.size or array.dtype.kind not in "iuf":
            continue
        low, high = array.min(), array.max()
        if low <= -1 or high >= layer.input_dim:
            bad = low if low <= -1 else high
            raise ValueError(
                f"x contains the index {bad} (row {int(np.argwhere(array == bad)[0][0])}), but Embedding "
                f"'{layer.name}' has input_dim={layer.input_dim}, so indices must be 0..{layer.input_dim - 1}. "
                + ("Indices begin at 0." if low <= -1 else f"Make input_dim {int(high) + 1} or more."))


def _tables(graph):
    """Return (position of the input, its name, the layer) for each Embedding right behind an Input."""
    names = [inputs._keras_history.operation.name for inputs in graph.inputs]
    starts = [(getattr(node.input_tensors[0]._keras_history.operation, "name", None), layer)
              for layer in graph.operations if type(layer).__name__ in ("Embedding", "ReversibleEmbedding")
              for node in layer._inbound_nodes if node.input_tensors]
    return [(names.index(name), name, layer) for name, layer in starts if name in names]


def check_finite(label, array):
    """Raise if a float array held in memory has NaN or infinity; name the column and the first rows."""
    if not _check_values or array.dtype.kind not in "fc" and array.dtype.name != "bfloat16":
        return
    flat = array.reshape(len(array), -1)
    # the sum is NaN or infinite if anything is; a sum that overflows is looked at in detail
    with np.errstate(all="ignore"):
        if math.isfinite(float(np.sum(flat, dtype=np.float64))):
            return
    bad = ~np.isfinite(flat.astype(np.float32) if array.dtype.name == "bfloat16" else flat)
    if not bad.any():
        return
    rows = np.flatnonzero(bad.any(axis=1))
    columns = np.flatnonzero(bad.any(axis=0))
    what = "NaN" if np.isnan(flat[bad].astype(np.float64)).any() else "infinity"
    where = ""
    if array.ndim == 2 and array.shape[1] > 1:
        where = f" in column{'s' if len(columns) > 1 else ''} {', '.join(map(str, columns[:5]))}" \
                + (", ..." if len(columns) > 5 else "")
    raise ValueError(
        f"{label} contains {what}{where}: {len(rows)} of {len(array)} rows, first {', '.join(map(str, rows[:5]))}. "
        "Training on it makes every weight NaN. Drop or fill these rows (np.nan_to_num), or turn the check off: "
        "tf.keras.utils.check_data(False).")


def check_targets(loss, y, units_shape, label="y", loss_label=None):
    """Raise if in-memory targets cannot belong to predictions of shape `units_shape` under `loss`.

    Args:
        loss: a Loss, or None.
        y: NumPy array of targets.
        units_shape: shape of the predictions, batch axis first.
    """
    if loss is None or not len(units_shape) or y.dtype.kind in "OUS":
        return
    kind = type(loss).__name__
    function = getattr(getattr(loss, "fn", None), "__name__", "")
    units = units_shape[-1]
    sparse = kind == "SparseCategoricalCrossentropy" or function == "sparse_categorical_crossentropy"
    if sparse and getattr(loss, "axis", -1) == -1:
        _check_labels(y, units_shape, units, label, loss)
    elif kind in ("CategoricalCrossentropy", "CategoricalFocalCrossentropy") or function == "categorical_crossentropy":
        if y.ndim == len(units_shape) - 1 or (y.ndim == len(units_shape) and y.shape[-1] == 1 and units > 1):
            raise ValueError(
                f"{label} has shape {_batchless(y.shape)} (class numbers), but the loss '{loss.name}' expects one-hot "
                f"rows of {units}. Use loss='sparse_categorical_crossentropy', or tf.keras.utils.to_categorical"
                f"({label}, {units}).")
    if y.ndim == len(units_shape) and not sparse and _elementwise(loss):
        for axis in range(1, y.ndim):
            if units_shape[axis] is not None and y.shape[axis] != units_shape[axis]:
                raise ValueError(
                    f"{label} has shape {_batchless(y.shape)}, but the model's output has shape "
                    f"{_batchless(units_shape)}: the loss '{loss.name}' compares them element by element. Give targets "
                    "of the output's shape, or change the last layer.")


def _elementwise(loss):
    module = type(loss).__module__
    function = getattr(loss, "fn", None)
    return module.startswith("fitloom.") and (function is None or function.__module__.startswith("fitloom.")) \
        and type(loss).__name__ not in ("CTC", "Circle")


def _check_labels(y, units_shape, units, label, loss):
    if y.ndim == len(units_shape) and y.shape[-1] == units and units > 1:
        raise ValueError(
            f"{label} has shape {_batchless(y.shape)} (one-hot rows), but the loss '{loss.name}' expects class numbers "
            f"0..{units - 1}. Use loss='categorical_crossentropy', or np.argmax({label}, axis=-1).")
    if y.size and y.dtype.kind in "iufb":
        ignored = getattr(loss, "ignore_class", None)
        values = y if ignored is None else y[y != ignored]
        if not values.size:
            return
        low, high = values.min(), values.max()
        if low < 0 or high >= units:
            bad = low if low < 0 else high
            row = int(np.argwhere(y == bad)[0][0])
            wider = f"Make the last layer {int(high) + 1} units wide, or renumber" if low >= 0 else "Renumber"
            raise ValueError(
                f"{label} contains the label {bad} (row {row}), but the model's output has {units} units, so labels "
                f"must be 0..{units - 1}. {wider} the labels.")


def _batchless(shape):
    inner = ", ".join("None" if n is None else str(n) for n in shape[1:])
    return f"(batch, {inner})" if inner else "(batch,)"


def reduction_needs_rows(loss) -> bool:
    """Whether a Loss gives one value a row, so that padded rows can be left out of it."""
    return isinstance(loss, losses.Loss) and _elementwise(loss)
