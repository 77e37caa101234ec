# SPDX-License-Identifier: Apache-2.0
"""Python control flow on tensors inside tf.function gives what TensorFlow gave (autograph_cases.py)."""
import json

import numpy as np
import pytest
from tests.tracing import autograph_cases

import fitloom as tf

EXPECTED = json.loads(autograph_cases.GOLDEN.read_text())


def close(ours, theirs):
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(close(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list) and any(isinstance(v, (list, dict)) for v in theirs):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    return np.shape(ours) == np.shape(theirs) and np.allclose(ours, theirs, 1e-5, 1e-6)


@pytest.mark.parametrize("name, function, inputs", autograph_cases.CASES, ids=[c[0] for c in autograph_cases.CASES])
def test_as_tensorflow(name, function, inputs):
    assert close(autograph_cases.run(tf, function, inputs), EXPECTED[name])


def test_python_runs_once_before_and_after_a_branch():
    counter, traced = tf.Variable(0), []

    @tf.function
    def step(x):
        counter.assign_add(1)
        traced.append(1)
        if x > 0:
            x = x * 2.0
        counter.assign_add(10)
        return x

    assert [float(step(tf.constant(v))) for v in (1.0, -1.0)] == [2.0, -1.0]
    assert (int(counter), len(traced)) == (22, 1)


def test_assignments_in_branches_and_loops():
    v = tf.Variable(1.0)

    @tf.function
    def run(x, n):
        if x > 0:
            v.assign(v * 2.0)
        for _ in tf.range(n):
            v.assign_add(1.0)
            if v > 4.0:
                break
        return v + 0.0

    assert float(run(tf.constant(1.0), tf.constant(10))) == 5.0
    assert float(run(tf.constant(-1.0), tf.constant(2))) == 6.0


def test_name_without_a_value_says_why():
    @tf.function
    def f(x):
        if x > 0:
            y = x * 2.0
        return y

    with pytest.raises(UnboundLocalError, match="'y' has no value here: it has one in only one branch"):
        f(tf.constant(1.0))

    @tf.function
    def g(x):
        if x > 0:
            y = tf.zeros(2)
        else:
            y = tf.zeros(3)
        return y + 1.0

    with pytest.raises(UnboundLocalError, match=r"'y' has no value here.*same shape and dtype in both"):
        g(tf.constant(1.0))


def test_loop_variable_that_changes_its_shape_is_named():
    @tf.function
    def f(n):
        y = tf.zeros(1)
        for _ in tf.range(n):
            y = tf.concat([y, y], 0)
        return y

    with pytest.raises(tf.errors.InvalidArgumentError, match="'y' changes from"):
        f(tf.constant(3))


def test_lines_of_converted_code_are_the_users():
    import traceback

    @tf.function
    def f(x):
        if x > 0:
            x = x + 1.0
        raise KeyError("here")

    try:
        f(tf.constant(1.0))
    except KeyError as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
    assert last.line == 'raise KeyError("here")'


def test_a_loop_over_a_dataset_runs_as_python_and_says_so():
    data = tf.data.Dataset.range(3)

    @tf.function
    def total():
        result = tf.constant(0, tf.int64)
        for x in data:
            result += x
        return result

    with pytest.warns(UserWarning, match="iterates over a dataset"):
        assert int(total()) == 3
    assert int(total()) == 3


def test_assert_on_a_tensor():
    @tf.function
    def root(x):
        assert x >= 0.0, "negative"
        return tf.sqrt(x)

    assert float(root(tf.constant(4.0))) == 2.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="negative"):
        root(tf.constant(-4.0)).numpy()


