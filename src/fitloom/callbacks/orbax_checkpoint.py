# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in Orbax' format, for tools that read those; needs the package orbax-checkpoint."""
import os

from fitloom.callbacks.monitoring import MonitorCallback
from fitloom.callbacks.progress import write


class OrbaxCheckpoint(MonitorCallback):
    """Save the state of a model and its optimizer with Orbax at the end of epochs, or every so many batches.

    Args:
        directory: folder of the checkpoints, one subfolder a save, called by its number.
        monitor: the log that says which model is best.
        verbose: 1 prints a line at each save.
        save_best_only: save only when the monitored log has improved.
        mode: 'auto', 'min' or 'max'.
        save_freq: 'epoch', or a number of batches.
        initial_value_threshold: the value to beat with the first save.
        max_to_keep: how many checkpoints to keep; None keeps all.
        save_on_background: write in a thread while training goes on.
        save_weights_only: leave out optimizer and metrics.

    Raises:
        ImportError: the package is not there.
        ValueError: an unknown `save_freq`, or a monitored log that does not exist.

    Source: keras.io/api/callbacks/orbax_checkpoint.
    """

    chief_only = True

    def __init__(self, directory, monitor="val_loss", verbose=0, save_best_only=False, mode="auto", save_freq="epoch",
                 initial_value_threshold=None, max_to_keep=1, save_on_background=True, save_weights_only=False):
        super().__init__(monitor, mode)
        self._orbax = _package()
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(f"Unrecognized save_freq: {save_freq!r}. Expected save_freq are 'epoch' or an integer "
                             ">= 1.")
        self.directory = os.path.abspath(os.fspath(directory))
        self.verbose, self.save_best_only = verbose, save_best_only
        self.save_freq, self.best, self.max_to_keep = save_freq, initial_value_threshold, max_to_keep
        self.save_on_background, self.save_weights_only = save_on_background, save_weights_only
        self.every_batch = False if save_freq == "epoch" else "train"
        self._number, self._since, self._last, self._manager = 0, 0, 0, None

    @property
    def manager(self):
        """Orbax' CheckpointManager."""
        if self._manager is None:
            options = self._orbax.CheckpointManagerOptions(
                max_to_keep=self.max_to_keep, create=True, enable_async_checkpointing=self.save_on_background)
            self._manager = self._orbax.CheckpointManager(self.directory, options=options)
            self._number = max([self._number, *(step + 1 for step in self._manager.all_steps())])
        return self._manager

    def on_train_begin(self, logs=None):
        self._never_seen = True
        self.manager.all_steps()                 # an error now if the folder cannot be made

    def on_epoch_begin(self, epoch, logs=None):
        self._last = 0

    def on_train_batch_end(self, batch, logs=None):
        if self.save_freq == "epoch":
            return
        self._since += batch + 1 - self._last
        self._last = batch + 1
        if self._since >= self.save_freq:
            self._since = 0
            self._save(logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(logs)

    def _save(self, logs):
        if self.save_best_only:
            current = self._value(logs)
            if current is None or not self._is_improvement(current, self.best):
                return
            self.best = current
        tree = self.model.get_state_tree(value_format="numpy_array")
        groups = ("trainable_variables", "non_trainable_variables") if self.save_weights_only else tuple(tree)
        tree = {group: tree[group] for group in groups if tree.get(group)}
        self.manager.save(self._number, args=self._orbax.args.StandardSave(tree))
        if self.verbose > 0:
            write(f"\nOrbaxCheckpoint: saved step {self._number} to {self.directory}\n")
        self._number += 1

    def restore(self, step=None):
        """Set the model's state from a checkpoint, by default the newest."""
        self.manager.wait_until_finished()
        step = self.manager.latest_step() if step is None else step
        if step is None:
            raise FileNotFoundError(f"There is no checkpoint in '{self.directory}'.")
        tree = self.model.get_state_tree(value_format="numpy_array")
        found = self.manager.restore(step, args=self._orbax.args.StandardRestore())
        self.model.set_state_tree({group: found[group] for group in tree if group in found})

    def on_train_end(self, logs=None):
        self.manager.wait_until_finished()

    def get_state(self):
        """Return what a checkpoint stores."""
        self.manager.wait_until_finished()
        return {"best": self.best, "since": self._since, "never_seen": self._never_seen}

    def set_state(self, state):
        """Continue from a checkpoint."""
        self.best, self._since, self._never_seen = state["best"], state["since"], state["never_seen"]


def _package():
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError("OrbaxCheckpoint requires the 'orbax-checkpoint' package: pip install orbax-checkpoint. "
                          "BackupAndRestore and ModelCheckpoint need none.") from error
    return orbax.checkpoint
