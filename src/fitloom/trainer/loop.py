# SPDX-License-Identifier: Apache-2.0
"""The training loop, the only one: fit, evaluate and predict."""
import contextlib
import warnings

import numpy as np

from fitloom.base import config, nest
from fitloom.callbacks import BackupAndRestore, CallbackList, TerminateOnNaN
from fitloom.callbacks.logs import Logs
from fitloom.callbacks.run import Run
from fitloom.distribute.inputs import check_agreement
from fitloom.distribute.strategy import is_chief, under_strategy
from fitloom.monitor import profiling
from fitloom.trainer import batches, preparing, validation
from fitloom.trainer.compiling import compiled_of, hold, require_compiled
from fitloom.trainer.nan_guard import guard_for
from fitloom.trainer.programs import host, program_for


def run_epoch(mode, program, source, callbacks, group=1, stop=lambda: False, keep=None, resume=None):
    """Run all batches of an epoch; return the last logs. Values stay on the device until somebody reads them."""
    begin, end = callbacks.listeners(mode, "begin"), callbacks.listeners(mode, "end")
    logs = {}
    for first, last, run in program.work(source, callbacks.wants_every_batch(mode), group, resume):
        for hook in begin:
            hook(first, logs={})
        result = run()
        logs = keep(result) if keep is not None else Logs(result)
        for hook in end:
            hook(last, logs=logs)
        if stop():
            break
    if not logs and resume is not None:          # the backup was made after the epoch's last batch
        logs = Logs(resume.logs)
    return logs


@under_strategy
def fit(model, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
        validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
        steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1, resume=None,
        checkpoint_dir=None, save_freq="epoch", nan=None, profile=None):
    """Train a model for a number of epochs; see `Model.fit`. Returns the History.

    Args:
        resume: 'auto' goes on from the checkpoint in `checkpoint_dir` if there is one, 'must' asks for one, 'never'
            deletes it and starts anew.
        checkpoint_dir: folder of this run's checkpoints, written every `save_freq` and kept when `fit` ends; a
            script that is started again goes on to the same bits.
        save_freq: 'epoch', or a number of batches.
        nan: what to do with a step after which the loss or a weight is not finite; it is undone. 'raise' ends with
            an error, 'stop' ends quietly, 'skip' goes on, 'diagnose' ends with an error that names the layer, the
            operation and the samples. None trains on.
        profile: folder for a profile of one epoch (the second, if there are two), for TensorBoard's profile plugin or
            Perfetto.
    """
    require_compiled(model, "fit")
    validation.check_fit_arguments(epochs, initial_epoch, batch_size, steps_per_epoch, validation_split,
                                   validation_steps, validation_batch_size, validation_freq, verbose)
    if validation_split and validation_data is None:
        (x, y, sample_weight), validation_data = batches.split(x, y, sample_weight, validation_split)
    if config.max_steps_per_epoch() is not None:
        steps_per_epoch = min(steps_per_epoch or config.max_steps_per_epoch(), config.max_steps_per_epoch())
    # whoever asks for TerminateOnNaN expects NaN and deals with it
    check = nan is None and not any(isinstance(one, TerminateOnNaN) for one in nest.flatten(callbacks))
    source = batches.open_source(x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight, check)
    held_back = None
    if validation_data is not None:
        held_back = batches.open_validation(validation_data, validation_batch_size or batch_size, validation_steps,
                                            with_targets=y is not None or model.loss is not None)
    if config.max_epochs() is not None:
        epochs = min(epochs, config.max_epochs())
    preparing.prepare(model, source, "train")
    check_agreement(model, source, epochs)
    if resume is not None or checkpoint_dir is not None:
        callbacks = _with_checkpoints(callbacks, resume, checkpoint_dir, save_freq)
    callbacks = _listening(callbacks, model, verbose, add_history=True, epochs=epochs, steps=source.steps)
    guard = guard_for(model, nan)
    hold(model, "stop_training", False)
    hold(model, "_validation_later", held_back is not None and validation_freq != 1)
    run = Run(model, callbacks, source, held_back)
    hold(model, "_fit_run", run)
    try:
        callbacks.on_train_begin()                              # BackupAndRestore may find where to go on
        logs = run.last_logs()
        for epoch in run.epochs(initial_epoch, epochs):
            if getattr(source, "finished", False):              # the epochs before are worth more than an error
                warnings.warn(f"Your input ran out of data; interrupting training: the generator gave its last "
                              f"batch in epoch {epoch} of {epochs}. Give a PyDataset or a Dataset, or a generator "
                              "that goes on and steps_per_epoch.", stacklevel=4)
                break
            run.begin_epoch(epoch)
            callbacks.on_epoch_begin(epoch)
            resume = run.go_inside()
            program = program_for(model, "train")
            if guard is not None:
                guard.begin_epoch(epoch, 0 if resume is None else resume.step)
            # the first epoch compiles: the second one shows where the time goes
            profiled = profile is not None and epoch == max(initial_epoch, min(initial_epoch + 1, epochs - 1))
            with profiling.Profile(profile) if profiled else contextlib.nullcontext():
                logs = run_epoch("train", program, source, callbacks, model.steps_per_execution,
                                 lambda: model.stop_training or (guard is not None and guard.bad_step()), resume=resume)
                source.finish_epoch()
                if guard is not None:
                    guard.end_epoch(nan)
                logs = dict(logs)                               # device to host: once an epoch
            if held_back is not None and _due(epoch, validation_freq):
                results = evaluate(model, held_back, callbacks=callbacks, return_dict=True)
                logs.update({"val_" + name: value for name, value in results.items()})
                logs = dict(sorted(logs.items()))
            if callbacks.params.get("steps") is None:
                callbacks.params["steps"] = source.steps
            callbacks.on_epoch_end(epoch, logs)
            if epoch == 0 and callbacks.params.get("verbose") and getattr(source, "waiting", None) is not None:
                source.waiting.tell(batches.is_dataset(source.data))
            if model.stop_training:
                break
        if model.optimizer is not None and epochs > initial_epoch:
            model.optimizer.finalize_variable_values(model.trainable_weights)
        callbacks.on_train_end(logs)
    finally:
        callbacks.release()
        model.__dict__.pop("_fit_run", None)
        model.__dict__.pop("_nan_guard", None)
    return model.history


