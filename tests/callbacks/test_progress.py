# SPDX-License-Identifier: Apache-2.0
"""What is printed: golden texts, with the times cut out."""
import io
import re

import numpy as np
import pytest

import fitloom as tf
from fitloom.callbacks import progress

keras = tf.keras
X = np.ones((20, 4), np.float32)
Y = np.zeros((20, 1), np.float32)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    made.compile(optimizer="sgd", loss="mse")
    return made


def without_times(text):
    return re.sub(r"\d+(s|ms|us)/step", "T/step", re.sub(r" \d+s ", " 0s ", text))


def run(monkeypatch, stream, call, ci=None):
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", stream)
    call()
    monkeypatch.undo()
    return without_times(stream.getvalue())


def test_one_line_an_epoch_in_a_pipe(monkeypatch, model):
    text = run(monkeypatch, io.StringIO(), lambda: model.fit(X, Y, epochs=2, validation_data=(X, Y)))
    assert text == ("Epoch 1/2\n1/1 - 0s - T/step - loss: 0.0000e+00 - val_loss: 0.0000e+00\n"
                    "Epoch 2/2\n1/1 - 0s - T/step - loss: 0.0000e+00 - val_loss: 0.0000e+00\n").replace(
                        "0.0000e+00", "0.0000")


def test_one_redrawn_line_on_a_terminal(monkeypatch, model):
    text = run(monkeypatch, Terminal(), lambda: model.fit(X, Y, batch_size=4))
    assert text.rstrip().endswith("5/5 " + "━" * 20 + " 0s T/step - loss: 0.0000") and text.count("\n") == 1


def test_ci_gets_plain_lines_even_on_a_terminal(monkeypatch, model):
    text = run(monkeypatch, Terminal(), lambda: model.evaluate(X, Y), ci="true")
    assert text == "1/1 - 0s - T/step - loss: 0.0000\n"


@pytest.mark.parametrize("verbose, lines", [(0, 0), (1, 1), (2, 1)])
def test_verbose(monkeypatch, model, verbose, lines):
    text = run(monkeypatch, io.StringIO(), lambda: model.predict(X, verbose=verbose))
    assert text.count("\n") == lines


def test_unknown_number_of_steps(monkeypatch, model):
    text = run(monkeypatch, io.StringIO(), lambda: model.fit(((X, Y) for _ in range(3)), verbose=2))
    assert text == "3/3 - 0s - T/step - loss: 0.0000\n"


def test_progbar_by_hand_averages_its_values(monkeypatch):
    def call():
        bar = keras.utils.Progbar(2, verbose=2, stateful_metrics=["last"])
        bar.update(1, [("loss", 1.0), ("last", 1.0)])
        bar.add(1, [("loss", 3.0), ("last", 3.0)])
    assert run(monkeypatch, io.StringIO(), call) == "2/2 - 0s - T/step - loss: 2.0000 - last: 3.0000\n"


@pytest.mark.parametrize("value, text", [(0.0, "0.0000"), (1.5, "1.5000"), (1e-4, "1.0000e-04"), (float("nan"), "nan")])
def test_numbers(value, text):
    assert progress.number(value) == text


@pytest.mark.parametrize("seconds, text", [(3, "3s"), (187, "3:07"), (3722, "1:02:02")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_a_console_without_box_characters(monkeypatch, model):
    class Ascii(Terminal):
        encoding = "ascii"

        def write(self, text):
            text.encode("ascii")
            return super().write(text)

    text = run(monkeypatch, Ascii(), lambda: model.fit(X, Y, batch_size=4))
    assert "=" * 20 in text


def test_disabled_interactive_logging(monkeypatch, model):
    keras.utils.disable_interactive_logging()
    try:
        text = run(monkeypatch, Terminal(), lambda: model.fit(X, Y))
    finally:
        keras.utils.enable_interactive_logging()
    assert text == "1/1 - 0s - T/step - loss: 0.0000\n"


def test_a_line_wider_than_the_terminal_is_cut_until_the_last(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    def call():
        bar = keras.utils.Progbar(2, interval=0)
        for step in (1, 2):
            bar.update(step, [(f"metric_{i}", 1.0) for i in range(5)])
    first, last = run(monkeypatch, Terminal(), call).split("\r")
    assert len(first) == 39 and first.endswith("...") and last.endswith("metric_4: 1.0000\n")


def test_progbar_takes_the_names_to_average_or_the_names_not_to(capsys):
    shown = []
    for names in ({}, {"stateful_metrics": ["v"]}, {"stateless_metrics": ["v"]}, {"stateless_metrics": []}):
        bar = keras.utils.Progbar(2, verbose=2, **names)
        bar.update(1, [("v", 0.0)])
        bar.update(2, [("v", 2.0)])
        shown.append(float(re.search(r"v: ([\d.]+)", capsys.readouterr().out).group(1)))
    assert shown == [1.0, 2.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="received both"):
        keras.utils.Progbar(2, stateful_metrics=[], stateless_metrics=[])
