# SPDX-License-Identifier: Apache-2.0
"""tf.function: one trace a signature, variables, gradients, converted control flow."""
import sys
import warnings

import numpy as np
import pytest

import fitloom as tf


def test_python_runs_once_for_each_signature():
    traced = []

    @tf.function
    def double(x, factor=2.0):
        traced.append(x.shape)
        return x * factor

    for _ in range(3):
        assert double(tf.constant([1.0, 2.0])).numpy().tolist() == [2.0, 4.0]
    assert len(traced) == 1
    double(tf.constant([1.0, 2.0, 3.0]))
    double(tf.constant([1.0, 2.0]), factor=3.0)
    double(tf.constant([5.0, 6.0]))
    assert len(traced) == 3
    assert double.experimental_get_tracing_count() == 3


def test_variables_are_read_and_assigned():
    counter = tf.Variable(0)

    @tf.function
    def count(step):
        counter.assign_add(step)
        return counter * 10

    assert [int(count(tf.constant(2))) for _ in range(3)] == [20, 40, 60]
    assert int(counter) == 6


def test_gradient_through_a_function():
    w = tf.Variable([1.0, 2.0])

    @tf.function
    def loss(x):
        return tf.reduce_sum(w * x * x)

    x = tf.constant([3.0, 4.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = loss(x)
    dw, dx = tape.gradient(y, [w, x])
    assert dw.numpy().tolist() == [9.0, 16.0]
    assert dx.numpy().tolist() == [6.0, 16.0]


def test_training_step_with_a_tape_inside():
    w = tf.Variable(1.0)
    optimizer = tf.keras.optimizers.SGD(0.25)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = w * w * x
        optimizer.apply_gradients([(tape.gradient(loss, w), w)])
        return loss

    assert [float(step(tf.constant(1.0))) for _ in range(3)] == [1.0, 0.25, 0.0625]
    assert float(w) == 0.125


def test_structures_and_python_results():
    @tf.function
    def both(pair):
        return {"sum": pair["a"] + pair["b"], "name": "fixed", "nothing": None}

    result = both({"a": tf.constant(1.0), "b": np.float32(2.0)})
    assert float(result["sum"]) == 3.0
    assert result["name"] == "fixed"
    assert result["nothing"] is None


def test_methods_keep_their_instance():
    class Scale:
        def __init__(self, factor):
            self.factor = tf.Variable(factor)

        @tf.function
        def __call__(self, x):
            return x * self.factor

    two, three = Scale(2.0), Scale(3.0)
    assert [float(f(tf.constant(1.0))) for f in (two, three, two)] == [2.0, 3.0, 2.0]
    assert float(Scale(5.0)(tf.constant(1.0))) == 5.0


def test_input_signature_is_checked():
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def total(x):
        return tf.reduce_sum(x)

    assert float(total([[1.0, 2.0]])) == 3.0
    assert float(total(tf.ones((3, 2)))) == 6.0
    with pytest.raises(TypeError, match="input_signature"):
        total(tf.ones((3, 3)))


def test_concrete_function():
    @tf.function
    def add(a, b):
        return a + b

    concrete = add.get_concrete_function(tf.TensorSpec([2], tf.float32), tf.TensorSpec([2], tf.float32))
    assert concrete(tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])).numpy().tolist() == [4.0, 6.0]
    assert tuple(concrete.structured_outputs.shape) == (2,)


def test_retracing_is_explained_once():
    @tf.function
    def identity(x):
        return x + 0.0

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for size in range(1, 10):
            identity(tf.zeros(size))
    messages = [str(w.message) for w in caught if "traced" in str(w.message)]
    assert len(messages) == 1
    assert "shapes or dtypes" in messages[0]


def test_random_numbers_differ_from_call_to_call():
    @tf.function
    def draw():
        return tf.random.uniform((4,))

    assert not np.array_equal(draw().numpy(), draw().numpy())


def test_run_functions_eagerly():
    seen = []

    @tf.function
    def f(x):
        seen.append(float(x))
        return x

    tf.config.run_functions_eagerly(True)
    try:
        f(tf.constant(3.0))
    finally:
        tf.config.run_functions_eagerly(False)
    assert seen == [3.0]


def test_if_on_a_tensor_is_converted():
    @tf.function
    def sign(x):
        if tf.reduce_sum(x) > 0:
            y = x * 2.0
            label = 1
        else:
            y = -x
            label = -1
        return y, label

    y, label = sign(tf.constant([1.0]))
    assert (y.numpy().tolist(), int(label)) == ([2.0], 1)
    y, label = sign(tf.constant([-1.0]))
    assert (y.numpy().tolist(), int(label)) == ([1.0], -1)