@under_strategy
def evaluate(model, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None, callbacks=None,
             return_dict=False, **kwargs):
    """Return the loss and metrics on data; see `Model.evaluate`."""
    if kwargs:
        raise ValueError(f"Arguments not recognized by evaluate(): {', '.join(kwargs)}.")
    require_compiled(model, "evaluate")
    validation.check_integer("batch_size", batch_size, 1)
    validation.check_integer("steps", steps, 1)
    validation.check_verbose(verbose)
    source = batches.open_source(x, y, sample_weight, batch_size, steps)
    preparing.prepare(model, source, "test")
    if not isinstance(callbacks, CallbackList):
        callbacks = _listening(callbacks, model, verbose, epochs=1, steps=source.steps)
    hold(model, "stop_evaluating", False)
    callbacks.on_test_begin()
    model.reset_metrics()
    logs = run_epoch("test", program_for(model, "test"), source, callbacks, model.steps_per_execution,
                     lambda: model.stop_evaluating)
    source.finish_epoch()
    logs = dict(logs)
    callbacks.on_test_end(logs)
    return logs if return_dict else in_order(model, logs)


@under_strategy
def predict(model, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
    """Return the outputs for data as NumPy arrays; see `Model.predict`."""
    validation.check_integer("batch_size", batch_size, 1)
    validation.check_integer("steps", steps, 1)
    validation.check_verbose(verbose)
    source = batches.open_source(x, batch_size=batch_size, steps=steps, check=False)
    preparing.prepare(model, source, "predict")
    if not isinstance(callbacks, CallbackList):
        callbacks = _listening(callbacks, model, verbose, epochs=1, steps=source.steps)
    hold(model, "stop_predicting", False)
    outputs = []

    def keep(result):
        outputs.append(result)
        return {"outputs": nest.map_structure(host, result)} if callbacks.listeners("predict", "end") else {}

    callbacks.on_predict_begin()
    run_epoch("predict", program_for(model, "predict"), source, callbacks,
              getattr(model, "steps_per_execution", 1), lambda: model.stop_predicting, keep)
    source.finish_epoch()
    callbacks.on_predict_end()
    return nest.map_structure(lambda *parts: host(parts[0]) if len(parts) == 1 else
                              np.concatenate([host(part) for part in parts]), *outputs)


@under_strategy
def train_on_batch(model, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
    """Train on one batch; return the loss and metrics so far: a list (a number, if it is one), or a dict."""
    require_compiled(model, "train_on_batch")
    if class_weight is not None and sample_weight is not None:
        raise ValueError("class_weight and sample_weight cannot both be given to train_on_batch().")
    return _on_batch(model, "train", (x, y, sample_weight), class_weight, return_dict)


@under_strategy
def test_on_batch(model, x, y=None, sample_weight=None, return_dict=False):
    """Evaluate one batch; return the loss and metrics so far: a list (a number, if it is one), or a dict."""
    require_compiled(model, "test_on_batch")
    return _on_batch(model, "test", (x, y, sample_weight), None, return_dict)


@under_strategy
def predict_on_batch(model, x):
    """Return the predictions for one batch as NumPy arrays."""
    source = batches.one_batch(x)
    preparing.prepare(model, source, "predict")
    return nest.map_structure(host, program_for(model, "predict")(source.arrays))


def _on_batch(model, mode, data, class_weight, return_dict):
    source = batches.one_batch(*data, class_weight=class_weight)
    preparing.prepare(model, source, mode)
    model.reset_metrics()
    logs = dict(Logs(program_for(model, mode)(source.arrays)))
    return logs if return_dict else in_order(model, logs)


def in_order(model, logs):
    """Return logs as Keras lists them: loss, compiled metrics, output losses, then the rest by name."""
    names, compiled = [], compiled_of(model)
    for metric in model.metrics:
        inner = metric is getattr(compiled, "compile_metrics", None)
        names += [one.name for one in metric.metrics] if inner else [metric.name]
    first = [name for name in dict.fromkeys(names) if name in logs]
    values = [logs[name] for name in first] + [logs[name] for name in sorted(logs) if name not in first]
    return values[0] if len(values) == 1 else values


def _listening(callbacks, model, verbose, add_history=False, **params):
    verbose = verbose if is_chief() else 0                 # in a cluster one worker talks
    if isinstance(callbacks, CallbackList):
        callbacks.set_params({"verbose": verbose, **params})
        return callbacks
    return CallbackList(callbacks, add_history=add_history, add_progbar=verbose != 0, model=model, verbose=verbose,
                        **params)


def _with_checkpoints(callbacks, resume, folder, save_freq):
    if resume not in (None, "auto", "must", "never"):
        raise ValueError(f"resume must be 'auto', 'must', 'never' or None, but is {resume!r}.")
    if not folder:
        raise ValueError(f"resume={resume!r} needs checkpoint_dir: the folder of this run's checkpoints.")
    listed = list(callbacks.callbacks) if isinstance(callbacks, CallbackList) else nest.flatten(callbacks)
    if any(isinstance(one, BackupAndRestore) for one in listed):
        raise ValueError("Give fit either checkpoint_dir or a BackupAndRestore callback, not both.")
    added = BackupAndRestore(folder, save_freq, delete_checkpoint=False, resume=resume or "auto")
    if isinstance(callbacks, CallbackList):
        callbacks.append(added)
        added.set_model(callbacks.model)
        return callbacks
    return [*(one for one in listed if one is not None), added]


def _due(epoch, frequency):
    """Whether the epoch (counted from 0) ends with a validation."""
    if isinstance(frequency, (list, tuple, set)):
        return epoch + 1 in frequency
    return (epoch + 1) % frequency == 0
