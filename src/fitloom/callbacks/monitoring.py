# SPDX-License-Identifier: Apache-2.0
"""Callbacks that watch one of the logs: the base, EarlyStopping and ReduceLROnPlateau."""
import math
import warnings

from fitloom import ops
from fitloom.base import errors
from fitloom.callbacks.callback import Callback
from fitloom.callbacks.progress import write

_HIGHER_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "top_k", "sensitivity",
                     "specificity", "cosine_similarity", "true_positives", "true_negatives")


class MonitorCallback(Callback):
    """The base of callbacks that compare one log with its best value so far.

    Args:
        monitor: name of the log, e.g. 'val_loss'.
        mode: 'min', 'max', or 'auto': 'max' for accuracies, AUC and the like, else 'min'.
        min_delta: a change counts only if it is larger than this.
    """

    def __init__(self, monitor="val_loss", mode="auto", min_delta=0.0):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(f"{type(self).__name__} mode {mode!r} is unknown, fallback to 'auto'.", stacklevel=3)
            mode = "auto"
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.best, self._never_seen = None, True

    def _direction(self):
        """Return 'min' or 'max'; 'auto' asks the metric itself, then its name."""
        if self.mode != "auto":
            return self.mode
        name = self.monitor.removeprefix("val_")
        for metric in _metrics_of(self.model):
            if metric.name == name and getattr(metric, "_direction", None) in ("up", "down"):
                return "max" if metric._direction == "up" else "min"
        return "max" if any(part in name.lower() for part in _HIGHER_IS_BETTER) else "min"

    @property
    def monitor_op(self):
        """`tf.greater` or `tf.less`: the comparison that means 'better'."""
        return ops.greater if self._direction() == "max" else ops.less

    def _set_monitor_op(self):
        """Do nothing: the direction is found when it is needed (Keras' private name, which subclasses call)."""

    def _is_improvement(self, monitor_value, reference_value):
        """Return whether a value is better than another by more than `min_delta`; anything is better than None."""
        if reference_value is None:
            return True
        if self._direction() == "max":
            return monitor_value - self.min_delta > reference_value
        return monitor_value + self.min_delta < reference_value

    def _value(self, logs):
        """Return the monitored log; None if it is only missing this time.

        Raises:
            ValueError: the log does not exist: it did not appear in the first epoch that could have had it.
        """
        logs = logs or {}
        known = with_older_names(logs)
        if self.monitor in known:
            self._never_seen = False
            value = known[self.monitor]
            if getattr(value, "size", 1) != 1:
                raise ValueError(f"{type(self).__name__} monitors '{self.monitor}', which has {value.size} numbers; it "
                                 "needs a metric with one (e.g. average='macro').")
            return float(value)
        if self._never_seen and not self._may_come(logs):
            hint = ""
            if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in logs):
                hint = " There is no validation: give fit() validation_data or validation_split."
            raise ValueError(
                f"{type(self).__name__} monitors '{self.monitor}', which is not among the logs: "
                f"{', '.join(logs) or 'none'}.{hint or errors.did_you_mean(self.monitor, logs)}")
        return None

    def _may_come(self, logs):
        # with validation_freq the first epochs have no val_ logs although later ones do
        return self.monitor.startswith("val_") and not any(name.startswith("val_") for name in logs) \
            and getattr(self.model, "_validation_later", False)


def with_older_names(logs):
    """Return logs with 'acc' also under the name 'accuracy' and the reverse: Keras 2 changed it between versions."""
    twins = {}
    for name, value in logs.items():
        stem, _, last = name.rpartition("_")
        if last in ("acc", "accuracy"):
            twins[f"{stem}_" * bool(stem) + ("acc" if last == "accuracy" else "accuracy")] = value
    return {**twins, **logs}


def _metrics_of(model):
    for metric in getattr(model, "metrics", None) or ():
        yield metric
        yield from (inner for inner in getattr(metric, "metrics", None) or () if inner is not metric)


