# SPDX-License-Identifier: Apache-2.0
"""The engine's invariants."""
import gc
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

import fitloom as tf
from fitloom import engine
from fitloom.engine import STATISTICS, instruction, trace
from fitloom.engine.context import CONTEXT


def settle():
    if not CONTEXT.trace.closed:
        CONTEXT.trace.flush()


def programs():
    return STATISTICS["programs"]


def test_recording_never_executes():
    settle()
    before = dict(STATISTICS)
    x = tf.constant([1.0, 2.0])
    for _ in range(5):
        x = x * 2.0 + 1.0
    assert STATISTICS == before
    assert x.numpy().tolist() == [63.0, 95.0]
    assert STATISTICS["flushes"] == before["flushes"] + 1


def test_same_structure_same_program_and_floats_do_not_recompile():
    settle()
    v = tf.Variable([1.0, 2.0])

    def step(rate):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(v * v)
        v.assign_sub(tape.gradient(loss, v) * rate)
        return float(loss)

    step(0.1)
    before = programs()
    losses = [step(0.1 / (i + 1)) for i in range(5)]
    assert programs() == before
    assert losses == sorted(losses, reverse=True)


def test_wrong_shape_raises_where_it_was_written():
    with pytest.raises(tf.errors.InvalidArgumentError, match="matmul"):
        tf.matmul(tf.ones((2, 3)), tf.ones((2, 3)))


def test_different_dtypes_are_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"tf\.cast"):
        tf.constant(1) + tf.constant(1.0)


def test_user_memory_is_copied_at_once():
    source = np.ones(4, np.float32)
    x, v = tf.constant(source), tf.Variable(source)
    y = x + 1.0
    source[:] = 7
    assert y.numpy().tolist() == [2.0] * 4
    assert v.numpy().tolist() == [1.0] * 4


def test_numpy_of_a_variable_is_a_copy():
    v = tf.Variable([1.0, 2.0])
    before = v.numpy()
    v.assign([3.0, 4.0])
    assert before.tolist() == [1.0, 2.0]
    before[:] = 9
    assert v.numpy().tolist() == [3.0, 4.0]


def test_array_that_escaped_is_not_donated():
    v = tf.Variable(np.arange(5000, dtype=np.float32))
    for _ in range(2):
        v.assign_add(tf.ones(5000))
        engine.next_element()
    raw = v.array
    v.assign_add(tf.ones(5000))
    engine.next_element()
    assert not raw.is_deleted()
    assert float(raw[0]) == 2.0
    assert v.numpy()[0] == 3.0


def test_buffers_in_between_are_donated():
    v = tf.Variable(np.arange(5000, dtype=np.float32))
    for _ in range(2):
        v.assign_add(tf.ones(5000))
        engine.next_element()
    before = v.store.value
    v.assign_add(tf.ones(5000))
    engine.next_element()
    assert before.is_deleted()


def test_exception_in_the_middle_leaves_the_trace_usable():
    v = tf.Variable([1.0])
    with pytest.raises(KeyError), tf.GradientTape():
        v.assign_add([1.0])
        raise KeyError("user")
    with tf.GradientTape() as tape:
        loss = v * v
    assert tape.gradient(loss, v).numpy().tolist() == [4.0]


def test_tensors_of_other_threads_can_be_forced():
    made = []
    thread = threading.Thread(target=lambda: made.append(tf.constant([1.0]) * 3.0))
    thread.start()
    thread.join()
    assert made[0].numpy().tolist() == [3.0]


def test_pending_read_survives_a_step_program():
    v = tf.Variable(np.ones(2000, np.float32))
    pending = v * 2.0
    program = engine.StepProgram(lambda: v.assign_add(tf.ones(2000)), [v])
    program.step()
    program.step()
    assert pending.numpy()[0] == 2.0
    assert v.numpy()[0] == 3.0


@pytest.mark.parametrize("limit", [-1.0, 1e9])
def test_long_steps_begin_one_after_the_other(monkeypatch, limit):
    monkeypatch.setattr(sys.modules["fitloom.engine.functional"], "LONG_SECONDS", limit)
    v, waits = tf.Variable(tf.ones(2000)), []

    def step():
        v.assign_add(tf.ones(2000))
        return {"sum": tf.reduce_sum(v)}

    program = engine.StepProgram(step, [v])
    program.step()
    wait = jax.block_until_ready
    monkeypatch.setattr(jax, "block_until_ready", lambda logs: (waits.append(logs), wait(logs))[1])
    logs = [program.step() for _ in range(3)]
    assert sum(bool(one) for one in waits) == (3 if limit < 0 else 0)
    assert [float(one["sum"]) for one in logs] == [6000.0, 8000.0, 10000.0]


def test_step_program_runs_many_steps_in_one_dispatch():
    v = tf.Variable(0.0)

    def step(x):
        v.assign_add(x)
        return {"v": v}

    program = engine.StepProgram(step, [v], fetch=lambda i, data: (data[i],))
    data = np.arange(10, dtype=np.float32)
    assert float(program.run(0, 4, data)["v"]) == 6.0
    compiled = program.compiled
    assert float(program.run(4, 6, data)["v"]) == 45.0
    assert program.compiled == compiled
    assert float(v) == 45.0


