# SPDX-License-Identifier: Apache-2.0
"""Where a running `fit` stands: everything that decides what comes next, as one value to be stored and taken back."""
import hashlib
import random
import warnings

import numpy as np

from fitloom import engine
from fitloom.callbacks.logs import to_python
from fitloom.saving import checkpoint_file, checkpoint_objects
from fitloom.saving.checkpoint import Restoration, graph_state

FORMAT = 1


class Run:
    """One call of `fit`.

    Args:
        model: the model.
        callbacks: the CallbackList.
        source, validation: the sources of batches; `validation` may be None.
    """

    def __init__(self, model, callbacks, source, validation=None):
        self.model, self.callbacks, self.source, self.validation = model, callbacks, source, validation
        self.found = None                     # a stored state, put here by a callback in on_train_begin
        self.epoch, self.at_epoch, self.step, self._fingerprint, self._others = 0, None, 0, None, None
        # a run that nobody stores costs nothing
        self.is_stored = any(getattr(callback, "stores_run", False) for callback in callbacks.callbacks)
        self._changes = {id(callback): Changes(callback) for callback in callbacks.callbacks
                         if self.is_stored and not type(callback).__module__.startswith("fitloom.")
                         and not hasattr(callback, "stores_run")}

    # -- the loop's side

    def epochs(self, first, last):
        """Return the epochs that are left; where a state was found, it decides."""
        if self.found is None:
            return range(first, last)
        if not self.found["step"]:
            self._take(self.found)
        if self.found["stop"]:
            self.model.stop_training = True
            return range(0)
        return range(self.found["epoch"], last)

    def last_logs(self):
        """Return the logs of the epoch before the first one that is left."""
        return {} if self.found is None or self.found["step"] else dict(self.found["logs"])

    def begin_epoch(self, epoch):
        """Reset the metrics, unless the epoch goes on where a stored state was."""
        self.epoch, self.step = epoch, 0
        if not (self.found and self.found["step"]):
            self.model.reset_metrics()
            self.at_epoch = self.moment(self.source.in_memory) if self.is_stored else None

    def go_inside(self):
        """Return the Place in this epoch where a stored state was, everything put back as it was there, or None."""
        found, self.found = self.found, None
        if found is None or not found["step"]:
            return None
        self.at_epoch, self.step = found["at_epoch"], found["step"]
        self._take(found)
        _restore_random(self.at_epoch)                       # the epoch's order is drawn again, the same
        if self.source.in_memory:
            self.source.go_to(self.at_epoch["source"])
        return Place(found)

    # -- the state

    def moment(self, with_data=True):
        """Return the random states and where the data stand."""
        name, keys, *rest = np.random.get_state(legacy=True)
        version, words, gauss = random.getstate()
        return {"seeds": engine.stream_state(), "numpy": (name, keys, *rest),
                "python": (version, np.array(words, np.uint32), gauss),
                "source": self.source.position() if with_data else None,
                "validation": self.validation.position() if with_data and self.validation is not None else None}

    def state(self, epoch, step, logs, moment=None):
        """Return the whole state: `step` batches of `epoch` are done (0: it begins).

        Args:
            logs: the last logs.
            moment: what `moment` returned when the state is that of an earlier moment (before the validation).
        """
        if self._fingerprint is None:
            self._fingerprint = {"model": shapes_of(self.model), "data": self.source.fingerprint()}
        return {"format": FORMAT, "epoch": epoch, "step": step, "stop": bool(self.model.stop_training),
                "logs": {name: to_python(value) for name, value in dict(logs or {}).items()},
                "now": moment or self.moment(), "at_epoch": self.at_epoch if step else None,
                "graph": graph_state(self._root()), "callbacks": self._callback_states(), **self._fingerprint}

    def _root(self):
        optimizer = getattr(self.model, "optimizer", None)
        root = {"model": self.model, "optimizer": [] if optimizer is None else [optimizer],
                "metrics": [list(metric.variables) for metric in self.model.metrics]}
        if self._others is None:          # variables that no attribute leads to
            reached = {id(thing) for _, thing, _ in checkpoint_objects.walk(root)}
            self._others = [variable for variable in self.model.variables if id(variable) not in reached]
        return {**root, "others": self._others}

    def check(self, state, name):
        """Raise ValueError where a stored state belongs to another model, or stands within other data."""
        theirs, ours = [tuple(map(_hashable, row)) for row in state["model"]], shapes_of(self.model)
        rows = [(left, right) for left, right in zip(theirs, ours) if left[1:] != right[1:]]
        if rows or len(theirs) != len(ours):
            first = "" if not rows else (f" The first that differs: '{rows[0][0][0]}' {list(rows[0][0][1])} "
                                         f"{rows[0][0][2]} there, '{rows[0][1][0]}' {list(rows[0][1][1])} "
                                         f"{rows[0][1][2]} here.")
            raise ValueError(f"The backup '{name}' belongs to another model: it holds {len(theirs)} variables, this "
                             f"model has {len(ours)}.{first} Use another folder, or delete this one to start anew.")
        data = self.source.fingerprint()
        differing = [key for key in data if data[key] != state["data"].get(key)]
        if differing:
            what = "; ".join(f"{key} was {state['data'].get(key)}, is {data[key]}" for key in differing)
            if state["step"]:
                raise ValueError(f"The backup '{name}' stands in the middle of an epoch over other data ({what}). "
                                 "Give fit the same data, or delete the folder to start anew.")
            warnings.warn(f"The run goes on from '{name}' with other data ({what}): not as if it had never stopped.",
                          stacklevel=4)
            state["now"]["source"] = None

    def _take(self, state):
        """Put a stored state into the model, the data, the random numbers and the callbacks."""
        graph = state["graph"]
        kept = dict(graph["values"])            # an object that comes later may want a value once more
        Restoration(self._root(), {"nodes": graph["nodes"], "values": dict(kept)},
                    lambda: {"nodes": graph["nodes"], "values": dict(kept)})
        now = state["now"]
        if not self.source.in_memory:
            self.source.go_to(now["source"], inside=state["step"] > 0)
        elif not state["step"]:
            self.source.go_to(now["source"])
        if self.validation is not None:
            self.validation.go_to(now["validation"])
        _restore_random(now)
        waiting = list(state["callbacks"])
        for callback in self.callbacks.callbacks:
            entry = next((entry for entry in waiting if entry[0] == _class_name(callback)), None)
            if entry is None:
                continue
            waiting.remove(entry)
            if hasattr(callback, "set_state"):
                callback.set_state(entry[1])
            elif id(callback) in self._changes:
                self._changes[id(callback)].take(entry[1])

    def _callback_states(self):
        states = []
        for callback in self.callbacks.callbacks:
            if hasattr(callback, "get_state"):
                states.append([_class_name(callback), callback.get_state()])
            elif id(callback) in self._changes:
                states.append([_class_name(callback), self._changes[id(callback)].collect()])
        return states


