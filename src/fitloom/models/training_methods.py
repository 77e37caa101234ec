# SPDX-License-Identifier: Apache-2.0
"""The methods of a model that the training loop answers for; each delegates to `fitloom.trainer`."""
import warnings

from fitloom import trainer
from fitloom.base import tracebacks
from fitloom.layers.layer import Layer


class TrainingMethods(Layer):
    """What `Model` can do about training. The steps may be overridden; the rest need not be."""

    optimizer = loss = None
    compiled = False
    stop_training = False
    run_eagerly = False
    jit_compile = "auto"
    steps_per_execution = 1

    @tracebacks.short
    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None,
                run_eagerly=False, steps_per_execution=1, jit_compile="auto", auto_scale_loss=True):
        """Say how the model is to be trained.

        Args:
            optimizer: name or Optimizer.
            loss: name, Loss or function; a list or dict of them for several outputs.
            loss_weights: numbers that the losses of several outputs are multiplied with.
            metrics: names, Metrics or functions; nested like the outputs.
            weighted_metrics: metrics that sample weights apply to.
            run_eagerly: run step by step in Python, for debugging.
            steps_per_execution: batches per dispatch.
            jit_compile: 'auto' and True give one compiled step; False runs its operations one at a time.
            auto_scale_loss: wrap the optimizer for loss scaling under 'mixed_float16'.
        """
        trainer.compile(self, optimizer=optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics,
                        weighted_metrics=weighted_metrics, run_eagerly=run_eagerly,
                        steps_per_execution=steps_per_execution, jit_compile=jit_compile,
                        auto_scale_loss=auto_scale_loss)

    @tracebacks.short
    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
            validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
            steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1, resume=None,
            checkpoint_dir=None, save_freq="epoch", nan=None, profile=None, **queue):
        """Train the model for a number of epochs.

        Args:
            x: arrays, tensors, a data frame, lists or dicts of these for several inputs; or what yields batches
                `(x, y)` or `(x, y, sample_weight)`: a tf.data.Dataset, a PyDataset, a generator, a PyTorch DataLoader.
            y: targets, where `x` are arrays.
            batch_size: rows of a batch, 32 by default; datasets have theirs.
            epochs: number of the last epoch; training starts at `initial_epoch`.
            verbose: 0 silent, 1 one redrawn line an epoch, 2 one line an epoch; 'auto' is 1 on a terminal or in a
                notebook, else 2.
            callbacks: list of Callbacks.
            validation_split: fraction of the arrays, from their end, that is held back for validation.
            validation_data: `(x, y)`, `(x, y, sample_weight)` or what yields batches; measured after each epoch.
            shuffle: draw a new order of the rows for each epoch; datasets keep theirs.
            class_weight: dict of class number to weight.
            sample_weight: one weight a row.
            initial_epoch: number of epochs that were trained before.
            steps_per_epoch: batches of an epoch; endless data need it.
            validation_steps, validation_batch_size: the same for validation.
            validation_freq: epochs from one validation to the next, or a list of epochs.
            resume: 'auto' goes on from the checkpoint in `checkpoint_dir` if there is one, 'must' asks for one, 'never'
                deletes it and starts anew.
            checkpoint_dir: folder of this run's checkpoints; a script that is started again ends with the same bits.
            save_freq: when they are written: 'epoch', or a number of batches.
            nan: what to do with a step after which the loss or a weight is not finite; it is undone. 'raise' ends with
                an error, 'stop' ends quietly, 'skip' goes on, 'diagnose' ends with an error that names the layer, the
                operation and the samples. None trains on.
            profile: folder for a profile of one epoch.
            queue: Keras 2's `workers`, `use_multiprocessing` and `max_queue_size`, which a PyDataset `x` takes over.

        Returns:
            History: `history.history` maps each log to its values by epoch, and `plot()` draws them.

        Raises:
            ValueError, TypeError: data or arguments that do not fit, before the first step.
        """
        _take_queue(x, queue, "fit")
        return trainer.fit(self, x, y, batch_size=batch_size, epochs=epochs, verbose=verbose, callbacks=callbacks,
                           validation_split=validation_split, validation_data=validation_data, shuffle=shuffle,
                           class_weight=class_weight, sample_weight=sample_weight, initial_epoch=initial_epoch,
                           steps_per_epoch=steps_per_epoch, validation_steps=validation_steps,
                           validation_batch_size=validation_batch_size, validation_freq=validation_freq, resume=resume,
                           checkpoint_dir=checkpoint_dir, save_freq=save_freq, nan=nan, profile=profile)

    @tracebacks.short
    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None, callbacks=None,
                 return_dict=False, **kwargs):
        """Return the loss and the metrics on data; the same numbers for every batch size.

        Args:
            x, y, batch_size, verbose, sample_weight, callbacks: as for `fit`.
            steps: batches to read; all by default.
            return_dict: return {name: number} instead of a list, or of the loss alone if there are no metrics.
        """
        kwargs = _take_queue(x, kwargs)
        return trainer.evaluate(self, x, y, batch_size=batch_size, verbose=verbose, sample_weight=sample_weight,
                                steps=steps, callbacks=callbacks, return_dict=return_dict, **kwargs)

    @tracebacks.short
    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None, **queue):
        """Return the outputs for all of `x` as NumPy arrays, nested like the model's outputs.

        Args:
            x, batch_size, verbose, callbacks: as for `fit`. Of a dataset's tuples the first part counts.
            steps: batches to read; all by default.
        """
        _take_queue(x, queue, "predict")
        return trainer.predict(self, x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks)

    @tracebacks.short
    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """Make one training step; return the loss and the metrics."""
        return trainer.train_on_batch(self, x, y, sample_weight=sample_weight, class_weight=class_weight,
                                      return_dict=return_dict)

    @tracebacks.short
    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Return the loss and the metrics on one batch."""
        return trainer.test_on_batch(self, x, y, sample_weight=sample_weight, return_dict=return_dict)

    @tracebacks.short
    def predict_on_batch(self, x):
        """Return the outputs for one batch as NumPy arrays."""
        return trainer.predict_on_batch(self, x)

    # ---- Keras 2's names

    def fit_generator(self, generator, steps_per_epoch=None, epochs=1, verbose="auto", callbacks=None, **arguments):
        """Train on batches: Keras 2's name for `fit`, which says what the arguments mean."""
        _say_older("fit_generator", "fit")
        return self.fit(generator, steps_per_epoch=steps_per_epoch, epochs=epochs, verbose=verbose, callbacks=callbacks,
                        **arguments)

    def evaluate_generator(self, generator, steps=None, callbacks=None, verbose=0, **queue):
        """Return the loss and the metrics on batches: Keras 2's name for `evaluate`."""
        _say_older("evaluate_generator", "evaluate")
        return self.evaluate(generator, steps=steps, callbacks=callbacks, verbose=verbose, **queue)

    def predict_generator(self, generator, steps=None, callbacks=None, verbose=0, **queue):
        """Return the outputs for batches: Keras 2's name for `predict`."""
        _say_older("predict_generator", "predict")
        return self.predict(generator, steps=steps, callbacks=callbacks, verbose=verbose, **queue)

    # ---- steps, to be overridden

    def train_step(self, data):
        """Train on one batch and return logs; the default uses a GradientTape, `compute_loss` and the optimizer."""
        return trainer.train_step(self, data)

    def test_step(self, data):
        """Evaluate one batch and return logs."""
        return trainer.test_step(self, data)

    def predict_step(self, data):
        """Return the outputs for one batch."""
        return trainer.predict_step(self, data)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the total loss of a batch: compiled losses, added losses and regularizers."""
        return trainer.compute_loss(self, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the compiled metrics with a batch and return all results."""
        return trainer.compute_metrics(self, x, y, y_pred, sample_weight=sample_weight)

    def compiled_loss(self, y_true, y_pred, sample_weight=None, regularization_losses=None):
        """Return the compiled losses of a batch and enter them into the log 'loss': what tf.keras 2 had.

        Args:
            regularization_losses: losses that are added, such as `self.losses`.
        """
        return trainer.compiled_loss(self, y_true, y_pred, sample_weight, regularization_losses)

    @property
    def compiled_metrics(self):
        """The metrics that `compile` was given, with an `update_state(y_true, y_pred)`: what tf.keras 2 had."""
        return trainer.CompiledMetrics(self)

    def get_metrics_result(self):
        """Return {name: result} of all metrics."""
        return trainer.get_metrics_result(self)

    def reset_metrics(self):
        """Reset the state of all metrics."""
        trainer.reset_metrics(self)

    def make_train_function(self, force=False):
        """Return the function that `fit` calls for a batch."""
        return trainer.make_train_function(self, force=force)

    def make_test_function(self, force=False):
        """Return the function that `evaluate` calls for a batch."""
        return trainer.make_test_function(self, force=force)

    def make_predict_function(self, force=False):
        """Return the function that `predict` calls for a batch."""
        return trainer.make_predict_function(self, force=force)

    @property
    def metrics(self):
        """All metrics: the loss tracker, compiled ones, and those the model and its layers hold."""
        return trainer.metrics(self)

    @property
    def metrics_names(self):
        """The names of `metrics`."""
        return trainer.metrics_names(self)

    def get_compile_config(self):
        """Return the arguments of `compile` as plain data, or None."""
        return trainer.get_compile_config(self)

    def compile_from_config(self, config):
        """Compile as `get_compile_config` described."""
        trainer.compile_from_config(self, config)


for _method in (TrainingMethods.compile, TrainingMethods.fit, TrainingMethods.evaluate, TrainingMethods.predict):
    _method.__qualname__ = "Model." + _method.__name__      # what Python's messages about arguments name


def _take_queue(x, arguments, method=None):
    """Hand Keras 2's arguments of the batch queue to a PyDataset, where they live today; return the rest."""
    queue = {key: arguments[key] for key in ("workers", "use_multiprocessing", "max_queue_size") if key in arguments}
    rest = {key: value for key, value in arguments.items() if key not in queue}
    if rest and method:
        raise TypeError(f"Model.{method}() got an unexpected keyword argument {next(iter(rest))!r}.")
    if isinstance(x, trainer.PyDataset):
        for key, value in queue.items():
            setattr(x, key, value)
    return rest


def _say_older(name, new):
    warnings.warn(f"Model.{name} is Keras 2's name; use Model.{new}, which takes generators.", DeprecationWarning,
                  stacklevel=3)