def test_inline_and_recorded_agree():
    def step(w, x):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(tf.tanh(x @ w) ** 2.0)
            first = inner.gradient(loss, w)
            penalty = tf.reduce_sum(first * first)
        second = outer.gradient(penalty, w)
        w.assign_sub(second * 0.1)
        return loss, first, second

    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    recorded_w, inline_w = tf.Variable([[0.1, 0.2], [0.3, -0.4]]), tf.Variable([[0.1, 0.2], [0.3, -0.4]])
    recorded = step(recorded_w, x)
    inline = engine.StepProgram(lambda x: step(inline_w, x), [inline_w]).step(x.array)
    for a, b in zip(recorded, inline):
        np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(recorded_w.numpy(), inline_w.numpy(), rtol=1e-5, atol=1e-6)


def test_eager_and_recorded_agree():
    def run():
        w = tf.Variable([[0.1, 0.2], [0.3, -0.4]])
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_sum(tf.exp(w) * w)
            half = loss * 0.5
        w.assign_sub(tape.gradient(half, w))
        return tape.gradient(loss, w).numpy(), w.numpy()

    recorded = run()
    tf.config.run_functions_eagerly(True)
    try:
        settle()
        before = programs()
        eager = run()
        assert programs() == before
    finally:
        tf.config.run_functions_eagerly(False)
    for a, b in zip(recorded, eager):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_memory_is_flat_over_many_steps():
    w, x = tf.Variable(np.ones((2, 2), np.float32)), tf.constant(np.ones((2, 2), np.float32))

    def steps(count):
        for _ in range(count):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(x @ w))
            w.assign_sub(tape.gradient(loss, w) * 0.01)
        return w.numpy()

    steps(50)
    gc.collect()
    arrays, objects, compiled = len(jax.live_arrays()), len(gc.get_objects()), programs()
    steps(10_000)
    gc.collect()
    assert len(jax.live_arrays()) <= arrays + 2
    assert len(gc.get_objects()) < objects + 200
    assert programs() == compiled


def test_string_tensors_live_on_the_host():
    words = tf.constant(["a", "bc"])
    assert words.dtype == tf.string
    assert words.numpy().tolist() == [b"a", b"bc"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"tf\.strings"):
        tf.square(words)


def test_numerics_check_names_the_operation_and_the_line():
    tf.debugging.enable_check_numerics()
    try:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"log at .*test_engine\.py:\d+ produced NaN"):
            tf.math.log(tf.constant([-1.0]))
    finally:
        tf.debugging.disable_check_numerics()


def test_a_variable_has_its_operators_whatever_was_touched_first():
    for name in ("tf.Variable", "tf.keras.Variable", "tf.Module"):
        code = f"import fitloom as tf; v = {name}(2.0) if 'Var' in '{name}' else tf.Variable(2.0); print(float(v * 3.0))"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "6.0\n"


def test_a_trace_without_end_runs_operation_by_operation_and_says_so():
    trace.TRIE.said.clear()
    v = tf.Variable(1.0)
    with pytest.warns(UserWarning, match=r"250 operations were recorded .*test_engine\.py:\d+.*run one at a time"):
        with tf.GradientTape() as tape:
            y = v * 1.0
            for _ in range(5000):
                y = y * 0.9999 + v * 0.0001
        gradient = tape.gradient(y, v)
    np.testing.assert_allclose(float(gradient), 1.0, rtol=1e-3)
    with tf.GradientTape() as tape:                       # said once
        for _ in range(300):
            y = y * 0.5


def test_a_loop_that_changes_its_shapes_says_so_once():
    trace.TRIE.said.clear()
    with pytest.warns(UserWarning, match=r"compiled 16 times.*Pad batches") as caught:
        for i in range(40):
            float(tf.reduce_sum(tf.ones(i + 1) * 2.0))
    assert len(caught) == 1


def test_shapes_that_are_met_once_are_not_compiled_and_those_that_return_are(monkeypatch):
    def first(path, program, *of_program):                # compiling takes long, also where this machine is busy
        program(*of_program)
        path.compiling, path.compiled = path.compiling + 100.0, path.compiled + 1
    monkeypatch.setattr(trace.Path, "first", first)
    monkeypatch.setattr(trace, "ALIKE", 3)
    trace.TRIE.said.add("Pad batches to a few sizes to be fast.")
    rng = np.random.default_rng(0)
    sizes, results = range(2, 9), []
    batches = {n: rng.normal(size=(n, 3)).astype("float32") for n in sizes}
    for compiled in (False, True):
        tf.keras.utils.set_random_seed(0)
        model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(4, activation="tanh"),
                                     tf.keras.layers.Dropout(0.1), tf.keras.layers.Dense(1)])
        optimizer, losses, counts = tf.keras.optimizers.SGD(0.1), [], []
        optimizer.build(model.trainable_variables)
        for n in [*sizes] * (1 if compiled else 3):
            if compiled:
                trace.TRIE.alike.clear()                  # as if no shape had been met before
            before = dict(STATISTICS)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(batches[n], training=True) ** 2)
            optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
            losses.append(float(loss))
            counts.append((STATISTICS["programs"] - before["programs"],
                           STATISTICS["interpreted"] - before["interpreted"]))
        results.append(losses[:len(sizes)])
        if not compiled:
            assert counts == [(1, 0)] * 3 + [(0, 1)] * 4 + [(0, 0)] * 3 + [(1, 0)] * 4 + [(0, 0)] * 7
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


