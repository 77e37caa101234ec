# SPDX-License-Identifier: Apache-2.0
"""Back up a run while it trains, and go on from the backup after a crash."""
import io
import json
import os
import shutil
import signal
import threading
import warnings
import zipfile

import numpy as np

from fitloom import engine
from fitloom.callbacks.callback import Callback


class BackupAndRestore(Callback):
    """Save the whole state of training now and then; a `fit` started again goes on where the backup was made.

    A backup holds weights, optimizer, metrics, random state, history and the state of the other callbacks. It is
    written to the side and renamed, and the one before it is kept, so a crash in the middle of a save does no harm.
    SIGTERM and Ctrl-C let the running batches finish, save, and end the run; a second Ctrl-C ends it at once.
    With data in memory, or data that comes in the same order when it is read again, the final weights are those of
    a run that was never interrupted, bit for bit, also from the middle of an epoch.

    Args:
        backup_dir: a folder for this run's backups only.
        save_freq: 'epoch', or a number of batches.
        double_checkpoint: accepted for Keras' sake; the backup before the last is always kept.
        delete_checkpoint: remove the folder when `fit` ends normally.

    Raises:
        ValueError: no folder, an unknown `save_freq`, or a backup of another model.

    Source: keras.io/api/callbacks/backup_and_restore.
    """

    def __init__(self, backup_dir, save_freq="epoch", double_checkpoint=False, delete_checkpoint=True):
        super().__init__()
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed.")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(f"Invalid value for argument `save_freq`. Received: save_freq={save_freq!r}. Expected "
                             "'epoch' or an integer >= 1.")
        self.backup_dir, self.save_freq = os.fspath(backup_dir), save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self.every_batch = save_freq != "epoch"
        self._current_epoch, self._done, self._since, self._stream = 0, 0, 0, None
        self._signal, self._handlers = None, {}

    def _path(self, name):
        return os.path.join(self.backup_dir, f"{name}.npz")

    def on_train_begin(self, logs=None):
        os.makedirs(self.backup_dir, exist_ok=True)
        self._listen()
        for name in ("latest", "previous"):
            if not os.path.exists(self._path(name)):
                continue
            try:
                found = read_state(self._path(name))
            except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                warnings.warn(f"The backup '{self._path(name)}' is damaged ({error}); the one before it is used.",
                              stacklevel=3)
                continue
            self.model.__dict__["_resume"] = found
            self._since = found["since"]
            return

    def on_epoch_begin(self, epoch, logs=None):
        self._current_epoch, self._done = epoch, 0
        resume = self.model.__dict__.get("_resuming")
        if resume is not None:
            self._done = resume["step"]
        self._stream = self.model.__dict__.get("_epoch_stream") or engine.stream_state()

    def on_train_batch_end(self, batch, logs=None):
        self._since += batch + 1 - self._done
        self._done = batch + 1
        if self._signal is not None or (self.save_freq != "epoch" and self._since >= self.save_freq):
            self._since = 0
            self._save(self._current_epoch, self._done)
        self._leave()

    def on_epoch_end(self, epoch, logs=None):
        self._current_epoch = epoch + 1
        if self.save_freq == "epoch" or self._signal is not None:
            self._save(epoch + 1, 0, logs)
        self._leave()

    def _listen(self):
        """Let SIGTERM and SIGINT end the run after a save; only the main thread may do that."""
        self._signal, self._handlers = None, {}
        if threading.current_thread() is not threading.main_thread():
            return

        def note(number, frame):
            if self._signal is not None:
                self._restore_handlers()
                raise KeyboardInterrupt
            self._signal = number
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, note)

    def release(self):
        """Give the signals back: `fit` ended, perhaps by an error."""
        self._restore_handlers()

    def _restore_handlers(self):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _leave(self):
        """End the run if a signal asked for it; everything is saved."""
        if self._signal is not None:
            number = self._signal
            self._restore_handlers()
            self._signal = None
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)

    def on_train_end(self, logs=None):
        self._restore_handlers()
        if self.delete_checkpoint and os.path.isdir(self.backup_dir):
            shutil.rmtree(self.backup_dir)

    def _save(self, epoch, step, logs=None):
        state = {"epoch": epoch, "step": step, "since": self._since, "stream_now": engine.stream_state(),
                 "stream_at_epoch": self._stream if step else None, "data": self._data(),
                 "variables": [(group, variable.path, variable.numpy())
                               for group, variable in state_variables(self.model)],
                 "callbacks": callback_states(self.model, pending=None if step else (epoch - 1, logs))}
        write_state(self._path("latest"), state, self._path("previous"))

    def _data(self):
        source = self.model.__dict__.get("_source")
        return source.position() if hasattr(source, "position") else None


