# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers


@pytest.mark.parametrize("units", [0, -1, "3", 2.5, None, True])
def test_dense_refuses_bad_units(units):
    with pytest.raises(ValueError, match="positive integer"):
        layers.Dense(units)


def test_dense_names_the_axis_that_changed():
    layer = layers.Dense(2)
    layer(tf.ones((1, 3)))
    with pytest.raises(ValueError, match="axis -1 of input shape to have value 3"):
        layer(tf.ones((1, 4)))


def test_unknown_arguments_and_unimplemented_ones_are_errors():
    with pytest.raises(ValueError, match="unit"):
        layers.Dense(2, unit=3)
    with pytest.raises(ValueError, match="lora_rank"):
        layers.Dense(2, lora_rank=1.5)
    with pytest.raises(ValueError, match="renorm_clipping"):
        layers.BatchNormalization(renorm=True, renorm_clipping={"r": 1})
    with pytest.raises(ValueError, match="Did you mean 'relu'"):
        layers.Dense(2, activation="rel")


def test_lambda():
    double = layers.Lambda(lambda x, factor: x * factor, arguments={"factor": 2.0})
    assert double(tf.ones((1, 2))).numpy().tolist() == [[2, 2]]
    x = tf.keras.Input((3,))
    assert layers.Lambda(lambda x: x[:, :2])(x).shape == (None, 2)
    assert layers.Lambda(lambda x: x, output_shape=(7,)).compute_output_shape((None, 3)) == (None, 7)


def test_lambda_of_a_registered_function_round_trips():
    @tf.keras.utils.register_keras_serializable("tests")
    def triple(x):
        return x * 3.0
    layer = layers.Lambda(triple)
    again = layers.Lambda.from_config(layer.get_config())
    assert again(tf.ones((1,))).numpy().tolist() == [3.0]


def test_masking_sets_mask_and_zeros():
    x = np.ones((1, 3, 2), "float32")
    x[0, 1] = 5.0
    y = layers.Masking(5.0)(x)
    assert y._keras_mask.numpy().tolist() == [[True, False, True]]
    assert y.numpy()[0, 1].tolist() == [0, 0]


def test_embedding_mask_reaches_the_recurrent_layer():
    tokens = np.array([[1, 2, 0, 0]])
    embedding, lstm = layers.Embedding(5, 3, mask_zero=True), layers.LSTM(2)
    masked = lstm(embedding(tokens)).numpy()
    plain = lstm(tf.constant(embedding(tokens).numpy()[:, :2])).numpy()
    np.testing.assert_allclose(masked, plain, rtol=1e-6)


def test_embedding_with_given_weights():
    table = np.arange(6.0).reshape(3, 2)
    assert layers.Embedding(3, 2, weights=[table])(tf.constant([2])).numpy().tolist() == [[4, 5]]
    tied = layers.ReversibleEmbedding(3, 2)
    tied.build()
    tied.set_weights([table])
    np.testing.assert_allclose(tied(tf.constant([[1.0, 0.0]]), reverse=True).numpy(), [[0, 2, 4]])


def test_merge_layers_say_which_shapes_do_not_fit():
    with pytest.raises(ValueError, match="incompatible shapes"):
        layers.Add()([tf.ones((2, 3)), tf.ones((2, 4))])
    with pytest.raises(ValueError, match="list of inputs"):
        layers.Add()(tf.ones((2, 3)))
    with pytest.raises(ValueError, match="matching shapes"):
        layers.Concatenate()([tf.ones((2, 3)), tf.ones((3, 3))])
    with pytest.raises(ValueError, match="axis values 3"):
        layers.Dot(1)([tf.ones((2, 3)), tf.ones((2, 4))])


def test_lower_case_functions():
    a, b = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 5.0]])
    assert layers.add([a, b]).numpy().tolist() == [[4, 7]]
    assert layers.subtract([a, b]).numpy().tolist() == [[-2, -3]]
    assert layers.multiply([a, b]).numpy().tolist() == [[3, 10]]
    assert layers.average([a, b]).numpy().tolist() == [[2, 3.5]]
    assert layers.maximum([a, b]).numpy().tolist() == [[3, 5]]
    assert layers.minimum([a, b]).numpy().tolist() == [[1, 2]]
    assert layers.concatenate([a, b], axis=0).shape == (2, 2)
    assert layers.dot([a, b], axes=1).numpy().tolist() == [[13]]


@pytest.mark.parametrize("attention", [lambda: layers.MultiHeadAttention(2, 4), lambda: layers.GroupQueryAttention(4, 2, 1)],
                         ids=["MultiHeadAttention", "GroupQueryAttention"])
def test_attention_takes_a_masked_embedding_without_a_word(attention):
    embedded = layers.Embedding(5, 8, mask_zero=True)(np.array([[1, 2, 0]]))
    y = attention()(embedded, embedded)                           # a warning would be an error here
    assert y._keras_mask.numpy().tolist() == [[True, True, False]]


def test_merged_masks():
    x = tf.ones((1, 3, 2))
    masks = [tf.constant([[True, False, False]]), tf.constant([[True, True, False]])]
    assert layers.Add().compute_mask([x, x], masks).numpy().tolist() == [[True, True, False]]
    assert layers.Add().compute_mask([x, x], [masks[0], None]) is None
    assert layers.Concatenate(axis=1).compute_mask([x, x], masks).numpy().shape == (1, 6)


def test_softmax_with_a_mask():
    y = layers.Softmax()(tf.zeros((1, 4)), mask=tf.constant([[True, True, False, False]]))
    np.testing.assert_allclose(y.numpy(), [[0.5, 0.5, 0, 0]])


