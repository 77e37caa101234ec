# SPDX-License-Identifier: Apache-2.0
"""Back up a run while it trains, and go on from the backup after a crash."""
import collections
import contextlib
import errno
import os
import shutil
import signal
import sys
import threading
import warnings

from fitloom.base.errors import DataLossError, NotFoundError
from fitloom.callbacks.callback import Callback
from fitloom.callbacks.logs import wait
from fitloom.callbacks.progress import write
from fitloom.callbacks.run import bytes_of
from fitloom.distribute.cluster import CLUSTER
from fitloom.distribute.strategy import is_chief
from fitloom.saving import atomic, checkpoint_file

NEWEST, PREVIOUS = "newest.safetensors", "previous.safetensors"


class BackupAndRestore(Callback):
    """Save the whole state of training now and then; a `fit` started again goes on where the backup was made.

    A backup holds weights, optimizer, metrics, loss scale, random states, where the data stand, history, the state of
    every callback, and what tells this model and these data from others. It is one file, written to the side, checked,
    and renamed; the one before it is kept, and used, with a warning, should the newest be damaged. SIGTERM and Ctrl-C
    let the running batches finish, save, and end the run; a second Ctrl-C ends it at once. The final weights are those
    of a run that was never interrupted, bit for bit, also from the middle of an epoch.

    Callbacks save what their `get_state()` returns and get it back by `set_state(state)`; of those without, the plain
    attributes that change during the run are saved.

    Args:
        backup_dir: a folder for this run's backups only.
        save_freq: 'epoch', or a number of batches.
        double_checkpoint: accepted for Keras' sake; the backup before the last is always kept.
        delete_checkpoint: remove the backups when `fit` ends normally.
        save_before_preemption: save and leave on SIGTERM and Ctrl-C; False leaves these signals alone.
        resume: 'auto' goes on from a backup if there is one, 'must' asks for one, 'never' deletes it.

    Raises:
        ValueError: no folder, an unknown `save_freq`, or a backup of another model.
        OSError: the folder cannot be written or is too full: before the first step where that can be known.
        DataLossError: both backups are damaged.
        NotFoundError: `resume='must'`, and there is none.

    Source: keras.io/api/callbacks/backup_and_restore.
    """

    stores_run = True
    heard_last = True       # of all callbacks: what the others make of a batch or an epoch is part of the backup

    def __init__(self, backup_dir, save_freq="epoch", double_checkpoint=False, delete_checkpoint=True, *,
                 save_before_preemption=True, resume="auto"):
        super().__init__()
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed.")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
            raise ValueError(f"Invalid value for argument `save_freq`. Received: save_freq={save_freq!r}. Expected "
                             "'epoch' or an integer >= 1.")
        self.backup_dir, self.save_freq = os.fspath(backup_dir), save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self.save_before_preemption, self.resume = save_before_preemption, resume
        self.every_batch = "train" if save_freq != "epoch" else False
        self._since, self._done, self._logs, self._before_test = 0, 0, {}, None
        self._signal, self._handlers, self._under_way = None, {}, collections.deque()

    def _path(self, name):
        return os.path.join(self.backup_dir, name)

    # -- the beginning

    def on_train_begin(self, logs=None):
        self._run, self._since = self.model.__dict__["_fit_run"], 0
        if is_chief():
            self._check_space()
        if self.resume == "never":
            self._delete(with_folder=False)
        CLUSTER.gather("the backup", None)                  # all workers read what the chief left
        state = self._newest()
        CLUSTER.agree_on({"the backup (epoch, batch)": None if state is None else [state["epoch"], state["step"]]},
                         {"the backup (epoch, batch)": "backup_dir must be a folder that all workers see."})
        if state is None and self.resume == "must":
            raise NotFoundError(f"resume='must', but there is no checkpoint in '{self.backup_dir}'.")
        if state is not None:
            self._run.check(state, self.backup_dir)
            self._run.found, self._since = state, state["since"]
            if self.params.get("verbose"):
                place = f"epoch {state['epoch'] + 1}" + (f", batch {state['step'] + 1}" if state["step"] else "")
                done = state["epoch"] >= self.params.get("epochs", 0) or state["stop"]
                write(f"The run in '{self.backup_dir}' is finished.\n" if done else
                      f"The run in '{self.backup_dir}' goes on with {place}.\n")
        if self.save_before_preemption:
            self._listen()

    def _check_space(self):
        atomic.check_writable(self.backup_dir)
        needed, free = bytes_of(self.model), shutil.disk_usage(self.backup_dir).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"A backup takes about {needed >> 20} MiB, but only {free >> 20} MiB are free",
                          self.backup_dir)

    def _newest(self):
        """Return the newest state that is whole, or None if there is none at all."""
        damaged = None
        for name in (NEWEST, PREVIOUS):
            try:
                return checkpoint_file.read(self._path(name))
            except NotFoundError:
                continue
            except DataLossError as error:
                damaged = damaged or error
                if name == NEWEST and os.path.exists(self._path(PREVIOUS)):
                    warnings.warn(f"{error} The backup before it is used.", stacklevel=4)
        if damaged is not None:
            raise DataLossError(f"{damaged} There is no other: delete '{self.backup_dir}' to start anew.")
        return None

    # -- the moments of a save

    def on_epoch_begin(self, epoch, logs=None):
        self._done = None

    def on_train_batch_end(self, batch, logs=None):
        if self._done is None:                              # the first batches of an epoch, perhaps of its rest
            self._done = self._run.step
        self._since += batch + 1 - self._done
        self._done, self._logs = batch + 1, logs
        self._keep_up(logs)
        if self._signal is not None or (self.save_freq != "epoch" and self._since >= self.save_freq):
            self._since = 0
            self._save(self._run.epoch, self._done, logs)
        self._leave()

    def on_test_begin(self, logs=None):
        self._before_test = self._run.moment()

    def on_test_batch_end(self, batch, logs=None):
        self._keep_up(logs)
        if self._signal is not None and self._before_test is not None:      # go on with the validation from its start
            self._save(self._run.epoch, self._done or self._run.step, self._logs, self._before_test)
            self._leave()

    def on_test_end(self, logs=None):
        self._before_test = None

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch" or self._signal is not None or self.model.stop_training \
                or epoch + 1 == self.params.get("epochs"):
            self._save(epoch + 1, 0, logs)
        self._leave()

    def _keep_up(self, logs):
        """Wait for the work of the call before last: a signal must not find many dispatches under way."""
        self._under_way.append(logs)
        if len(self._under_way) > 2:
            wait(self._under_way.popleft())

    def _save(self, epoch, step, logs, moment=None):
        if not is_chief():
            return
        state = self._run.state(epoch, step, logs, moment)
        state["since"] = self._since
        checkpoint_file.write(self._path(NEWEST), state, self._path(PREVIOUS), verify=True)

    # -- signals

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
            if signal.getsignal(number) is signal.SIG_IGN:      # as a shell starts what it runs in the background
                continue
            self._handlers[number] = signal.signal(number, note)

    def release(self):
        """Give the signals back: `fit` ended, perhaps by an error."""
        self._restore_handlers()
        self._signal, self._before_test = None, None
        self._under_way.clear()

    def _restore_handlers(self):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _leave(self):
        """End the run if a signal asked for it; everything is saved."""
        if self._signal is None:
            return
        number = self._signal
        self._restore_handlers()
        self._signal = None
        sys.stderr.write(f"\n{signal.Signals(number).name}: saved to '{self.backup_dir}'; start again to go on.\n")
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    # -- the end

    def on_train_end(self, logs=None):
        self._restore_handlers()
        if self.delete_checkpoint:
            self._delete()

    def _delete(self, with_folder=True):
        if not is_chief():
            return
        # the newest first: a kill in between leaves one from which the run goes on to the same end
        for name in (NEWEST, PREVIOUS):
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._path(name))
        if with_folder:
            with contextlib.suppress(OSError):               # something else is in there
                os.rmdir(self.backup_dir)