def state_variables(model):
    """Return (group, variable) pairs of everything that training changes."""
    pairs = [("model", variable) for variable in model.variables]
    optimizer = getattr(model, "optimizer", None)
    pairs += [("optimizer", variable) for variable in (optimizer.variables if optimizer is not None else ())]
    for metric in model.metrics:
        pairs += [("metrics", variable) for variable in metric.variables]
    return list({id(variable): (group, variable) for group, variable in pairs}.values())


def callback_states(model, pending=None):
    """Return (class name, state) of the run's callbacks that have a state, in their order.

    Args:
        pending: (epoch, logs) that callbacks after this one have not heard of yet; History is told here.
    """
    states = []
    for callback in getattr(model.__dict__.get("_callbacks"), "callbacks", ()):
        if type(callback).__name__ == "History":
            history = {name: [_plain(value) for value in values] for name, values in callback.history.items()}
            epochs = list(callback.epoch)
            if pending is not None and pending[0] not in epochs:
                epochs.append(pending[0])
                for name, value in (pending[1] or {}).items():
                    history.setdefault(name, []).append(_plain(value))
            states.append(("History", {"history": history, "epoch": epochs}))
        elif hasattr(callback, "get_state"):
            states.append((type(callback).__name__, callback.get_state()))
    return states


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def resume(model, state, callbacks):
    """Put a backup's state into a model and its callbacks."""
    variables = state_variables(model)
    saved = state["variables"]
    if len(variables) != len(saved):
        raise ValueError(f"The backup holds {len(saved)} variables, but this model, its optimizer and metrics have "
                         f"{len(variables)}. It belongs to another model: use another backup_dir.")
    for (_, variable), (_, path, value) in zip(variables, saved):
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"The backup's variable '{path}' has shape {value.shape}, but '{variable.path}' has shape "
                             f"{tuple(variable.shape)}. The backup belongs to another model: use another backup_dir.")
        variable.assign(value)
    engine.restore_stream(state["stream_now"])
    waiting = list(state["callbacks"])
    for callback in callbacks.callbacks:
        kind = type(callback).__name__
        found = next((entry for entry in waiting if entry[0] == kind), None)
        if found is None:
            continue
        waiting.remove(found)
        if kind == "History":
            callback.history, callback.epoch = found[1]["history"], found[1]["epoch"]
        else:
            callback.set_state(found[1])


# -- the file: a zip of .npy members, whose check sums Python verifies when it reads them

def write_state(path, state, previous):
    """Write a state beside `path`, then rename; what was at `path` becomes `previous`."""
    arrays = {}
    plain = _hide_arrays(state, arrays)
    content = io.BytesIO()
    np.savez(content, meta=np.frombuffer(json.dumps(plain).encode(), np.uint8), **arrays)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.replace(path, previous)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(os.path.dirname(path) or ".", os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_state(path):
    """Read what `write_state` wrote."""
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return _show_arrays(json.loads(arrays.pop("meta").tobytes()), arrays)


def _hide_arrays(value, arrays):
    if isinstance(value, (np.ndarray, np.generic)):
        key = f"a{len(arrays)}"
        arrays[key] = np.asarray(value)
        return {"__array__": key, "dtype": str(arrays[key].dtype)}
    if isinstance(value, dict):
        return {str(key): _hide_arrays(child, arrays) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide_arrays(child, arrays) for child in value]
    return value


def _show_arrays(value, arrays):
    if isinstance(value, dict):
        if "__array__" in value:
            array = arrays[value["__array__"]]
            if str(array.dtype) != value["dtype"]:          # bfloat16 and its like come back as raw bytes
                import ml_dtypes
                array = array.view(getattr(ml_dtypes, value["dtype"]))
            return array
        return {key: _show_arrays(child, arrays) for key, child in value.items()}
    if isinstance(value, list):
        return [_show_arrays(child, arrays) for child in value]
    return value
