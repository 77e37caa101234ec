# SPDX-License-Identifier: Apache-2.0
"""tf.cond, tf.while_loop, tf.switch_case, tf.map_fn, tf.scan: outside and inside a traced function, with gradients."""
import numpy as np
import pytest

import fitloom as tf
from fitloom.tracing import repetition


@pytest.fixture(params=["outside", "inside"])
def run(request):
    """Run a function as it is, or under tf.function."""
    return (lambda f, *args: f(*args)) if request.param == "outside" else (lambda f, *args: tf.function(f)(*args))


def test_cond(run):
    w = tf.Variable(3.0)

    def choose(x):
        return tf.cond(x > 0.0, lambda: x * w, lambda: x - w)

    assert float(run(choose, tf.constant(2.0))) == 6.0
    assert float(run(choose, tf.constant(-2.0))) == -5.0


def test_gradient_through_cond(run):
    w = tf.Variable(3.0)

    def slope(x):
        with tf.GradientTape() as tape:
            y = tf.cond(x > 0.0, lambda: x * w * w, lambda: -w)
        return tape.gradient(y, w)

    assert float(run(slope, tf.constant(2.0))) == 12.0
    assert float(run(slope, tf.constant(-2.0))) == -1.0


def test_assignment_inside_cond(run):
    count = tf.Variable(0)

    def step(x):
        tf.cond(x > 0.0, lambda: count.assign_add(1), lambda: count.assign_sub(10))
        return count + 0

    assert int(run(step, tf.constant(1.0))) == 1
    assert int(run(step, tf.constant(-1.0))) == -9


def test_while_loop(run):
    def power(x):
        return tf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, y * x), (tf.constant(0), tf.constant(1.0)))[1]

    assert float(run(power, tf.constant(2.0))) == 32.0


def test_gradient_through_a_bounded_loop(run):
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * x), (tf.constant(0), tf.constant(1.0)),
                              maximum_iterations=5)[1]
        return tape.gradient(y, x)

    assert float(run(slope, tf.constant(2.0))) == 12.0


def recurrence(w, s, n):
    """A loop of unknown length, nested in another, with a branch, a counter and a flag."""
    i, on = tf.constant(0), n > 0
    while on:
        for j in tf.range(i % 3):
            s = s * 0.9 + tf.sin(s * w) * tf.cast(j + 1, s.dtype)
        s = tf.tanh(s * w + 0.1)
        i += 1
        on = i < n
    return tf.reduce_sum(s)


def test_gradient_through_a_loop_of_unknown_length(monkeypatch):
    monkeypatch.setattr(repetition, "KEPT", 4)             # so that 16 steps are many
    start, w = tf.constant([0.3, -0.7], tf.float64), tf.Variable(1.4, dtype=tf.float64)

    @tf.function
    def slopes(start, n):
        with tf.GradientTape() as tape:
            tape.watch(start)
            y = recurrence(w, start, n)
        return tape.gradient(y, [start, w], unconnected_gradients="zero")

    for n in (0, 1, 5, 21):                        # outside a traced function the loop is plain Python
        with tf.GradientTape() as tape:
            tape.watch(start)
            y = recurrence(w, start, tf.constant(n))
        expected = tape.gradient(y, [start, w], unconnected_gradients="zero")
        for a, b in zip(slopes(start, tf.constant(n)), expected):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-15)


def test_derivatives_of_other_kinds_through_a_loop_of_unknown_length():
    def power(x, n):
        return tf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * x), (0, tf.constant(1.0)))[1]

    @tf.function
    def forward(x, n):
        with tf.autodiff.ForwardAccumulator(x, tf.constant(1.0)) as accumulator:
            y = power(x, n)
        return accumulator.jvp(y)

    @tf.function
    def second(x, n):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = power(x, n)
            slope = tape.gradient(y, x)
        return outer.gradient(slope, x)

    x, n = tf.constant(1.5), tf.constant(4)
    np.testing.assert_allclose(forward(x, n), 4 * 1.5 ** 3, rtol=1e-6)
    np.testing.assert_allclose(second(x, n), 12 * 1.5 ** 2, rtol=1e-6)


def test_gradient_through_a_loop_that_reports_and_writes(capfd):
    v = tf.Variable(0.0)

    @tf.function
    def slope(x, n):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in tf.range(n):
                tf.debugging.assert_positive(y)
                v.assign_add(1.0)
                y = y * x
        return tape.gradient(y, x)

    np.testing.assert_allclose(slope(tf.constant(2.0), tf.constant(3)), 32.0)
    assert float(v) == 3.0


def test_a_bound_that_is_far_away_stores_no_states():
    @tf.function
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.while_loop(lambda y: y < 100.0, lambda y: (y * x,), [x], maximum_iterations=10_000_000)[0]
        return y, tape.gradient(y, x)

    y, gradient = slope(tf.constant(2.0))
    assert (float(y), float(gradient)) == (128.0, 448.0)


def test_switch_case(run):
    def pick(i):
        return tf.switch_case(i, [lambda: tf.constant(10), lambda: tf.constant(20)], default=lambda: tf.constant(-1))

    assert [int(run(pick, tf.constant(i))) for i in (0, 1, 7)] == [10, 20, -1]


def test_case(run):
    def grade(x):
        return tf.case([(x > 2.0, lambda: tf.constant(2)), (x > 1.0, lambda: tf.constant(1))],
                       default=lambda: tf.constant(0))

    assert [int(run(grade, tf.constant(v))) for v in (3.0, 1.5, 0.5)] == [2, 1, 0]


