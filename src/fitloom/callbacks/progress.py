# SPDX-License-Identifier: Apache-2.0
"""What `fit` shows while it runs: one redrawn line on a terminal, one line an epoch elsewhere."""
import math
import os
import shutil
import sys
import time

from fitloom.base import config
from fitloom.callbacks.callback import Callback
from fitloom.callbacks.logs import to_python

REDRAW_SECONDS = 0.1     # at most ten times a second


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    shell = sys.modules.get("IPython")
    shell = shell.get_ipython() if shell is not None else None
    return shell is not None and hasattr(shell, "kernel")


def can_redraw() -> bool:
    """Whether a line that was printed can be drawn again: a terminal or a notebook, and not a CI job."""
    if not config.is_interactive_logging_enabled() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        return False
    return in_notebook() or bool(getattr(sys.stdout, "isatty", lambda: False)())


def duration(seconds) -> str:
    """Return seconds as '45s', '3:07' or '1:02:03'."""
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return f"{seconds // 60}:{seconds % 60:02}" if seconds >= 60 else f"{seconds}s"


def per_step(seconds, unit="step") -> str:
    """Return a time a step as '3s/step', '12ms/step' or '80us/step'."""
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s/{unit}"
    return f"{seconds * 1e3:.0f}ms/{unit}" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us/{unit}"


def number(value) -> str:
    """Return a metric's value with four digits."""
    value = to_python(value)
    if not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) > 1e-3 or not math.isfinite(value) else f"{value:.4e}"


class Progbar:
    """A progress line that can be used by hand.

    Args:
        target: number of steps; None if unknown.
        width: characters of the bar.
        verbose: 0 silent, 1 one redrawn line (a single line at the end where nothing can be redrawn),
            2 one line at the end, 'auto' 1 or 2 by the output.
        interval: seconds between two drawings at least.
        stateful_metrics: names whose last value is shown as it is; other values are averaged over steps.
        stateless_metrics: names whose values are averaged over steps; of others the last value is shown. Give one
            of the two; without either, all values are averaged.
        unit_name: what a step is called.

    Example:
        >>> bar = Progbar(3, verbose=0)
        >>> bar.update(1, [("loss", 0.5)])
    """

    def __init__(self, target, width=20, verbose=1, interval=0.05, stateful_metrics=None,
                 stateless_metrics=None, unit_name="step"):
        self.target, self.width, self.interval, self.unit_name = target, width, interval, unit_name
        self.verbose = (1 if can_redraw() else 2) if verbose == "auto" else verbose
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Progbar expected stateful_metrics (the others are averaged) or stateless_metrics (the "
                             "others are not), but received both. Leave one out.")
        self.stateful_metrics = set(stateful_metrics or ())
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self._sums = {}                   # name -> [sum of value * steps, steps]
        self._seen = 0
        self._start = time.perf_counter()
        self._first_step_end = None       # the first step compiles: it is left out of the estimate
        self._drawn, self._last_draw, self._length = False, -math.inf, 0
        self._redraw = self.verbose == 1 and can_redraw()

    def update(self, current, values=None, finalize=None):
        """Show that `current` steps are done, with `values` as (name, value) pairs."""
        for name, value in values or ():
            averaged = self.stateless_metrics
            if name in self.stateful_metrics or (averaged is not None and name not in averaged):
                self._sums[name] = [to_python(value), 1]
            else:
                entry = self._sums.setdefault(name, [0.0, 0])
                steps = max(current - self._seen, 1)
                entry[0] += to_python(value) * steps
                entry[1] += steps
        self._seen = current
        now = time.perf_counter()
        if self._first_step_end is None and current > 0:
            self._first_step_end = (current, now)
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        if self.verbose == 0 or (not finalize and (not self._redraw or now - self._last_draw < self.interval)):
            return
        self._last_draw = now
        self._write(self._line(current, now, finalize), finalize)

    def add(self, n, values=None):
        """Advance by `n` steps."""
        self.update(self._seen + n, values)

    def seconds_per_step(self, now, final=False):
        """Return the mean time of a step; of several, the first (which compiles) is left out."""
        if self._seen == 0:
            return 0.0
        first, end = self._first_step_end or (0, self._start)
        if self._seen > first:
            return (now - end) / (self._seen - first)
        return (now - self._start) / self._seen

    def _line(self, current, now, finalize):
        rate = self.seconds_per_step(now)
        target = self.target
        total = "?" if target is None else str(target)
        shown = f"{current:>{len(total)}}/{total}" if target is not None else f"{current}/Unknown"
        parts = [shown]
        if self.verbose == 1:
            filled = self.width if target is None or finalize else int(self.width * current / max(target, 1))
            parts[0] += " " + "━" * filled + ("─" * (self.width - filled) if filled < self.width else "")
            time_left = rate * (target - current) if target is not None and not finalize else now - self._start
            parts[0] += f" {duration(time_left)} {per_step(rate, self.unit_name)}"
        else:
            parts += [duration(now - self._start), per_step(rate, self.unit_name)]
        parts += [f"{name}: {number(total / max(count, 1) if count != 1 else total)}"
                  for name, (total, count) in self._sums.items()]
        return " - ".join(parts)

    def _write(self, line, finalize):
        end = "\n" if finalize else ""
        if self._redraw:
            # A line that wraps cannot be drawn again: it is cut until the last one.
            columns = math.inf if finalize or in_notebook() else shutil.get_terminal_size().columns
            if len(line) >= columns:
                line = line[:columns - 4] + "..."
            padding = " " * max(self._length - len(line), 0)
            self._length = len(line)
            text = ("\r" if self._drawn else "") + line + padding + end
        else:
            text = line + end
        self._drawn = True
        write(text)


