# SPDX-License-Identifier: Apache-2.0
"""`tf.train.CheckpointManager`: keep the newest checkpoints of a folder, delete the others."""
import os
import time
import warnings

from fitloom.base.errors import DataLossError, NotFoundError
from fitloom.saving import checkpoint_state
from fitloom.saving.checkpoint import SUFFIX, Checkpoint


class CheckpointManager:
    """Number checkpoints, keep the newest `max_to_keep`, and find the latest after a restart.

    Args:
        checkpoint: the Checkpoint.
        directory: the folder.
        max_to_keep: how many to keep; None keeps all.
        keep_checkpoint_every_n_hours: of those that would be deleted, keep one every so many hours for ever.
        checkpoint_name: the files are called '<name>-<number>'.
        step_counter: variable that counts steps; with `checkpoint_interval`, `save` does nothing sooner.
        checkpoint_interval: steps between two checkpoints.
        init_fn: called by `restore_or_initialize` when there is no checkpoint.
        last_checkpoint_step: step of the last checkpoint, if it is known.

    Example:
        >>> import tempfile, fitloom as tf
        >>> checkpoint = tf.train.Checkpoint(step=tf.Variable(1))
        >>> manager = tf.train.CheckpointManager(checkpoint, tempfile.mkdtemp(), max_to_keep=2)
        >>> paths = [manager.save() for _ in range(3)]
        >>> manager.checkpoints == paths[1:] and manager.latest_checkpoint == paths[2]
        True

    Source: tensorflow.org/api_docs/python/tf/train/CheckpointManager.
    """

    def __init__(self, checkpoint, directory, max_to_keep, keep_checkpoint_every_n_hours=None,
                 checkpoint_name="ckpt", step_counter=None, checkpoint_interval=None, init_fn=None,
                 last_checkpoint_step=None):
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(f"CheckpointManager expected a tf.train.Checkpoint, but received {checkpoint!r:.80}.")
        if max_to_keep is not None and max_to_keep <= 0:
            raise ValueError(f"Expected a positive integer or `None` for `max_to_keep`, got {max_to_keep}.")
        if (checkpoint_interval is None) != (step_counter is None):
            raise ValueError("`step_counter` and `checkpoint_interval` belong together: give both or none.")
        self._checkpoint, self._directory, self._prefix = checkpoint, os.fspath(directory), checkpoint_name
        self._keep, self._hours = max_to_keep, keep_checkpoint_every_n_hours
        self._step_counter, self._interval, self._init_fn = step_counter, checkpoint_interval, init_fn
        self._last_step = last_checkpoint_step
        self._times: dict = {}                 # path -> time of its saving, oldest first
        state = checkpoint_state.get_checkpoint_state(self._directory)
        now = time.time()
        self._preserved = now if state is None or state.last_preserved_timestamp is None \
            else state.last_preserved_timestamp
        if state is not None:
            paths, times = state.all_model_checkpoint_paths, state.all_model_checkpoint_timestamps
            known = dict(zip(paths, times)) if len(times) == len(paths) else {}
            self._times = {path: known.get(path, now) for path in paths if os.path.exists(path + SUFFIX)}

    @property
    def directory(self):
        """The folder."""
        return self._directory

    @property
    def checkpoint(self):
        """The Checkpoint."""
        return self._checkpoint

    @property
    def checkpoint_interval(self):
        """Steps between two checkpoints, or None."""
        return self._interval

    @property
    def checkpoints(self):
        """The paths that are kept, oldest first."""
        return list(self._times)

    @property
    def latest_checkpoint(self):
        """The newest path, or None."""
        return next(reversed(self._times), None)

    def save(self, checkpoint_number=None, check_interval=True, options=None):
        """Write a checkpoint, delete those that are not kept; return its path, None where the interval forbids it."""
        if self._interval is not None:
            step = int(self._step_counter)
            if check_interval and self._last_step is not None and step - self._last_step < self._interval:
                return None
            self._last_step = step
        counter = self._checkpoint.save_counter
        if checkpoint_number is None:
            checkpoint_number = int(counter.assign_add(1).numpy())
        else:
            checkpoint_number = int(checkpoint_number)
            counter.assign(checkpoint_number)
        path = os.path.join(self._directory, f"{self._prefix}-{checkpoint_number}")
        self._checkpoint._write(path, options, lambda: self._saved(path))
        if options is not None and options.enable_async:
            self._times[path] = time.time()
        return path

    def _saved(self, path):
        self._times.pop(path, None)
        self._times[path] = time.time()
        doomed = self._doomed()
        checkpoint_state.update(self._directory, path, list(self._times), self._times.values(), self._preserved)
        for old in doomed:
            _remove(old)

    def _doomed(self):
        """Take out of the list, and return, what is not to be kept."""
        found = []
        while self._keep is not None and len(self._times) > self._keep:
            path = next(iter(self._times))
            when = self._times.pop(path)
            if self._hours is not None and when - self._hours * 3600.0 >= self._preserved:
                self._preserved = when
            else:
                found.append(path)
        return found

    def sync(self):
        """Wait until asynchronous writes are done."""
        self._checkpoint.sync()

    def restore_or_initialize(self):
        """Restore the newest checkpoint that is whole and return its path; without one call `init_fn`, return None."""
        damaged = None
        for path in reversed(self.checkpoints):
            try:
                self._checkpoint.restore(path)
            except (DataLossError, NotFoundError) as error:
                warnings.warn(f"{error} The checkpoint before it is used.", stacklevel=2)
                damaged = error
                continue
            if self._interval is not None:
                self._last_step = int(self._step_counter)
            return path
        if damaged is not None:
            raise damaged
        if self._init_fn is not None:
            self._init_fn()
        return None


def _remove(path):
    if os.path.exists(path + SUFFIX):
        os.remove(path + SUFFIX)