def test_arguments_of_keras_2_are_understood():
    assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1
    assert layers.Dense(2, input_shape=(3,)).units == 2
    assert layers.LSTM(2, implementation=1).units == 2
    assert layers.Embedding(3, 2, input_length=4).output_dim == 2


@pytest.mark.parametrize("make", [
    layers.ReLU, layers.Activation, layers.Identity, layers.Masking, layers.MaxPooling2D, layers.UnitNormalization,
    layers.GlobalAveragePooling1D, lambda: layers.Dropout(0.5), lambda: layers.GaussianNoise(0.5)])
def test_layers_without_weights_are_built_once_they_are_made(make):
    layer = make() if make is not layers.Activation else make("relu")
    assert layer.built and layer.path == layer.name

    class WithWeights(type(layer)):
        def build(self, shape):
            self.scale = self.add_weight(shape=())

    assert not WithWeights(**{k: v for k, v in layer.get_config().items() if k != "name"}).built


def test_reshape_checks_sizes():
    with pytest.raises(ValueError, match="must be unchanged"):
        layers.Reshape((4, 4))(tf.ones((2, 3, 5)))
    with pytest.raises(ValueError, match="at most one"):
        layers.Reshape((-1, -1))


@pytest.mark.parametrize("make, match", [
    (lambda: layers.Conv2D(0, 3), "filters"), (lambda: layers.Conv2D(2, (3, 3, 3)), "kernel_size"),
    (lambda: layers.Conv2D(2, 3, padding="sam"), "padding"), (lambda: layers.Conv2D(3, 3, groups=2), "divisible"),
    (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), "dilation_rate"),
    (lambda: layers.Conv2D(2, 3, data_format="last"), "data_format"),
    (lambda: layers.Conv2D(2, 5)(tf.ones((1, 3, 3, 1))), "negative"),
    (lambda: layers.MaxPooling2D(5)(tf.ones((1, 3, 3, 1))), "negative"),
    (lambda: layers.Cropping1D(3)(tf.ones((1, 5, 1))), "cropping"), (lambda: layers.ZeroPadding2D((1, 2, 3)), "padding"),
    (lambda: layers.UpSampling2D(2, interpolation="linear"), "interpolation"),
    (lambda: layers.Permute((0, 1)), "start from 1"),
    (lambda: layers.GroupNormalization(3)(tf.ones((1, 4))), "equal groups"),
    (lambda: layers.GroupNormalization(0), "`groups`"), (lambda: layers.GroupNormalization(1.5), "`groups`"),
    (lambda: layers.Embedding(0, 2), "`input_dim` must be a positive integer"),
    (lambda: layers.Embedding(3, True), "`output_dim` must be a positive integer"),
    (lambda: layers.Softmax()(tf.ones((1, 3)), mask=tf.ones((2, 3))), "broadcastable"),
    (lambda: layers.AdditiveAttention()(tf.ones((1, 2, 2))), "must be called on a list"),
    (lambda: layers.MultiHeadAttention(2, 4, value_dim=0), "argument `value_dim`"),
    (lambda: layers.MultiHeadAttention(2, 4, output_shape=8.0), "Invalid `output_shape`"),
    (lambda: layers.GroupedQueryAttention(2, 4, 4).compute_output_shape((2, 4, 8), (2, 2, 8), (2, 1, 8)), "must be equal"),
])
def test_errors_name_the_argument(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_masked_steps_do_not_count_in_products_and_extremes():
    masking = layers.Masking()
    a, b = masking(tf.constant([[[0], [-2], [0], [-4]]])), tf.constant([[[0], [0], [-1], [-3]]])
    assert layers.Maximum()([a, b]).numpy().ravel().tolist() == [0, 0, -1, -3]
    assert layers.Minimum()([-a, b]).numpy().ravel().tolist() == [0, 0, -1, -3]
    assert layers.Multiply()([a, b]).numpy().ravel().tolist() == [0, 0, -1, 12]
    b = masking(b)
    assert layers.Maximum()([a, b]).numpy().ravel().tolist() == [0, -2, -1, -3]
    assert layers.Multiply()([a, b]).numpy().ravel().tolist() == [0, -2, -1, 12]


def test_attention_is_computed_where_subclasses_override_it():
    class Doubled(layers.MultiHeadAttention):
        def _compute_attention(self, query, key, value, attention_mask=None, training=None, **kwargs):
            outputs, scores = super()._compute_attention(query, key, value, attention_mask=attention_mask,
                                                         training=training, **kwargs)
            return 2 * outputs, scores

    x = np.linspace(-1, 1, 24, dtype="float32").reshape(1, 3, 8)
    plain, doubled = layers.MultiHeadAttention(2, 4, use_bias=False), Doubled(2, 4, use_bias=False)
    expected, scores = plain(x, x, return_attention_scores=True)
    doubled(x, x)
    doubled.set_weights(plain.get_weights())
    np.testing.assert_allclose(doubled(x, x), 2 * expected, rtol=1e-6)
    assert doubled(x, x, return_attention_scores=True)[1].shape == scores.shape == (1, 2, 3, 3)
    heads, none = plain._compute_attention(*[dense(x) for dense in (plain.query_dense, plain.key_dense, plain.value_dense)],
                                           attention_mask=np.tri(3, dtype="int32")[None])
    causal = plain(x, x, use_causal_mask=True)
    np.testing.assert_allclose(plain.output_dense(heads), causal, rtol=1e-6)
    assert none is None
