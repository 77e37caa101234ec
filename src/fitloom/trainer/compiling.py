# SPDX-License-Identifier: Apache-2.0
"""`compile`: what a model is trained with."""
import contextlib
import numbers

from fitloom import distribute, engine, metrics as metric_room, optimizers
from fitloom.base import serialization
from fitloom.trainer.compile_loss import CompileLoss
from fitloom.trainer.compile_metrics import CompileMetrics


_SETS_TO_ZERO = (metric_room.Metric.reset_state, metric_room.Mean.reset_state)


class Compiled:
    """What `compile` was told, and the loss, metrics and tracker made from it."""

    def __init__(self, config, compile_loss, compile_metrics, loss_tracker):
        self.config = config
        self.compile_loss, self.compile_metrics, self.loss_tracker = compile_loss, compile_metrics, loss_tracker
        self.denominator = None    # of the step's loss: the weight with which it enters the epoch's mean
        self.trainable = ()        # whether the model and each layer inside were trainable when it was compiled

    @contextlib.contextmanager
    def as_compiled(self, model):
        """Within: layers are trainable or frozen as they were when the model was compiled."""
        layers = [model, *nested_layers(model)]
        now = [layer.trainable for layer in layers]
        try:
            for layer, trainable in zip(layers, self.trainable):     # outer layers first: each sets those inside, too
                layer.trainable = trainable
            yield
        finally:
            for layer, trainable in zip(layers, now):
                layer.trainable = trainable


def compile(model, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None,
            run_eagerly=False, steps_per_execution=1, jit_compile="auto", auto_scale_loss=True):
    """Set what the model is trained with.

    Args:
        model: the model.
        optimizer: a name or an Optimizer.
        loss: a name, a Loss, a function of (y_true, y_pred), or a list or dict of these, one for each output.
        loss_weights: numbers that multiply the losses of the outputs: a list or a dict.
        metrics: names, Metrics or functions; with several outputs, one list for each, or a dict.
        weighted_metrics: the same; these also see `sample_weight` and `class_weight`.
        run_eagerly: run every operation at once instead of compiling the step (for debugging).
        steps_per_execution: batches for each call of the batch callbacks.
        jit_compile: 'auto' and True give one compiled step; with False the step is traced once for each shape and its
            operations run one at a time (shapes may then depend on values).
        auto_scale_loss: with the policy 'mixed_float16', wrap the optimizer in a LossScaleOptimizer.

    Raises:
        ValueError: an unknown name (with the near ones), or a number out of range.

    Source: keras.io/api/models/model_training_apis.
    """
    if not isinstance(steps_per_execution, numbers.Integral) or steps_per_execution < 1:
        raise ValueError(f"steps_per_execution must be an integer >= 1, but received {steps_per_execution!r}.")
    if jit_compile not in ("auto", True, False, None):
        raise ValueError(f"jit_compile must be 'auto', True or False, but received {jit_compile!r}.")
    config = dict(optimizer=optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics,
                  weighted_metrics=weighted_metrics, run_eagerly=run_eagerly,
                  steps_per_execution=steps_per_execution, jit_compile=jit_compile)
    optimizer = None if optimizer is None else optimizers.get(optimizer)
    if auto_scale_loss and optimizer is not None and _policy_name(model) == "mixed_float16" \
            and not isinstance(optimizer, getattr(optimizers, "LossScaleOptimizer", ())):
        optimizer = optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")
    names = getattr(model, "output_names", None)
    compile_loss = CompileLoss(loss, loss_weights, names) if loss is not None else None
    compile_metrics = None
    if metrics is not None or weighted_metrics is not None:
        compile_metrics = CompileMetrics(metrics, weighted_metrics, names)
    hold(model, "optimizer", optimizer)
    hold(model, "loss", loss)
    hold(model, "run_eagerly", bool(run_eagerly))
    hold(model, "steps_per_execution", int(steps_per_execution))
    hold(model, "jit_compile", jit_compile in ("auto", True, None))
    hold(model, "stop_training", False)
    hold(model, "compiled", True)
    hold(model, "distribute_strategy", distribute.get_strategy())
    if distribute.has_strategy():
        hold(model, "_strategy", distribute.get_strategy())
    compiled = Compiled(config, compile_loss, compile_metrics, metric_room.Mean(name="loss"))
    compiled.trainable = [layer.trainable for layer in (model, *nested_layers(model))]
    hold(model, "_compiled", compiled)
    for name in ("compile_loss", "compile_metrics", "loss_tracker"):     # Keras' private names, which scripts reach for
        hold(model, "_" + name, getattr(compiled, name))
    hold(model, "_programs", {})
    hold(model, "_steps_on_host", {"refused"} if jit_compile is True else set())
    for attribute in ("train_function", "test_function", "predict_function"):
        hold(model, attribute, None)


