# SPDX-License-Identifier: Apache-2.0
"""`fit(nan=...)`: NaN and infinity are found inside the compiled step, and no step waits for the answer.

A step whose weights or loss are not finite is undone on the device. With 'skip' the next one goes on; else all later
ones are undone too, until the host, which looks at flags that have arrived, stops the run with the weights as they
were before the bad step.
"""
import warnings
from collections import deque

import numpy as np

from fitloom import engine, ops
from fitloom.base import nest
from fitloom.callbacks.progress import write

MODES = ("raise", "stop", "skip", "diagnose")
UNSEEN = 32                      # dispatches whose flags have not been looked at; then the oldest is waited for


class NanGuard:
    """The flags of a model's training program, and what the host knows of them.

    Args:
        model: the model.
        skip: whether training goes on after a bad step.
    """

    def __init__(self, model, skip):
        self.model, self.skip = model, skip
        self.seen, self.first, self.bad = (
            engine.Variable(np.int64(value), trainable=False, name=f"nan_guard_{name}")
            for value, name in ((0, "seen"), (-1, "first"), (0, "bad")))
        self.variables = [self.seen, self.first, self.bad]
        self.begin_fit()

    # -- inside the step

    def step(self, run, variables):
        """Make a step; return (logs, flags). Where the step was bad, or an earlier one that stops the run, undo it."""
        mine = {id(variable) for variable in self.variables}
        state = [variable for variable in variables if id(variable) not in mine]
        before = [engine.convert_to_tensor(variable) for variable in state]
        logs = run()
        watched = list(self.model.variables)
        tracker = getattr(self.model.__dict__.get("_compiled"), "loss_tracker", None)
        watched += list(tracker.variables) if tracker is not None else []
        finite = [ops.reduce_all(ops.is_finite(variable)) for variable in watched
                  if engine.convert_to_tensor(variable).dtype.is_floating]
        finite += [ops.reduce_all(ops.is_finite(value)) for value in nest.flatten(logs)
                   if isinstance(value, engine.Tensor) and value.dtype.is_floating]
        healthy = ops.reduce_all(ops.stack(finite))
        keep = healthy if self.skip else ops.logical_and(healthy, ops.equal(self.bad, np.int64(0)))
        for variable, value in zip(state, before):
            variable.assign(ops.where(keep, engine.convert_to_tensor(variable), value))
        first_time = ops.logical_and(ops.logical_not(healthy), ops.less(self.first, np.int64(0)))
        self.first.assign(ops.where(first_time, self.seen, self.first))
        self.bad.assign_add(ops.cast(ops.logical_not(healthy), "int64"))
        self.seen.assign_add(np.int64(1))
        if isinstance(logs, dict):
            logs = {**logs, **{name: value for name, value in self.model.get_metrics_result().items() if name in logs}}
        return logs, ops.stack([self.bad, self.first])

    # -- on the host

    def begin_fit(self):
        """Forget what was."""
        for variable, value in zip(self.variables, (0, -1, 0)):
            variable.assign(np.int64(value))
        self.issued, self.waiting, self.found, self.total, self.told = 0, deque(), None, 0, 0

    def begin_epoch(self, epoch, step=0):
        """Count the steps of an epoch from `step`."""
        self.epoch, self.at = epoch, step

    def note(self, result, count, batch_of):
        """Take the flags of a dispatch of `count` steps from its result; return the logs.

        Args:
            batch_of: function(i) -> the i-th batch of the dispatch.
        """
        logs, flags = result
        self.waiting.append((self.issued, self.epoch, self.at, count, batch_of, flags))
        self.issued, self.at = self.issued + count, self.at + count
        return logs

    def bad_step(self):
        """Whether the run should stop: a bad step is among the flags that have arrived."""
        while self.waiting and (len(self.waiting) > UNSEEN or _arrived(self.waiting[0][-1])):
            self._look()
        return self.found is not None and not self.skip

    def _look(self):
        begin, epoch, at, count, batch_of, flags = self.waiting.popleft()
        bad, first = (int(value) for value in flags.numpy())
        self.total = bad
        if first >= begin and self.found is None and bad:
            self.found = (epoch, at + first - begin, batch_of(first - begin))

    def end_epoch(self, mode, custom_step=False):
        """Act on what the epoch showed: raise, stop, or tell how many batches were left out."""
        while self.waiting:
            self._look()
        if self.found is None:
            return
        if self.skip:
            if self.total > self.told:
                warnings.warn(f"fit(nan='skip') left out {self.total - self.told} of {self.at} batches of epoch "
                              f"{self.epoch + 1}: the loss or a weight would have become NaN or infinite.",
                              stacklevel=4)
                self.told = self.total
            return
        epoch, step, batch = self.found
        where = f"batch {step} of epoch {epoch + 1}"
        if mode == "stop":
            write(f"Training stopped: the loss or a weight became NaN or infinite in {where}. The weights are those "
                  "before it.\n")
            self.model.stop_training = True
        elif mode == "diagnose":
            from fitloom.trainer.diagnosis import diagnose
            raise FloatingPointError(f"The loss or a weight became NaN or infinite in {where}.\n"
                                     + diagnose(self.model, batch))
        else:
            raise FloatingPointError(f"The loss or a weight became NaN or infinite in {where}. The model has the "
                                     "weights before it. fit(nan='diagnose') names the layer and the samples, "
                                     "fit(nan='skip') goes on without such batches.")


def _arrived(tensor):
    ready = getattr(tensor.array, "is_ready", None)
    return ready is None or ready()


def guard_for(model, mode):
    """Return the model's NanGuard for `fit(nan=mode)`, made once for each kind; None for None."""
    if mode is None:
        model.__dict__["_nan_guard"] = None
        return None
    if mode not in MODES:
        from fitloom.base.errors import unknown_name
        raise unknown_name("value of fit's argument nan", mode, MODES)
    guards = model.__dict__.setdefault("_nan_guards", {})
    skip = mode == "skip"
    if skip not in guards:
        guards[skip] = NanGuard(model, skip)
    guard = model.__dict__["_nan_guard"] = guards[skip]
    guard.begin_fit()
    return guard