def test_early_returns_are_converted():
    @tf.function
    def clip(x):
        if x > 1.0:
            return tf.constant(1.0)
        elif x < 0.0:
            return tf.constant(0.0)
        return x

    assert [float(clip(tf.constant(v))) for v in (2.0, -1.0, 0.5)] == [1.0, 0.0, 0.5]


def test_while_on_tensors_is_converted():
    @tf.function
    def collatz(n):
        steps = tf.constant(0)
        while n != 1:
            if n % 2 == 0:
                n = n // 2
            else:
                n = 3 * n + 1
            steps += 1
        return steps

    assert int(collatz(tf.constant(27))) == 111


def test_for_over_a_range_of_unknown_length_is_converted():
    def weight(i):
        return tf.where(i > 2, 10, 1)

    @tf.function
    def total(n):
        result = tf.constant(0)
        for i in tf.range(n):
            result += i * weight(i)
        return result

    assert int(total(tf.constant(5))) == 0 + 1 + 2 + 30 + 40


def test_nested_functions_and_closures():
    scale = tf.constant(3.0)

    @tf.function
    def inner(x):
        return x * scale

    @tf.function
    def outer(x):
        return inner(x) + inner(x * 2.0)

    assert float(outer(tf.constant(1.0))) == 9.0


def test_exception_from_user_code_keeps_its_type():
    @tf.function
    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        broken(tf.constant(1.0))