class Place:
    """Where in an epoch a run goes on: after `step` batches."""

    def __init__(self, state):
        self.step, self.logs, self._now = state["step"], state["logs"], state["now"]

    def arrive(self):
        """Put the random numbers as they were, now that the order is drawn and the batches before are skipped."""
        _restore_random(self._now)


class Changes:
    """The state of a user's callback that says nothing about it: those plain attributes that change during the run.

    What its constructor set and nothing changed stays as it is in the script.
    """

    def __init__(self, callback):
        self.callback, self.before, self.known = callback, {}, set()
        self.before = {name: _digest(value) for name, value in self._attributes()}

    def _attributes(self):
        return [(name, value) for name, value in vars(self.callback).items()
                if name not in ("_model", "model", "params")]

    def collect(self):
        """Return the attributes that have changed since `fit` began, or in the run before."""
        found = {}
        for name, value in self._attributes():
            digest = _digest(value)
            if digest is not None and (name in self.known or digest != self.before.get(name)):
                found[name] = value
                self.known.add(name)
        return found

    def take(self, state):
        """Set the attributes."""
        for name, value in state.items():
            setattr(self.callback, name, value)
            self.known.add(name)


def _digest(value):
    """Return a digest of a plain value, None for what a checkpoint cannot hold."""
    arrays: dict = {}
    try:
        text = repr(checkpoint_file._hide(value, arrays, {}, ""))
    except (TypeError, RecursionError):
        return None
    found = hashlib.sha256(text.encode())
    for array in arrays.values():
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _class_name(callback):
    return type(callback).__name__


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def shapes_of(model):
    """Return (path, shape, dtype) of every variable of a model."""
    return [(getattr(variable, "path", variable.name), tuple(variable.shape), variable.aval.dtype.name)
            for variable in model.variables]


def _restore_random(moment):
    engine.restore_stream(tuple(moment["seeds"]))
    np.random.set_state(moment["numpy"])
    version, words, gauss = moment["python"]
    random.setstate((version, tuple(words.tolist()), gauss))


def bytes_of(model):
    """Return about how many bytes a state takes."""
    found = [*model.variables, *getattr(getattr(model, "optimizer", None), "variables", ())]
    return sum(int(np.prod(variable.shape)) * np.dtype(variable.aval.dtype).itemsize for variable in found)
