# SPDX-License-Identifier: Apache-2.0
"""Small callbacks: learning rates by epoch, functions as hooks, NaN, averaged weights."""
import numpy as np

from fitloom.callbacks.callback import Callback
from fitloom.callbacks.monitoring import learning_rate, optimizers_of, rate_of
from fitloom.callbacks.progress import write


class LearningRateScheduler(Callback):
    """Set the learning rate at the start of each epoch, of a MultiOptimizer that of each optimizer by itself.

    Args:
        schedule: function of (epoch, present rate), or of (epoch), that returns the rate as a float.
        verbose: 1 prints a line each epoch.

    Source: keras.io/api/callbacks/learning_rate_scheduler.
    """

    def __init__(self, schedule, verbose=0):
        super().__init__()
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch, logs=None):
        if not all(hasattr(optimizer, "learning_rate") for optimizer in optimizers_of(self.model)):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        for optimizer in optimizers_of(self.model):
            optimizer.learning_rate = rate = self._rate(epoch, float(rate_of(optimizer)))
            if self.verbose > 0:
                write(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.\n")

    def _rate(self, epoch, rate):
        try:
            new = self.schedule(epoch, rate)
        except TypeError as error:
            try:
                new = self.schedule(epoch)
            except TypeError:
                raise error from None
        if not isinstance(new, (float, np.float32, np.float64)) and not (
                hasattr(new, "dtype") and np.ndim(new) == 0 and np.asarray(new).dtype.kind == "f"):
            raise ValueError("The output of the `schedule` function should be a float, but it returned "
                             f"{new!r} for epoch {epoch}.")
        return float(new)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = float(learning_rate(self.model))


class LambdaCallback(Callback):
    """Use functions as hooks: `LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))`.

    Args: one function for each hook of `Callback`, by its name, with the hook's positional arguments.

    Source: keras.io/api/callbacks/lambda_callback.
    """

    def __init__(self, on_epoch_begin=None, on_epoch_end=None, on_train_begin=None, on_train_end=None,
                 on_train_batch_begin=None, on_train_batch_end=None, **kwargs):
        super().__init__()
        given = dict(on_epoch_begin=on_epoch_begin, on_epoch_end=on_epoch_end, on_train_begin=on_train_begin,
                     on_train_end=on_train_end, on_train_batch_begin=on_train_batch_begin,
                     on_train_batch_end=on_train_batch_end, **kwargs)
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)


class TerminateOnNaN(Callback):
    """Stop training when the loss is NaN or infinite.

    Args:
        raise_error: raise a RuntimeError instead of stopping quietly.

    Source: keras.io/api/callbacks/terminate_on_nan.
    """

    every_batch = False

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is not None and not np.all(np.isfinite(loss)):
            if self.raise_error:
                raise RuntimeError(f"NaN or Inf loss encountered at batch {batch}. Training is stopped.")
            write(f"Batch {batch}: Invalid loss, terminating training\n")
            self.model.stop_training = True


class SwapEMAWeights(Callback):
    """Evaluate and save with the averaged weights of an optimizer with `use_ema=True`.

    Args:
        swap_on_epoch: also swap at the end of each epoch, so that other callbacks see (and save) the averages.

    Source: keras.io/api/callbacks/swap_ema_weights.
    """

    def __init__(self, swap_on_epoch=False):
        super().__init__()
        self.swap_on_epoch, self._swapped = swap_on_epoch, False
        self._averages = []               # (variable, its moving average, value of the average) while they are swapped

    def _optimizers(self):
        found = [getattr(optimizer, "inner_optimizer", optimizer) for optimizer in optimizers_of(self.model)]
        averaging = [optimizer for optimizer in found if getattr(optimizer, "use_ema", False)]
        if not averaging:
            raise ValueError("SwapEMAWeights must be used when `use_ema=True` is set on the optimizer. Received: "
                             f"use_ema={getattr(found[0], 'use_ema', None) if found else None}")
        return averaging

    def _pairs(self):
        """Return [(variable, its moving average)]: none before the first step."""
        return [pair for optimizer in self._optimizers()
                for pair in zip(optimizer._trainable_variables, optimizer._model_variables_moving_average)]

    def _swap(self, to_average):
        if self._swapped == to_average:
            return
        for variable, average in self._pairs():
            now = variable.numpy()
            variable.assign(average.numpy())
            average.assign(now)
        self._note(to_average)

    def _note(self, swapped):
        self._swapped = swapped
        self._averages = [(*pair, pair[0].numpy()) for pair in self._pairs()] if swapped else []

    def get_state(self):
        """Return what a checkpoint stores: whether the model holds the averages."""
        return {"swapped": self._swapped}

    def set_state(self, state):
        """Continue from a checkpoint."""
        self._note(state["swapped"])

    def on_epoch_begin(self, epoch, logs=None):
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch, logs=None):
        if self.swap_on_epoch:
            self._swap(True)

    def on_train_end(self, logs=None):
        # `fit` ends by putting the averages into the model; while swapped, those were the weights of the last step
        if self._swapped:
            for variable, average, value in self._averages:
                variable.assign(value)
                average.assign(value)
            self._swapped, self._averages = False, []

    def on_test_begin(self, logs=None):
        self._swap(True)

    def on_test_end(self, logs=None):
        self._swap(False)

    def on_predict_begin(self, logs=None):
        self._swap(True)

    def on_predict_end(self, logs=None):
        self._swap(False)