class EarlyStopping(MonitorCallback):
    """Stop training when a log has stopped improving.

    Args:
        monitor: name of the log.
        min_delta: changes smaller than this are no improvement.
        patience: epochs without improvement before training stops.
        verbose: 1 prints a line when it stops.
        mode: 'auto', 'min' or 'max'.
        baseline: an improvement must also beat this value, or patience runs out.
        restore_best_weights: put the weights of the best epoch back, whether stopped early or not.
        start_from_epoch: epochs to wait before watching.

    Source: keras.io/api/callbacks/early_stopping.
    """

    def __init__(self, monitor="val_loss", min_delta=0, patience=0, verbose=0, mode="auto", baseline=None,
                 restore_best_weights=False, start_from_epoch=0):
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.wait, self.stopped_epoch, self.best_epoch, self.best_weights = 0, 0, 0, None

    def on_train_begin(self, logs=None):
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best, self.best_weights, self._never_seen = None, None, True

    def on_epoch_end(self, epoch, logs=None):
        current = self._value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.stopped_epoch > 0 and self.verbose > 0:
            write(f"Epoch {self.stopped_epoch + 1}: early stopping\n")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                write(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.\n")
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs):
        """Return the monitored log."""
        return self._value(logs)

    def get_state(self):
        """Return what a checkpoint stores."""
        return {"wait": self.wait, "stopped_epoch": self.stopped_epoch, "best": self.best,
                "best_epoch": self.best_epoch, "best_weights": self.best_weights, "never_seen": self._never_seen}

    def set_state(self, state):
        """Continue from a checkpoint."""
        self.wait, self.stopped_epoch, self.best = state["wait"], state["stopped_epoch"], state["best"]
        self.best_epoch, self.best_weights = state["best_epoch"], state["best_weights"]
        self._never_seen = state["never_seen"]


class ReduceLROnPlateau(MonitorCallback):
    """Multiply the learning rate by `factor` when a log has stopped improving.

    Args:
        monitor: name of the log.
        factor: new rate = old rate * factor; less than 1.
        patience: epochs without improvement before that.
        verbose: 1 prints a line.
        mode: 'auto', 'min' or 'max'.
        min_delta: changes smaller than this are no improvement.
        cooldown: epochs to wait after a reduction.
        min_lr: lower bound of the rate.

    Source: keras.io/api/callbacks/reduce_lr_on_plateau.
    """

    def __init__(self, monitor="val_loss", factor=0.1, patience=10, verbose=0, mode="auto", min_delta=1e-4,
                 cooldown=0, min_lr=0.0, **kwargs):
        if kwargs:
            raise TypeError(f"ReduceLROnPlateau does not take {', '.join(kwargs)}."
                            + (" epsilon is called min_delta." if "epsilon" in kwargs else ""))
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={factor}")
        super().__init__(monitor, mode, min_delta)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.wait, self.cooldown_counter = 0, 0

    def on_train_begin(self, logs=None):
        self.best, self.wait, self.cooldown_counter, self._never_seen = None, 0, 0, True

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = float(learning_rate(self.model))
        current = self._value(logs)
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best, self.wait = current, 0
        elif not self.in_cooldown():
            self.wait += 1
            rates = [(optimizer, float(rate_of(optimizer))) for optimizer in optimizers_of(self.model)]
            rates = [(optimizer, old) for optimizer, old in rates if old > self.min_lr]
            if self.wait >= self.patience and rates:
                for optimizer, old in rates:
                    optimizer.learning_rate = new = max(old * self.factor, self.min_lr)
                    if self.verbose > 0:
                        write(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.\n")
                self.cooldown_counter, self.wait = self.cooldown, 0

    def in_cooldown(self):
        """Whether the rate was reduced less than `cooldown` epochs ago."""
        return self.cooldown_counter > 0

    def get_state(self):
        """Return what a checkpoint stores."""
        return {"wait": self.wait, "best": self.best, "cooldown_counter": self.cooldown_counter,
                "never_seen": self._never_seen}

    def set_state(self, state):
        """Continue from a checkpoint."""
        self.wait, self.best = state["wait"], state["best"]
        self.cooldown_counter, self._never_seen = state["cooldown_counter"], state["never_seen"]


def learning_rate(model):
    """Return the present learning rate of the model's optimizer, or of the first of several."""
    optimizer = optimizers_of(model)[0] if optimizers_of(model) else None
    return math.nan if optimizer is None or not hasattr(optimizer, "learning_rate") else rate_of(optimizer)


def rate_of(optimizer):
    """Return the present learning rate of an optimizer; a schedule is asked for its value now."""
    rate = optimizer.learning_rate
    return rate(optimizer.iterations) if callable(rate) and not hasattr(rate, "assign") else rate


def optimizers_of(model):
    """Return the model's optimizer in a list, or those that a MultiOptimizer holds."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return []
    several = getattr(optimizer, "optimizers", None)
    return list(several) if several else [optimizer]
