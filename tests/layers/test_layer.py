# SPDX-License-Identifier: Apache-2.0
"""`Layer`: weights, tracking, freezing, losses, masks, precision, configurations."""
import copy
import pickle

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
layers = keras.layers


@pytest.fixture(autouse=True)
def fresh_names():
    keras.utils.clear_session() if hasattr(keras.utils, "clear_session") else None


class Linear(layers.Layer):
    """The layer of the guide 'Making new layers and models via subclassing'."""

    def __init__(self, units=32, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, inputs):
        return tf.matmul(inputs, self.w) + self.b


class Block(layers.Layer):
    """A layer made of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.rest = Linear(4), [Linear(3), {"last": Linear(2)}]

    def call(self, inputs):
        return self.rest[1]["last"](self.rest[0](tf.nn.relu(self.first(inputs))))


def test_weights_are_made_at_the_first_call_and_named_by_path():
    layer = Linear(4, name="linear")
    assert not layer.built and layer.weights == []
    assert layer(np.ones((2, 3))).shape == (2, 4)
    assert [w.path for w in layer.weights] == ["linear/w", "linear/b"]
    assert [w.name for w in layer.weights] == ["w", "b"]
    assert layer.count_params() == 16


def test_nested_layers_are_tracked_in_lists_and_dicts():
    block = Block(name="block")
    block(np.ones((2, 5)))
    assert len(block.weights) == 6
    assert block.weights[0].path.startswith("block/linear")


def test_lists_and_dicts_changed_later_are_tracked():
    layer = layers.Layer()
    layer.parts, layer.named = [], {}
    layer.parts.append(Linear(1))
    layer.named["a"] = Linear(2)
    layer.parts += [Linear(3)]
    assert len(layer._layers) == 3
    layer.parts.pop()
    del layer.named["a"]
    assert len(layer._layers) == 1
    layer.pair = (Linear(1), 3)
    assert len(layer._layers) == 2 and layer.pair[1] == 3


def test_a_deleted_attribute_is_not_tracked_any_more():
    layer = layers.Layer()
    layer.part = Linear(1)
    del layer.part
    assert layer._layers == []


def test_a_built_layer_takes_no_new_state():
    class Late(layers.Layer):
        def call(self, x):
            self.w = self.add_weight(shape=())
            return x

    with pytest.raises(ValueError, match="cannot add new elements of state"):
        Late()(np.ones((1, 1)))


def test_forgetting_super_init_says_so():
    class Forgetful(layers.Layer):
        def __init__(self):
            self.units = 3

    with pytest.raises(RuntimeError, match="super"):
        Forgetful()(np.ones((1, 1)))


def test_freezing_reaches_nested_layers_and_back():
    block = Block()
    block(np.ones((1, 2)))
    block.trainable = False
    assert block.trainable_weights == [] and len(block.non_trainable_weights) == 6
    assert not block.first.trainable
    block.trainable = True
    block.first.trainable = False
    assert len(block.trainable_weights) == 4 and len(block.non_trainable_weights) == 2


def test_weights_in_and_out():
    layer = Linear(2)
    layer.build((None, 3))
    values = [np.full((3, 2), 2.0, "float32"), np.ones(2, "float32")]
    layer.set_weights(values)
    np.testing.assert_array_equal(layer(np.ones((1, 3))), [[7.0, 7.0]])
    for got, given in zip(layer.get_weights(), values):
        np.testing.assert_array_equal(got, given)
    with pytest.raises(ValueError, match="length 1.*expecting 2"):
        layer.set_weights(values[:1])
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(2, 3\)"):
        layer.set_weights([values[0].T, values[1]])
    np.testing.assert_array_equal(layer.get_weights()[0], values[0])


def test_add_loss_lives_until_the_next_call():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(tf.reduce_sum(x))
            return x

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.penalty = Penalty()

        def call(self, x):
            return self.penalty(x)

    outer = Outer()
    assert outer.losses == []
    outer(np.ones((2, 2)))
    outer(np.ones((2, 3)))
    assert [float(loss) for loss in outer.losses] == [6.0]


def test_regularizers_join_the_losses():
    layer = layers.Dense(2, kernel_regularizer="l2", kernel_initializer="ones", activity_regularizer="l1")
    layer(np.ones((4, 3)))
    values = sorted(float(loss) for loss in layer.losses)
    # 0.01 * 6 for the kernel; 0.01 * sum |output| / batch = 0.01 * 24 / 4
    np.testing.assert_allclose(values, [0.06, 0.06], rtol=1e-6)
    layer.trainable = False
    assert len(layer.losses) == 1


def test_training_reaches_nested_layers():
    seen = []

    class Inner(layers.Layer):
        def call(self, x, training=None):
            seen.append(training)
            return x

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def call(self, x):
            return self.inner(x)

    outer = Outer()
    x = np.ones((1, 1))
    outer(x, training=True)
    outer(x, training=False)
    outer(x)
    Inner()(x)
    assert seen[:3] == [True, False, None] and seen[-1] is None


def test_an_explicit_training_argument_wins_inside():
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.999)

        def call(self, x):
            return self.dropout(x, training=False)

    np.testing.assert_array_equal(Outer()(np.ones((8, 8)), training=True), np.ones((8, 8)))


def test_masks_travel_and_stop():
    embedding = layers.Embedding(10, 3, mask_zero=True)
    x = embedding(np.array([[1, 2, 0]]))
    np.testing.assert_array_equal(x._keras_mask, [[True, True, False]])
    kept = layers.Dropout(0.1)(x)
    np.testing.assert_array_equal(kept._keras_mask, [[True, True, False]])
    got = {}

    class Uses(layers.Layer):
        def call(self, inputs, mask=None):
            got["mask"] = mask
            return tf.reduce_sum(inputs, axis=1)

    with pytest.warns(UserWarning, match="does not support masking"):
        out = Uses()(kept)
    np.testing.assert_array_equal(got["mask"], [[True, True, False]])
    assert getattr(out, "_keras_mask", None) is None


def test_each_argument_gets_its_own_mask():
    got = {}

    class Two(layers.Layer):
        supports_masking = True

        def call(self, query, value, query_mask=None, value_mask=None):
            got.update(query=query_mask, value=value_mask)
            return query

        def compute_mask(self, inputs, previous_mask):
            return None

    embedding = layers.Embedding(5, 2, mask_zero=True)
    q, v = embedding(np.array([[1, 0]])), embedding(np.array([[0, 1]]))
    Two()(q, v)
    np.testing.assert_array_equal(got["query"], [[True, False]])
    np.testing.assert_array_equal(got["value"], [[False, True]])


def test_mixed_precision_computes_in_half_and_keeps_float32():
    layer = Linear(3, dtype="mixed_float16")
    y = layer(np.ones((2, 4), "float32"))
    assert y.dtype == "float16" and layer.w.dtype == "float32" and layer.dtype == "float32"
    assert layer.compute_dtype == "float16"
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(np.ones((2, 4))), "float32"))
    gradient = tape.gradient(loss, layer.w)
    assert gradient.dtype == "float32"
    np.testing.assert_allclose(gradient, np.full((4, 3), 2.0))


def test_integers_are_not_cast():
    class Keep(layers.Layer):
        def call(self, x):
            return x

    assert Keep()(np.array([1, 2])).dtype == "int64"
    assert Keep()(np.array([1.0])).dtype == "float32"
    assert Keep(dtype="float64")(np.array([1.0], "float32")).dtype == "float64"
    assert Keep(autocast=False)(np.array([1.0])).dtype == "float64"


def test_only_tensors_by_position():
    with pytest.raises(ValueError, match="Only input tensors may be passed as positional"):
        Linear(2)([[1.0, 2.0]])
    with pytest.raises(ValueError, match="Only input tensors"):
        layers.Dropout(0.5)(np.ones((1, 1)), True)


def test_wrong_last_axis_names_layer_and_sizes():
    layer = layers.Dense(2, name="head")
    layer(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"head.*value 3.*\(1, 4\)"):
        layer(np.ones((1, 4)))


def test_shape_inference_without_data():
    assert Block().compute_output_shape((None, 7)) == (None, 2)
    symbol = Block()(keras.KerasTensor((None, 7)))
    assert symbol.shape == (None, 2)

    class Flat(layers.Layer):
        def call(self, x):
            return tf.reshape(x, (tf.shape(x)[0], -1)), x.shape[1] * 2

    class Doubled(layers.Layer):
        def call(self, x):
            return tf.concat([x, x], axis=1)

    assert Doubled().compute_output_shape((None, None, 3)) == (None, None, 3)
    assert Doubled().compute_output_shape((None, 4, 3)) == (None, 8, 3)


def test_build_with_several_shapes():
    class Bilinear(layers.Layer):
        def build(self, a_shape, b_shape):
            self.w = self.add_weight(shape=(a_shape[-1], b_shape[-1]), name="w")

        def call(self, a, b):
            return tf.einsum("bi,ij,bj->b", a, self.w, b)

    layer = Bilinear()
    assert layer(np.ones((2, 3)), np.ones((2, 4))).shape == (2,)
    assert layer.get_build_config() == {"shapes_dict": {"a_shape": (2, 3), "b_shape": (2, 4)}}
    again = Bilinear()
    again.build_from_config(layer.get_build_config())
    assert again.w.shape == (3, 4)

    class Wrong(Bilinear):
        def build(self, a_shape, c):
            pass

    with pytest.raises(ValueError, match="argument `c`, which does not end in `_shape`"):
        Wrong()(np.ones((1, 1)), np.ones((1, 1)))


def test_configuration_from_arguments():
    layer = Linear(5, name="five", dtype="float64")
    again = Linear.from_config(layer.get_config())
    assert (again.units, again.name, again.dtype) == (5, "five", "float64")

    class Bare(layers.Layer):
        def __init__(self, sizes=(1, 2)):
            super().__init__()
            self.sizes = sizes

    assert Bare.from_config(Bare([3]).get_config()).sizes == [3]

    class Hard(layers.Layer):
        def __init__(self, function):
            super().__init__()

    with pytest.raises(NotImplementedError, match="get_config"):
        Hard(np.sin).get_config()


def test_copies_and_pickles_have_their_own_weights():
    block = Block()
    block(np.ones((1, 3)))
    for other in (copy.deepcopy(block),):
        np.testing.assert_array_equal(block(np.ones((1, 3))), other(np.ones((1, 3))))
        other.weights[0].assign(tf.zeros_like(other.weights[0]))
        assert np.any(block.get_weights()[0])
        other.rest.append(1)
        assert len(block.rest) == 2
    dense = layers.Dense(2)
    dense(np.ones((1, 3)))
    again = pickle.loads(pickle.dumps(dense))
    np.testing.assert_array_equal(again.get_weights()[0], dense.get_weights()[0])


def test_stateless_call_changes_nothing():
    layer = layers.BatchNormalization()
    layer.build((None, 2))
    x = np.array([[1.0, 2.0], [3.0, 6.0]], "float32")
    before = layer.get_weights()
    outputs, state = layer.stateless_call(layer.trainable_variables, layer.non_trainable_variables, x, training=True)
    assert outputs.shape == (2, 2) and len(state) == 2
    np.testing.assert_allclose(state[0], 0.01 * x.mean(0), rtol=1e-5)
    for old, new in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="expected 2 values"):
        layer.stateless_call([], layer.non_trainable_variables, x)


def test_a_layer_that_is_also_a_model():
    class Both(layers.Dense, keras.Model):
        pass

    both = Both(3)
    assert both(np.ones((2, 4))).shape == (2, 3)
    assert isinstance(both, keras.Model) and len(both.trainable_weights) == 2


def test_add_weight_refuses_a_name_in_the_place_of_the_shape():
    with pytest.raises(ValueError, match="keyword argument"):
        layers.Layer().add_weight("kernel", shape=(2,))
    with pytest.raises(ValueError, match="None"):
        layers.Layer().add_weight(shape=(None, 2))


def test_unknown_arguments_and_policies():
    with pytest.raises(ValueError, match="Unrecognized keyword"):
        layers.Layer(unit=3)
    with pytest.raises(ValueError, match="mixed_float16"):
        layers.Layer(dtype="mixed_float61")
    with pytest.raises(ValueError, match="boolean"):
        layers.Layer(trainable="no")


def test_quantize_refuses_clearly():
    with pytest.raises(NotImplementedError, match="quantiz"):
        layers.Conv1D(1, 1).quantize("int8")


def test_variables_of_tf_are_tracked():
    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(2.0)

        def call(self, x):
            return x * self.scale

    own = Own()
    np.testing.assert_array_equal(own(np.ones(2)), [2.0, 2.0])
    assert len(own.trainable_variables) == 1


def test_layers_of_a_remat_scope_recompute_and_give_the_same_gradients():
    class Twice(tf.keras.layers.Layer):
        calls = 0

        def call(self, x):
            Twice.calls += 1
            return tf.sin(tf.sin(x))

    x = tf.constant([[1.0, 2.0]])
    found = {}
    for mode in ("full", "larger_than", None):
        with tf.keras.RematScope(mode, output_size_threshold=1):
            layer = Twice()
            dense = tf.keras.layers.Dense(2, "tanh", kernel_initializer="ones", name="inner")
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = dense(layer(x))
        found[mode] = tape.gradient(y, x).numpy()
    np.testing.assert_allclose(found["full"], found[None], rtol=1e-6)
    np.testing.assert_allclose(found["larger_than"], found[None], rtol=1e-6)
    with tf.keras.RematScope("list_of_layers", layer_names=["its"]):
        assert tf.keras.layers.Dense(2, name="its")._recompute[0].chooses(tf.keras.layers.Dense(2, name="its"), ())
        assert not tf.keras.RematScope("activations").chooses(Twice(), ())
    with pytest.raises(ValueError, match="Invalid mode"):
        tf.keras.RematScope("some")


def test_a_call_that_hands_everything_on():
    class Frozen(layers.BatchNormalization):
        def call(self, *args, **kwargs):
            return super().call(*args, **{**kwargs, "training": False})

    symbolic = keras.Input((4, 3))
    made = Frozen()
    assert made(symbolic).shape == (None, 4, 3) and made.gamma.shape == (3,)
    assert Frozen()(tf.ones((2, 3))).shape == (2, 3)


def test_sublayers_made_after_the_base_class_s_build():
    class Late(layers.Layer):
        def build(self, input_shape):
            super().build(input_shape)
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    late = Late()
    late(tf.ones((1, 3)))
    assert len(late.weights) == 2
    with pytest.raises(ValueError, match="already built"):
        late.another = layers.Dense(2)
