# SPDX-License-Identifier: Apache-2.0
"""tf.cond, tf.while_loop, tf.switch_case, tf.map_fn, tf.scan: outside and inside a traced function, with gradients."""
import numpy as np
import pytest

import fitloom as tf


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