def write(text):
    """Print to the present `sys.stdout`; a console that knows no box characters gets plain ones."""
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        sys.stdout.write(text.replace("━", "=").replace("─", ".").encode("ascii", "replace").decode())
    sys.stdout.flush()


class ProgbarLogger(Callback):
    """Show progress and metrics; `fit(verbose=...)` adds one by itself.

    Metrics are fetched from the device about ten times a second, only when a line is drawn.

    Source: keras.io/api/callbacks.
    """

    every_batch = False

    def __init__(self):
        super().__init__()
        self.seen, self.progbar, self.target, self.verbose, self.epochs = 0, None, None, 1, 1
        self._in_fit = False

    def set_params(self, params):
        """Take the verbosity and the number of steps."""
        super().set_params(params)
        verbose = params.get("verbose", "auto")
        self.verbose = (1 if can_redraw() else 2) if verbose == "auto" else int(verbose)
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def on_train_begin(self, logs=None):
        self._in_fit = True

    def on_train_end(self, logs=None):
        self._in_fit = False

    def on_epoch_begin(self, epoch, logs=None):
        self._start()
        if self.verbose and self.epochs > 1:
            write(f"Epoch {epoch + 1}/{self.epochs}\n")

    def on_train_batch_end(self, batch, logs=None):
        self._advance(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._finish(logs)

    def on_test_begin(self, logs=None):
        if not self._in_fit:
            self._start()

    def on_test_batch_end(self, batch, logs=None):
        if not self._in_fit:
            self._advance(batch, logs)

    def on_test_end(self, logs=None):
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs=None):
        self._start()

    def on_predict_batch_end(self, batch, logs=None):
        self._advance(batch, None)

    def on_predict_end(self, logs=None):
        self._finish(None)

    def _start(self):
        self.seen, self.target = 0, (self.params or {}).get("steps", self.target)
        self.progbar = Progbar(self.target, verbose=self.verbose, interval=REDRAW_SECONDS)

    def _advance(self, batch, logs):
        bar = self.progbar
        # with steps_per_execution the last group's number may lie behind the last batch
        self.seen = batch + 1 if bar.target is None else min(batch + 1, bar.target)
        bar._seen = self.seen
        now = time.perf_counter()
        if bar._first_step_end is None:
            bar._first_step_end = (self.seen, now)
        if bar._redraw and now - bar._last_draw >= bar.interval:
            self._show(logs, False)

    def _finish(self, logs):
        if self.progbar is not None and self.verbose:
            if self.progbar.target is None:
                self.progbar.target = self.target = self.seen
            self._show(logs, True)

    def _show(self, logs, finalize):
        values = list(logs.items()) if logs else []
        self.progbar.stateful_metrics.update(name for name, _ in values)
        self.progbar.update(self.seen, values, finalize=finalize)