def test_map_fn_and_its_gradient(run):
    w = tf.Variable(2.0)

    def slope(x):
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.map_fn(lambda row: row * row * w, x))
        return tape.gradient(y, w)

    assert float(run(slope, tf.constant([1.0, 2.0, 3.0]))) == 14.0


def test_scan_and_folds(run):
    x = tf.constant([1.0, 2.0, 3.0])
    assert run(lambda x: tf.scan(lambda a, b: a + b, x), x).numpy().tolist() == [1.0, 3.0, 6.0]
    assert run(lambda x: tf.scan(lambda a, b: a * b, x, initializer=tf.constant(2.0)), x).numpy().tolist() == \
        [2.0, 4.0, 12.0]
    assert float(run(lambda x: tf.foldl(lambda a, b: a - b, x), x)) == -4.0
    assert float(run(lambda x: tf.foldr(lambda a, b: a - b, x), x)) == 0.0


def test_vectorized_map(run):
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(run(lambda x: tf.vectorized_map(lambda r: r / tf.reduce_sum(r), x), x).numpy(),
                               [[1 / 3, 2 / 3], [3 / 7, 4 / 7]], rtol=1e-6)


def test_branches_that_disagree_are_explained():
    @tf.function
    def wrong(x):
        return tf.cond(x > 0.0, lambda: tf.zeros(2), lambda: tf.zeros(3))

    with pytest.raises(tf.errors.InvalidArgumentError, match="same shapes and dtypes"):
        wrong(tf.constant(1.0))


def test_numpy_and_py_function(run):
    def through(x):
        a = tf.numpy_function(lambda v: v + 1.0, [x], Tout=tf.TensorSpec([2], tf.float32))
        return tf.py_function(lambda v: v * 2.0, [a], Tout=tf.TensorSpec([2], tf.float32))

    assert run(through, tf.constant([1.0, 2.0])).numpy().tolist() == [4.0, 6.0]


def test_print_inside_and_outside(run, capfd):
    def show(x):
        tf.print("x =", x)
        return x + 0.0

    run(show, tf.constant([1.0, 2.0])).numpy()
    assert "x = [1 2]" in capfd.readouterr().err


def test_tensor_array():
    array = tf.TensorArray(tf.float32, size=3)
    for i in range(3):
        array = array.write(i, tf.constant(float(i)))
    assert array.stack().numpy().tolist() == [0.0, 1.0, 2.0]


def test_py_function_has_a_gradient(run):
    def cube(x, n):
        return x ** 3 * tf.cast(n, tf.float32), n

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, _ = tf.py_function(cube, [x, tf.constant(2)], [tf.TensorSpec([2], tf.float32), tf.TensorSpec([], tf.int32)])
            total = tf.reduce_sum(y) * 3.0
        return tape.gradient(total, x)

    np.testing.assert_allclose(run(step, tf.constant([1.0, 2.0])), [18.0, 72.0])

    def fails(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.py_function(lambda x: tf.constant(x.numpy()), [x], tf.TensorSpec([2], tf.float32))
        return tape.gradient(y, x)
    found = run(fails, tf.constant([1.0, 2.0]))               # through NumPy: no gradient
    assert found is None or found.numpy().tolist() == [0.0, 0.0]


def test_a_loop_whose_shapes_change_runs_as_python():
    @tf.function
    def grow(n):
        return tf.while_loop(lambda i, x: i < n, lambda i, x: (i + 1, tf.concat([x, x[-1:] + 1.0], 0)),
                             [tf.constant(0), tf.constant([1.0])], shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])[1]

    with pytest.warns(UserWarning, match="runs uncompiled"):
        assert grow(tf.constant(2)).numpy().tolist() == [1.0, 2.0, 3.0]
    assert grow(tf.constant(3)).numpy().tolist() == [1.0, 2.0, 3.0, 4.0]


def test_tensor_arrays_are_split_and_scattered():
    array = tf.TensorArray(tf.float32, 2).split(tf.constant([[1.0], [2.0], [3.0]]), [1, 2])
    assert array.read(1).numpy().tolist() == [[2.0], [3.0]] and array.concat().shape == (3, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="add up"):
        array.split(tf.ones((3, 1)), [1, 1])
    assert tf.TensorArray(tf.int32, 3).scatter([2, 0, 1], [5, 6, 7]).stack().numpy().tolist() == [6, 7, 5]


def test_case_checks_its_predicates():
    x = tf.constant(3)
    both = [(x > 1, lambda: x), (x > 2, lambda: x)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="2 do"):
        tf.case(both, default=lambda: x, exclusive=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no default"):
        tf.case([(x > 5, lambda: x), (x > 6, lambda: x)])
    assert int(tf.case(both)) == 3


def test_map_fn_over_sparse_rows():
    rows = tf.sparse.from_dense([[1, 2], [0, 3]])
    assert tf.map_fn(tf.sparse.reduce_sum, rows, fn_output_signature=tf.int32).numpy().tolist() == [3, 3]
    assert tf.sparse.to_dense(tf.map_fn(lambda row: row, rows)).numpy().tolist() == [[1, 2], [0, 3]]


def test_a_loop_stops_after_iterations_that_are_known_at_run_time_only():
    def run(most):
        return tf.while_loop(lambda a, i: True, lambda a, i: (a + 1.0, i + 1), (tf.zeros((2,)), 0),
                             maximum_iterations=most)

    compiled = tf.function(run)
    for most in (3, 5):
        total, count = compiled(tf.constant(most))
        assert total.numpy().tolist() == [most, most] and count.numpy() == most
    assert tf.function(lambda: run(4))()[1].numpy() == 4