def test_gradients_through_converted_loops():
    @tf.function
    def f(x):
        total = tf.constant(0.0)
        for row in x:
            if row > 0:
                total += row * row
        return total

    x = tf.constant(np.arange(-5, 15, dtype="f"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    np.testing.assert_allclose(tape.gradient(y, x), np.maximum(2 * x.numpy(), 0))


def test_do_not_convert():
    @tf.function
    @tf.autograph.experimental.do_not_convert
    def f(x):
        return 1.0 if x > 0 else 2.0

    with pytest.raises(TypeError, match=r"tf\.cond"):
        f(tf.constant(1.0))


def test_checks_in_compiled_functions():
    v = tf.Variable(1.0)

    @tf.function
    def update(x):
        tf.debugging.assert_positive(x, "rate")
        v.assign_sub(tf.debugging.check_numerics(tf.math.log(x), "log"))
        return v * 2.0

    assert float(update(tf.constant(1.0))) == 2.0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"rate assert_positive .*test_autograph\.py:\d+"):
        update(tf.constant(-1.0)).numpy()
    assert float(v) == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"log : Tensor had Inf values"):
        tf.function(lambda x: tf.debugging.check_numerics(1.0 / x, "log"))(tf.constant(0.0)).numpy()
    assert float(update(tf.constant(1.0))) == 2.0

    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(2.0))
        y = update(x)
    assert float(tape.gradient(y, x)) == 0.0


def test_check_inside_a_branch_and_a_loop():
    @tf.function
    def f(x, n):
        if n > 0:
            tf.debugging.assert_less(x, 10.0)
        for _ in tf.range(n):
            x = x * 2.0
            tf.debugging.assert_less(x, 100.0, "loop")
        return x

    assert float(f(tf.constant(50.0), tf.constant(0))) == 50.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="assert_less"):
        f(tf.constant(50.0), tf.constant(1)).numpy()
    with pytest.raises(tf.errors.InvalidArgumentError, match="loop"):
        f(tf.constant(5.0), tf.constant(9)).numpy()


def test_objects_made_in_a_loop_over_tensors():
    @tf.function
    def ascend(x, steps):
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(x ** 2)
            parts = {"text": "a", "number": loss}
            x = x + 0.1 * tape.gradient(parts["number"], x)
        return x

    assert float(ascend(tf.constant(1.0), tf.constant(2))) == pytest.approx(1.44)

    @tf.function
    def leaves(steps):
        for _ in tf.range(steps):
            made = object()
        return made

    with pytest.raises(UnboundLocalError, match="assigned in a loop over tensors"):
        leaves(tf.constant(2))


def test_range_of_unknown_size_as_a_value():
    @tf.function
    def total(n):
        places = tf.range(0, n, 2)[:-1]
        found = tf.constant(0)
        for place in places:
            found += place
        return found

    with pytest.warns(UserWarning, match="size of a tf.range"):
        assert int(total(tf.constant(9))) == 12


def test_objects_that_can_be_called():
    class Clip:
        def __call__(self, x):
            if x > 1.0:
                x = x * 0.0 + 1.0
            return x

    clip = Clip()
    clipped = tf.function(lambda x: clip(x))
    assert float(clipped(tf.constant(3.0))) == 1.0
    assert float(clipped(tf.constant(0.5))) == 0.5


def test_tensor_array_written_at_steps_that_tensors_decide():
    @tf.function
    def count(limit):
        found = tf.TensorArray(tf.int32, size=0, dynamic_size=True)
        for i in tf.range(limit):
            found = found.write(i, i * i)
            if i * i > 5:
                break
        return found.stack()

    with pytest.warns(UserWarning, match="a TensorArray"):
        assert count(tf.constant(9)).numpy().tolist() == [0, 1, 4, 9]

    @tf.function
    def until(limit):
        found = tf.TensorArray(tf.int32, size=0, dynamic_size=True)
        for i in tf.range(4):
            found = found.write(i, i)
            if i >= limit:
                break
        return found.stack()

    with pytest.warns(UserWarning, match="a TensorArray is written in a branch"):
        assert until(tf.constant(2)).numpy().tolist() == [0, 1, 2]
