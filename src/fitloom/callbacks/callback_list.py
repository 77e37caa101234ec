# SPDX-License-Identifier: Apache-2.0
"""The list that calls callbacks."""
import contextlib

from fitloom.base import nest
from fitloom.callbacks.callback import Callback, overrides
from fitloom.callbacks.history import History
from fitloom.callbacks.progress import ProgbarLogger
from fitloom.distribute.strategy import is_chief


class CallbackList(Callback):
    """Call several callbacks in order; `fit` accepts one instead of a list.

    Args:
        callbacks: callbacks, or nested lists of them.
        add_history: append a `History` when there is none.
        add_progbar: append a `ProgbarLogger` when there is none.
        model: the model they are given.
        **params: the settings they are given ('verbose', 'epochs', 'steps').
    """

    def __init__(self, callbacks=None, add_history=False, add_progbar=False, model=None, **params):
        self.params = None
        self.callbacks = [c for c in nest.flatten(callbacks) if c is not None] if callbacks is not None else []
        for callback in self.callbacks:
            if not hasattr(callback, "set_model") or isinstance(callback, type):
                raise TypeError(
                    f"callbacks must be tf.keras.callbacks.Callback objects, but one is {callback!r}."
                    + (" Make an instance of it: add ()." if isinstance(callback, type) else ""))
        self._history = next((c for c in self.callbacks if isinstance(c, History)), None)
        self._progbar = next((c for c in self.callbacks if isinstance(c, ProgbarLogger)), None)
        if self._history is None and add_history:
            self._history = History()
            self.callbacks.append(self._history)
        if self._progbar is None and add_progbar:
            self._progbar = ProgbarLogger()
            self.callbacks.append(self._progbar)
        self._hooks = {}
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback):
        """Add one callback."""
        self.callbacks.append(callback)
        self._hooks.clear()

    def set_params(self, params):
        """Give every callback the settings."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model):
        """Give every callback the model."""
        self._model = model
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            with _named(callback):
                callback.set_model(model)

    def release(self):
        """Tell callbacks that hold something of the process (signal handlers) that `fit` ended, even by an error."""
        for callback in self.callbacks:
            if hasattr(callback, "release"):
                callback.release()

    def in_order(self):
        """Return the callbacks in the order in which they are called; in a cluster the chief alone writes files."""
        heard = [c for c in self.callbacks if not getattr(c, "chief_only", False)] if not is_chief() else self.callbacks
        return sorted(heard, key=lambda callback: getattr(callback, "heard_last", False))

    def listeners(self, mode, moment):
        """Return the bound batch hooks ('train'|'test'|'predict', 'begin'|'end') that do something."""
        name = f"on_{mode}_batch_{moment}"
        if name not in self._hooks:
            def heard(callback):
                return overrides(callback, name) or (mode == "train" and overrides(callback, f"on_batch_{moment}"))
            self._hooks[name] = [getattr(c, name) for c in self.in_order() if heard(c)]
        return self._hooks[name]

    def wants_every_batch(self, mode) -> bool:
        """Whether some callback must be called for each single batch of this mode."""
        return any(getattr(getattr(hook, "__self__", None), "every_batch", True) in (True, mode)
                   for moment in ("begin", "end") for hook in self.listeners(mode, moment))


@contextlib.contextmanager
def _named(callback):
    """Note on an error of the operating system which callback met it: a bare path tells little."""
    try:
        yield
    except OSError as error:
        error.add_note(f"This happened in the callback {type(callback).__name__}.")
        raise


def _to_all(name):
    arguments = 1 if "batch" in name or "epoch" in name else 0      # before logs: the batch or the epoch

    def hook(self, *given, logs=None):
        logs = given[arguments] if len(given) > arguments else logs
        logs = {} if logs is None else logs
        for callback in self.in_order():
            if "batch" in name:
                getattr(callback, name)(*given[:arguments], logs=logs)
            else:
                with _named(callback):
                    getattr(callback, name)(*given[:arguments], logs)

    hook.__name__ = name
    hook.__doc__ = f"Call `{name}` of every callback."
    return hook


for _name in [name for name in vars(Callback) if name.startswith("on_")]:
    setattr(CallbackList, _name, _to_all(_name))