def test_what_takes_longer_one_at_a_time_is_compiled(monkeypatch):
    path = trace.Path()
    path.compiled, path.compiling = trace.ALIKE, 1.0
    assert path.changes()
    monkeypatch.setattr(trace.SETTINGS, "deterministic", False)
    tf.config.experimental.enable_op_determinism()          # measured times must not decide
    assert not path.changes()
    trace.SETTINGS.deterministic = False
    path.interpreted, path.interpreting = 2, 2 * 2.0 / trace.ALIKE
    assert not path.changes()


def test_an_operation_forgets_its_oldest_shapes(monkeypatch):
    monkeypatch.setattr(instruction, "MOST_SIGNATURES", 10)
    op = engine.Op(lambda x: x * 2, "double")
    for n in range(40):
        op.instruction((engine.avals.aval((n,), np.float32),))
    assert len(op.cache) <= 10


def test_programs_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(trace, "MOST_PROGRAMS", 5)
    trace.TRIE.said |= {"Pad batches to a few sizes to be fast."}
    for i in range(12):
        float(tf.reduce_sum(tf.ones(i + 50) * 2.0))
    assert trace.TRIE.programs <= 6


def test_eager_steps_of_new_shapes_compile_nothing():
    """For debugging one waits for the first step, not for the thousandth."""
    compiled = []

    def listen(name, seconds, **_):
        if "backend_compile" in name:
            compiled.append(name)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        tf.config.run_functions_eagerly(True)
        v, optimizer = tf.Variable(tf.ones((3, 2))), tf.keras.optimizers.Adam()
        optimizer.build([v])
        before = len(compiled)
        for rows in (17, 18):
            x = tf.constant(np.ones((rows, 3), np.float32))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.nn.softmax(tf.nn.relu(x @ v)) ** 2)
            optimizer.apply_gradients([(tape.gradient(loss, v), v)])
            assert np.isfinite(float(loss))
        assert len(compiled) == before
    finally:
        tf.config.run_functions_eagerly(False)
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.filterwarnings("ignore:The .* operations from")
def test_what_jax_keeps_of_shapes_that_never_repeat_is_dropped(monkeypatch):
    dropped = []
    monkeypatch.setattr(trace, "ALIKE", 2)
    monkeypatch.setattr(trace, "SHAPES_KEPT", 3)
    monkeypatch.setattr(trace.jax, "clear_caches", lambda: dropped.append(1))
    for rows in range(901, 911):
        assert float(tf.reduce_sum(tf.ones((rows,)) * 2.0)) == 2.0 * rows
    assert 1 <= len(dropped) <= 3


def test_places_that_change_from_step_to_step_are_inputs_of_the_program():
    table = np.arange(40, dtype="float32").reshape(10, 4)
    variable, known = tf.Variable(tf.ones((4,))), tf.constant(table) + 0.0

    def step(place, begin):
        with tf.GradientTape() as tape:
            rows = known[begin:begin + 3] * variable
            loss = rows[1, place] + tf.reduce_sum(rows[..., place]) + rows[-1][place]
        return loss.numpy(), tape.gradient(loss, variable).numpy()

    def expected(place, begin):
        rows = table[begin:begin + 3]
        column = rows[1, place] + rows[:, place].sum() + rows[-1, place]
        return column, column * (np.arange(4) == place)

    for place, begin in ((0, 0), (1, 2), (3, 7), (2, 4), (0, 3)):               # each line is noticed once
        step(place, begin)
    before = programs()
    for place, begin in ((2, 1), (0, 5), (3, 3), (1, 6)):
        for ours, reference in zip(step(place, begin), expected(place, begin)):
            np.testing.assert_allclose(ours, reference, rtol=1e-6)
    assert programs() == before


def test_every_index_of_a_changing_line_is_numpys():
    table = np.arange(24, dtype="float32").reshape(2, 3, 4)
    known = tf.constant(table) + 0.0
    keys = [1, -1, (0, 2), (1, -3, 0), (0, slice(1, 3)), (slice(None), 1), (..., 3), (1, ..., slice(0, 2)),
            (slice(-1, None), slice(None, 2)), (slice(0, 2), slice(0, 3, 2)), (None, 1), (slice(2, 1),),
            (..., slice(9, 99))]
    for key in keys + keys[::-1]:
        np.testing.assert_array_equal(known[key].numpy(), table[key], err_msg=str(key))
    with pytest.raises(tf.errors.InvalidArgumentError, match="out of bounds"):
        known[0, 3]
