# SPDX-License-Identifier: Apache-2.0
"""Save the model while it trains."""
import os
import warnings

from fitloom.callbacks.monitoring import MonitorCallback, with_older_names
from fitloom.callbacks.progress import write
from fitloom.saving import atomic
from fitloom.saving.background import Background


class ModelCheckpoint(MonitorCallback):
    """Save the model or its weights at the end of epochs, or every so many batches.

    Args:
        filepath: '....keras' or '....h5'; with `save_weights_only`, '....weights.h5'. May contain {epoch:02d},
            {batch:04d} and any log, e.g. 'model.{epoch:02d}-{val_loss:.2f}.keras'.
        monitor: the log that says which model is best.
        verbose: 1 prints a line at each save.
        save_best_only: save only when the monitored log has improved.
        save_weights_only: save weights only.
        mode: 'auto', 'min' or 'max'.
        save_freq: 'epoch', or a number of batches.
        initial_value_threshold: the value to beat with the first save.
        max_to_keep: how many files to keep (keyword only; not in Keras); None keeps all.
        async_save: make the file in memory and write it in a thread while training goes on (keyword only; not in
            Keras); an error of the thread is raised at the next save or at the end.

    Raises:
        ValueError: a wrong suffix, an unknown `save_freq`, or a monitored log that does not exist.
        OSError: the folder cannot be written (found before the first step).

    Source: keras.io/api/callbacks/model_checkpoint.
    """

    chief_only = True       # of several workers one writes

    def __init__(self, filepath, monitor="val_loss", verbose=0, save_best_only=False, save_weights_only=False,
                 mode="auto", save_freq="epoch", initial_value_threshold=None, *, max_to_keep=None,
                 async_save=False):
        super().__init__(monitor, mode)
        self.async_save, self._writer = async_save, Background()
        if max_to_keep is not None and max_to_keep < 1:
            raise ValueError(f"max_to_keep must be at least 1 or None, but is {max_to_keep!r}.")
        self.filepath = os.fspath(filepath)
        self.verbose, self.save_best_only, self.save_weights_only = verbose, save_best_only, save_weights_only
        self.save_freq, self.best, self.max_to_keep = save_freq, initial_value_threshold, max_to_keep
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(f"Unrecognized save_freq: {save_freq!r}. Expected save_freq are 'epoch' or an integer "
                             ">= 1.")
        if save_weights_only and not self.filepath.endswith((".weights.h5", ".safetensors")):
            raise ValueError("When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end "
                             f"in `.weights.h5` (Keras weights format). Received: filepath={self.filepath}")
        if not save_weights_only and not self.filepath.endswith((".keras", ".h5")):
            raise ValueError("The filepath provided must end in `.keras` (Keras model format) or `.h5`. "
                             f"Received: filepath={self.filepath}")
        self.every_batch = save_freq != "epoch"
        self._current_epoch, self._since, self._saved = 0, 0, []

    def on_train_begin(self, logs=None):
        atomic.check_writable(os.path.dirname(self.filepath.split("{")[0]))
        self._never_seen = True

    def on_epoch_begin(self, epoch, logs=None):
        self._current_epoch, self._last_batch = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        if self._should_save_on_batch(batch):
            self._save_model(epoch=self._current_epoch, batch=batch, logs=logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save_model(epoch=epoch, batch=None, logs=logs)

    # Subclasses call and override the next three by these names.

    def _should_save_on_batch(self, batch):
        """Count the batches up to this one; return whether it is time to save."""
        if self.save_freq == "epoch":
            return False
        self._since += batch + 1 - self._last_batch
        self._last_batch = batch + 1
        if self._since < self.save_freq:
            return False
        self._since = 0
        return True

    def _save_model(self, epoch, batch, logs):
        """Save, unless only the best is wanted and this is not it."""
        logs = dict(logs or {})
        path = self._get_file_path(epoch, batch, logs)
        reason = ""
        if self.save_best_only:
            if batch is not None and self.monitor not in with_older_names(logs):
                if self.monitor.startswith("val_"):
                    warnings.warn(f"ModelCheckpoint with save_freq={self.save_freq} looks for '{self.monitor}' after "
                                  "single batches, where there is no validation yet: nothing is saved.", stacklevel=2)
                    return
            current = self._value(logs)
            if current is None:
                return
            if not self._is_improvement(current, self.best):
                if self.verbose > 0:
                    write(f"\nEpoch {epoch + 1}: {self.monitor} did not improve from {self.best:.5f}\n")
                return
            before = "None" if self.best is None else f"{self.best:.5f}"
            reason = f" {self.monitor} improved from {before} to {current:.5f},"
            self.best = current
        if self.verbose > 0:
            write(f"\nEpoch {epoch + 1}:{reason} saving model to {path}\n")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if os.path.isdir(path):
            raise IsADirectoryError("Please specify a non-directory filepath for ModelCheckpoint. Filepath used is an "
                                    f"existing directory: {path}")
        save = self.model.save_weights if self.save_weights_only else self.model.save
        if not self.async_save:
            save(path, overwrite=True)
            self._forget_old(path)
            return

        def later(write_file):
            self._writer.submit(lambda: (write_file(), self._forget_old(path)))
        with atomic.in_background(later):
            save(path, overwrite=True)

    def _get_file_path(self, epoch, batch, logs):
        """Return the file's name with the numbers of this moment."""
        logs = logs or {}
        try:
            numbers = {"epoch": epoch + 1, **({} if batch is None else {"batch": batch + 1})}
            return self.filepath.format(**{**with_older_names(logs), **numbers})
        except KeyError as error:
            raise KeyError(f"The filepath '{self.filepath}' contains {{{error.args[0]}}}, which is not among the logs: "
                           f"{', '.join(logs)}.") from None

    def _forget_old(self, path):
        if self.max_to_keep is None:
            return
        self._saved = [old for old in self._saved if old != path] + [path]
        while len(self._saved) > self.max_to_keep:
            old = self._saved.pop(0)
            if os.path.exists(old):
                os.remove(old)

    def on_train_end(self, logs=None):
        self._writer.wait()

    def get_state(self):
        """Return what a checkpoint stores; the files that it speaks of are written."""
        self._writer.wait()
        return {"best": self.best, "since": self._since, "saved": list(self._saved), "never_seen": self._never_seen}

    def set_state(self, state):
        """Continue from a checkpoint."""
        self.best, self._since, self._saved = state["best"], state["since"], list(state["saved"])
        self._never_seen = state["never_seen"]