def test_pending_work_that_tracing_runs_does_not_disturb_the_call():
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
    optimizer, total = tf.keras.optimizers.Adam(), tf.keras.metrics.Mean()

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2.0)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        total.update_state(loss)
        return loss

    total.update_state(tf.constant(1.0) * 2.0)       # pending when the function is traced and the optimizer built
    losses = [float(step(tf.ones((4, 3)))) for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    np.testing.assert_allclose(float(total.result()), (2.0 + sum(losses)) / 4, rtol=1e-6)


def test_exception_of_a_python_function_in_a_program_keeps_its_type():
    v = tf.Variable(1.0)

    def host(x):
        raise KeyError("mine")

    @tf.function
    def f(x):
        v.assign_add(1.0)
        return tf.numpy_function(host, [x], tf.TensorSpec([], tf.float32)) + v

    with pytest.raises(KeyError, match="mine") as caught:
        f(tf.constant(1.0)).numpy()
    assert any("test_function.py" in note for note in caught.value.__notes__)
    assert float(v) == 1.0


def test_returned_numbers_are_tensors():
    @tf.function
    def several():
        return 1, {"half": 0.5}, None

    one, halves, nothing = several()
    assert one.dtype == tf.int32 and one.numpy() == 1
    assert halves["half"].dtype == tf.float32
    assert nothing is None


def test_an_iterator_as_argument_moves_on_at_each_call():
    total = tf.Variable(0, dtype=tf.int64)

    @tf.function
    def consume(iterator):
        total.assign_add(next(iterator))

    iterator = iter(tf.data.Dataset.range(4))
    with pytest.warns(UserWarning, match="next element of a dataset"):
        consume(iterator)
    for _ in range(3):
        consume(iterator)
    assert total.numpy() == 6


def test_value_of_a_leaked_tensor():
    leaked = []

    @tf.function
    def leaky(x):
        leaked.append(x + 1)
        return x

    leaky(tf.constant(1))
    with pytest.raises(AttributeError, match="inside a compiled function"):
        leaked[0].numpy()
    with pytest.raises(NotImplementedError):
        leaked[0].numpy()
    with pytest.raises(TypeError, match="out of scope"):
        tf.function(lambda x: x + leaked[0])(tf.constant(1))


def test_number_beside_a_list():
    rectify = tf.function(lambda x: tf.maximum(0.0, x))
    assert rectify([1, -1]).numpy().tolist() == [1.0, 0.0]
    assert tf.maximum(0.0, [1, -1]).dtype == tf.float32


def test_inspection_of_a_concrete_function():
    @tf.function
    def rectify(x):
        if x > 0:
            return x
        return 0 * x

    concrete = rectify.get_concrete_function(tf.constant(1.0))
    nodes = concrete.graph.as_graph_def().node
    assert nodes[0].op == "Placeholder" and nodes[-1].input
    assert "Placeholder" in str(concrete.graph.as_graph_def())
    assert str(concrete.function_type) == "(x: TensorSpec(shape=(), dtype=tf.float32, name=None))"
    with pytest.raises(TypeError, match="float32"):
        concrete(tf.constant(1))
    assert "if_return" in tf.autograph.to_code(rectify.python_function)


def test_devices_have_full_names():
    assert tf.ones(2).device.endswith("device:CPU:0")
    with tf.device(tf.Variable(1.0).device):
        pass


def test_first_call_makes_variables_from_what_it_computes():
    class Dense(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = None

        @tf.function
        def __call__(self, x):
            if self.w is None:
                self.w = tf.Variable(tf.random.uniform([x.shape[1], 2], minval=1.0) * tf.reduce_max(x))
            return tf.matmul(x, self.w)

    layer = Dense()
    first = layer(tf.constant([[2.0, 2.0]]))
    assert layer.w.numpy().min() >= 2.0
    np.testing.assert_allclose(layer(tf.constant([[2.0, 2.0]])), first, rtol=1e-6)
    assert layer(tf.constant([[2.0, 2.0]])).shape == (1, 2)

    again = tf.function(lambda x: tf.Variable(x * 2.0).read_value())
    again(tf.constant(1.0))
    with pytest.raises(ValueError, match="other calls than its first"):
        again(tf.constant(1.0))


def test_what_a_function_prints_and_raises_comes_in_the_callers_order(capfd):
    @tf.function
    def checked(x):
        tf.debugging.assert_positive(x)
        tf.print("inside", x)
        return x * 2.0

    kept = tf.constant(1.0) + 2.0
    good = checked(tf.constant(3.0))
    print("after", file=sys.stderr)
    with pytest.raises(tf.errors.InvalidArgumentError, match="assert_positive"):
        checked(tf.constant(-1.0))
    assert float(kept) == 3.0 and float(good) == 6.0                  # an error spares what was computed before
    lines = capfd.readouterr().err.split("\n")
    assert lines[:2] == ["inside 3", "after"]
    v = tf.Variable(1.0)
    for i in range(4):                                                 # the same step again and again prints each time
        with tf.GradientTape() as tape:
            loss = checked(v + float(i))
        v.assign_sub(0.1 * tape.gradient(loss, v))
        assert float(v) == pytest.approx(1.0 - 0.2 * (i + 1))
    lines = [line for line in capfd.readouterr().err.split("\n") if line.startswith("inside")]
    assert [float(line.split()[1]) for line in lines] == pytest.approx([1.0, 1.8, 2.6, 3.4])


def test_a_concrete_function_lists_its_outputs():
    concrete = tf.function(lambda x: {"a": x, "b": [x[0]]}).get_concrete_function(tf.TensorSpec([3], tf.float32))
    assert [o.shape.as_list() for o in concrete.outputs] == [[3], []]


def test_functions_return_ragged_tensors_and_slices():
    @tf.function
    def made(x, i):
        return {"r": (tf.RaggedTensor.from_row_lengths(x, [1, 2]) * 2, x), "s": [tf.IndexedSlices(x + 1, i)],
                "sparse": tf.SparseTensor([[0], [1], [2]], x * 3, [4])}

    result = made(tf.constant([1, 2, 3]), tf.constant([0, 1, 2]))
    assert result["r"][0].to_list() == [[2], [4, 6]]
    assert result["s"][0].values.numpy().tolist() == [2, 3, 4] and result["s"][0].indices.numpy().tolist() == [0, 1, 2]
    assert tf.sparse.to_dense(result["sparse"]).numpy().tolist() == [3, 6, 9, 0]

    @tf.function
    def outer(x):
        return tf.reduce_sum(made(x, x)["r"][0], 1)
    assert outer(tf.constant([1, 2, 3])).numpy().tolist() == [2, 10]


def test_an_input_signature_holds_specs():
    with pytest.raises(TypeError, match="TensorSpec"):
        tf.function(lambda x: x, input_signature=["x"])


def test_module_scopes_name_variables():
    class Inner(tf.Module):
        def __init__(self, name=None):
            super().__init__(name)
            self.w, self.parts = tf.Variable(1.0, name="w"), [tf.Variable(2.0)]

        @tf.Module.with_name_scope
        def __call__(self):
            return tf.Variable(1.0, name="inner").name

    module = Inner("m")
    assert module() == "m/inner:0" and module.name_scope.name == "m/" and module.w.name == "w:0"
    with tf.name_scope("a"), tf.name_scope("b") as scope:
        assert scope == "a/b/" and tf.Variable(1.0, name="v").name == "a/b/v:0"
    found = dict(module._flatten(predicate=lambda v: isinstance(v, tf.Variable), with_path=True))
    assert list(found) == [("parts", 0), ("w",)]


def test_nest_expands_composites():
    ragged = tf.ragged.constant([[1], [2, 3]])
    flat = tf.nest.flatten({"a": ragged, "b": 4}, expand_composites=True)
    assert [tf.convert_to_tensor(x).numpy().tolist() for x in flat] == [[1, 2, 3], [0, 1, 3], 4]
    again = tf.nest.pack_sequence_as({"a": ragged, "b": 4}, flat, expand_composites=True)
    assert again["a"].to_list() == [[1], [2, 3]] and again["b"] == 4
