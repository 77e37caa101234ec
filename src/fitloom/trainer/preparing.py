# SPDX-License-Identifier: Apache-2.0
"""Before the first step: the model is built, losses and metrics are matched with outputs, targets are checked."""
import numpy as np

from fitloom import engine
from fitloom.base import dtypes, nest
from fitloom.base.errors import InvalidArgumentError, ValueNotKnownError
from fitloom.trainer import validation
from fitloom.trainer.compile_loss import targets_of
from fitloom.trainer.compiling import compiled_of
from fitloom.trainer.programs import VALUE_NEEDED, device, is_default, jit_compiles, runs_eagerly
from fitloom.trainer.steps import unpack_x_y_sample_weight


def prepare(model, source, mode):
    """Build what is not built yet, from the first batch of `source`; raise for data that does not fit the model.

    Args:
        model: the model.
        source: a source of batches.
        mode: 'train', 'test' or 'predict'.
    """
    compiled = compiled_of(model)
    ours = compiled is not None and is_default(model, "compute_loss")
    matched = mode == "predict" or compiled is None or (
        (compiled.compile_loss is None or compiled.compile_loss.built)
        and (compiled.compile_metrics is None or compiled.compile_metrics.built))
    if model.built and matched and mode == "predict":
        if source.in_memory:
            validation.check_indices(model, source.x)
        return
    x, y, sample_weight = unpack_x_y_sample_weight(source.first_batch())
    y_pred = None
    if not model.built or not matched or (ours and y is not None and not getattr(source, "checked", False)):
        y_pred = _predictions(model, x, mode)
        if source.in_memory:
            validation.check_indices(model, source.x)
    if y_pred is not None and ours and mode != "predict" and y is not None:
        if compiled.compile_loss is not None and not compiled.compile_loss.built:
            compiled.compile_loss.build(_symbols(y), y_pred)
        if compiled.compile_metrics is not None and not compiled.compile_metrics.built:
            compiled.compile_metrics.build(_symbols(y), y_pred)
        if compiled.compile_loss is not None:
            check_targets(compiled.compile_loss, source.y if source.in_memory else y, y_pred)
        source.checked = True
    optimizer = getattr(model, "optimizer", None)
    if mode == "train" and optimizer is not None and hasattr(optimizer, "build") and model.built \
            and is_default(model, "train_step") and model.trainable_variables:
        optimizer.build(model.trainable_variables)


def check_targets(compile_loss, y, y_pred):
    """Raise for targets that cannot belong to the outputs: shapes, one-hot against class numbers, labels."""
    outputs = compile_loss.outputs
    targets = targets_of(outputs, y, compile_loss.losses)
    for name, loss, target, prediction in zip(outputs.names, compile_loss.losses, targets, nest.flatten(y_pred)):
        if loss is None or target is None:
            continue
        label = "y" if outputs.count == 1 else f"y[{name!r}]" if name else "y"
        validation.check_targets(loss, np.asarray(target), tuple(prediction.shape), label)


def _predictions(model, x, mode):
    """Call the model on a batch without computing anything: for the shapes, and to build it."""
    try:
        text = any(getattr(leaf, "dtype", None) in (object, dtypes.string) for leaf in nest.flatten(x))
        if runs_eagerly(model) or text:
            return _values(model, x)          # what the user looks at inside must have values; text lives on the host
        known = model.__dict__.setdefault("_known_outputs", {})
        key = (len(model.variables), *((path, tuple(leaf.shape), leaf.dtype) for path, leaf in validation.paths(x)
                                       if leaf is not None))
        if key not in known or not model.built:
            try:
                known[key] = engine.abstract_call(model, (_symbols(x),), {"training": False})
            except VALUE_NEEDED:
                if jit_compiles(model):
                    raise
                return _values(model, x)
        return known[key]
    except ValueNotKnownError:                # shapes inside depend on values
        return _values(model, x)
    except InvalidArgumentError as error:
        if not is_default(model, f"{mode}_step"):
            return None
        if "string tensor" not in str(error):
            raise
        raise ValueError("x holds text, but the model takes numbers. Turn it into numbers first: a StringLookup or "
                         "TextVectorization layer in the model, or applied to the data.") from error
    except Exception:
        if is_default(model, f"{mode}_step"):
            raise
        return None          # a model whose own step calls it with something else, or not at all; a fault appears there


def _values(model, x):
    with engine.eager_scope():
        return model(nest.map_structure(device, x), training=False)


def _symbols(structure):
    return nest.map_structure(
        lambda leaf: None if leaf is None else engine.KerasTensor(tuple(leaf.shape), dtype=leaf.dtype), structure)
