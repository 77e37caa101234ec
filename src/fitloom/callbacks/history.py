# SPDX-License-Identifier: Apache-2.0
"""The record that `fit` returns."""
import math
import sys

from fitloom.base.errors import unknown_name
from fitloom.callbacks.callback import Callback
from fitloom.callbacks.progress import in_notebook


class History(Callback):
    """Keep the logs of every epoch; `fit` returns one.

    Attributes: `history`, a dict of lists (one number an epoch, 'loss', 'accuracy', 'val_loss', ...), and
    `epoch`, the list of epoch numbers.

    Source: keras.io/api/callbacks.
    """

    def __init__(self):
        super().__init__()
        self.history = {}
        self.epoch = []

    def on_train_begin(self, logs=None):
        self.epoch = []

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self

    def get_state(self):
        """Return what a checkpoint stores."""
        return {"history": {name: list(values) for name, values in self.history.items()}, "epoch": list(self.epoch)}

    def set_state(self, state):
        """Continue from a checkpoint."""
        self.history, self.epoch = state["history"], state["epoch"]

    def plot(self, names=None, show=False):
        """Draw the curves with matplotlib and return the figure.

        Args:
            names: which logs to draw, a name or a list, each with its `val_` twin; default all.
            show: open a window.

        Raises:
            ValueError: there is no such log.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError("History.plot() needs matplotlib: pip install matplotlib.") from error
        drawn = [names] if isinstance(names, str) else list(names or ())
        for name in drawn:
            if name not in self.history:
                raise unknown_name("log of this run", name, self.history)
        drawn = drawn or [name for name in self.history if not name.startswith("val_")]
        columns = min(max(len(drawn), 1), 3)
        rows = max(math.ceil(len(drawn) / columns), 1)
        figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 4 * rows), squeeze=False)
        for axis in axes.flat[len(drawn):]:
            axis.set_visible(False)
        first = self.epoch[0] if self.epoch else 0
        for axis, name in zip(axes.flat, drawn):
            for label in (name, "val_" + name):
                values = self.history.get(label, [])
                if not values:
                    continue
                # with validation_freq > 1 there are fewer validation results than epochs
                spread = len(self.epoch) / len(values)
                axis.plot([first + (i + 1) * spread for i in range(len(values))], values, label=label,
                          marker="o" if len(values) == 1 else None)     # a line needs two points
            axis.set_xlabel("epoch")
            axis.set_title(name)
            axis.legend()
        figure.tight_layout()
        if in_notebook():
            _show_once(figure, plt)
        if show:
            plt.show()
        return figure


def _show_once(figure, plt):
    """Keep a notebook from drawing a figure twice: as the cell's result, and as one of pyplot's open figures."""
    def display():
        plt.close(figure)
        del figure._ipython_display_
        sys.modules["IPython.display"].display(figure)
        figure._ipython_display_ = display
    figure._ipython_display_ = display