def hold(model, name, value):
    """Set an attribute without the model's tracking of layers and metrics (properties still get it)."""
    if isinstance(getattr(type(model), name, None), property):
        setattr(model, name, value)
    else:
        model.__dict__[name] = value


def compiled_of(model):
    """Return what `compile` made, or None for a model that has not been compiled by us."""
    return model.__dict__.get("_compiled")


def is_compiled(model) -> bool:
    """Whether `compile` was called (a subclass may have its own `compile`)."""
    return bool(model.__dict__.get("compiled", False)) or compiled_of(model) is not None


def require_compiled(model, method):
    """Raise unless `compile` was called."""
    if not is_compiled(model):
        raise ValueError(f"You must call `compile()` before using the model's {method}(): for example "
                         "model.compile(optimizer='adam', loss='mse').")


def _policy_name(model):
    return getattr(getattr(model, "dtype_policy", None), "name", None)


def get_compile_config(model):
    """Return the arguments of `compile` as a config that can be written to a file, or None."""
    compiled = compiled_of(model)
    if compiled is None:
        return None
    config = dict(compiled.config, optimizer=model.optimizer)
    return {key: serialization.serialize_keras_object(value) for key, value in config.items()}


def compile_from_config(model, config):
    """Compile a model with a config of `get_compile_config`, and build its optimizer."""
    config = serialization.deserialize_keras_object(config)
    model.compile(**config)
    if model.built and getattr(model, "optimizer", None) is not None:
        model.optimizer.build(model.trainable_variables)


def metrics(model):
    """Return the model's metrics: the loss tracker, compiled ones, output losses, its own and its layers' metrics."""
    compiled, found = compiled_of(model), []
    if compiled is not None:
        found.append(compiled.loss_tracker)
    if compiled is not None and compiled.compile_metrics is not None:
        found.append(compiled.compile_metrics)
    if compiled is not None and compiled.compile_loss is not None:
        found += compiled.compile_loss.metrics
    found += model.__dict__.get("_metrics", [])
    for layer in nested_layers(model):
        if compiled_of(layer) is None:
            found += layer.__dict__.get("_metrics", [])
    seen, unique = set(), []
    for metric in found:
        if id(metric) not in seen:
            seen.add(id(metric))
            unique.append(metric)
    return unique


def nested_layers(model):
    """Yield all layers inside a model, outer ones first."""
    pending, seen = list(model.__dict__.get("_layers", [])), set()
    while pending:
        layer = pending.pop(0)
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            pending = list(getattr(layer, "_layers", [])) + pending


def metrics_names(model):
    """Return the names of the model's metrics."""
    return [metric.name for metric in model.metrics]


def reset_metrics(model):
    """Begin all averages again."""
    found, plain = [], []
    for metric in model.metrics:
        found += metric.metrics if isinstance(metric, CompileMetrics) else [metric]
    for metric in found:
        if getattr(type(metric), "reset_state", None) in _SETS_TO_ZERO:
            plain += metric.variables
    at_once = engine.zero(plain)               # else each is recorded
    for metric in found:
        if not at_once or getattr(type(metric), "reset_state", None) not in _SETS_TO_ZERO:
            metric.reset_state()


def get_metrics_result(model):
    """Return the metrics' present values as a dict of tensors."""
    results = {}
    for metric in model.metrics:
        value = metric.result()
        results.update(value) if isinstance(value, dict) else results.__setitem__(metric.name, value)
    return results
