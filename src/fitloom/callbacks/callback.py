# SPDX-License-Identifier: Apache-2.0
"""The base of all callbacks."""


class Callback:
    """Listen to `fit`, `evaluate` and `predict`: override the hooks you need.

    `self.model` is the model; `self.params` holds 'verbose', 'epochs' and 'steps'. `logs` is a dict of floats;
    its values are fetched from the device when they are first read. A callback that overrides no batch hook
    costs nothing per batch. To stop training, set `self.model.stop_training = True`.

    Example:
        >>> import fitloom as tf
        >>> class Shout(tf.keras.callbacks.Callback):
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         print(epoch, logs["loss"])

    Source: keras.io/api/callbacks/base_callback.
    """

    # False: this callback's batch hooks may be told of several batches at once, with the last one's number.
    # 'train', 'test' or 'predict': except in this mode.
    every_batch = True
    # True: this callback hears of everything after all others.
    heard_last = False

    def __init__(self):
        self.params = None
        self._model = None

    @property
    def model(self):
        """The model that runs."""
        return self.__dict__.get("_model")

    @model.setter
    def model(self, model):
        self.__dict__["_model"] = model

    def set_params(self, params):
        """Receive the run's settings."""
        self.params = params

    def set_model(self, model):
        """Receive the model."""
        self._model = model

    def on_batch_begin(self, batch, logs=None):
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch, logs=None):
        """Another name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch, logs=None):
        """Hear that a training epoch begins; `epoch` counts from 0."""

    def on_epoch_end(self, epoch, logs=None):
        """Hear that an epoch ended; `logs` holds training and `val_` results."""

    def on_train_batch_begin(self, batch, logs=None):
        """Hear that a training batch begins."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        """Hear that a training batch ended; `logs` holds the averages so far in this epoch."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Hear that an evaluation batch begins."""

    def on_test_batch_end(self, batch, logs=None):
        """Hear that an evaluation batch ended."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Hear that a prediction batch begins."""

    def on_predict_batch_end(self, batch, logs=None):
        """Hear that a prediction batch ended; `logs["outputs"]` are its predictions."""

    def on_train_begin(self, logs=None):
        """Hear that `fit` begins."""

    def on_train_end(self, logs=None):
        """Hear that `fit` ends; `logs` are the last epoch's."""

    def on_test_begin(self, logs=None):
        """Hear that an evaluation begins."""

    def on_test_end(self, logs=None):
        """Hear that an evaluation ended."""

    def on_predict_begin(self, logs=None):
        """Hear that `predict` begins."""

    def on_predict_end(self, logs=None):
        """Hear that `predict` ended."""


def overrides(callback, hook) -> bool:
    """Whether `callback` does something of its own in `hook`."""
    own = getattr(callback, hook, None)
    if own is None:
        return False
    return getattr(own, "__func__", own) is not getattr(Callback, hook, None)
