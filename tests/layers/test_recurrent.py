# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers


@pytest.fixture
def x(rng):
    return rng.normal(size=(2, 5, 3)).astype("float32")


class MinimalCell(layers.Layer):
    """A user's cell that knows nothing of training."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

    def call(self, inputs, states):
        output = tf.tanh(tf.matmul(inputs, self.kernel) + tf.matmul(states[0], self.recurrent))
        return output, [output]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_a_users_cell_runs_as_simple_rnn(x):
    layer = layers.RNN(MinimalCell(4), return_sequences=True)
    mine = layer(x).numpy()
    reference = layers.SimpleRNN(4, use_bias=False, return_sequences=True)
    reference(x)
    reference.set_weights(layer.get_weights())
    np.testing.assert_allclose(mine, reference(x).numpy(), rtol=1e-5, atol=1e-6)
    unrolled = layers.RNN(layer.cell, return_sequences=True, unroll=True)
    np.testing.assert_allclose(unrolled(x).numpy(), mine, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_kernel_equals_the_cell_step_by_step(kind, x):
    layer = getattr(layers, kind)(4, return_sequences=True)
    outputs = layer(x).numpy()
    states = layer.cell.get_initial_state(batch_size=2)
    for t in range(5):
        output, states = layer.cell(tf.constant(x[:, t]), states)
        np.testing.assert_allclose(output.numpy(), outputs[:, t], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_initial_state_continues_a_sequence(kind, x):
    layer = getattr(layers, kind)(4, return_state=True)
    whole, *_ = layer(x)
    _, *states = layer(x[:, :2])
    rest, *_ = layer(x[:, 2:], initial_state=states)
    np.testing.assert_allclose(rest.numpy(), whole.numpy(), rtol=1e-5, atol=1e-6)


def test_stateful_layer_remembers_until_reset(x):
    layer = layers.LSTM(4, stateful=True)
    whole = layers.LSTM(4)
    whole(x)
    first = layer(x[:, :2]).numpy()
    layer.set_weights(whole.get_weights())
    layer.reset_state()
    first = layer(x[:, :2]).numpy()
    np.testing.assert_allclose(layer(x[:, 2:]).numpy(), whole(x).numpy(), rtol=1e-5, atol=1e-6)
    layer.reset_states()
    np.testing.assert_allclose(layer(x[:, :2]).numpy(), first, rtol=1e-6)


def test_stateful_needs_the_batch_size():
    with pytest.raises(ValueError, match="batch size must be static"):
        layers.LSTM(2, stateful=True)(tf.keras.Input((5, 3)))


def test_dropout_acts_in_training_only(x):
    for arguments in ({"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        layer = layers.LSTM(16, seed=1, **arguments)
        rest = layer(x).numpy()
        assert (layer(x, training=False).numpy() == rest).all()
        drawn = layer(x, training=True).numpy()
        assert (drawn != rest).any() and (layer(x, training=True).numpy() != drawn).any()


def test_input_dropout_is_the_same_at_all_steps():
    layer = layers.SimpleRNN(40, dropout=0.5, kernel_initializer="identity", recurrent_initializer="zeros",
                             activation="linear", return_sequences=True)
    y = layer(np.ones((1, 6, 40), "float32"), training=True).numpy()
    assert (y == y[:, :1]).all() and set(np.unique(y)) == {0.0, 2.0}


def test_encoder_decoder_in_the_functional_api(x):
    source, target = tf.keras.Input((5, 3)), tf.keras.Input((4, 3))
    _, h, c = layers.LSTM(4, return_state=True)(source)
    decoded = layers.LSTM(4, return_sequences=True)(target, initial_state=[h, c])
    model = tf.keras.Model([source, target], layers.TimeDistributed(layers.Dense(2))(decoded))
    assert model([x, x[:, :4]]).shape == (2, 4, 2)


def test_time_distributed_equals_each_step(x):
    inner = layers.Dense(2, activation="tanh")
    y = layers.TimeDistributed(inner)(x).numpy()
    for t in range(5):
        np.testing.assert_allclose(y[:, t], inner(x[:, t]).numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match="at least 3"):
        layers.TimeDistributed(layers.Dense(2))(tf.ones((2, 3)))


def test_bidirectional_takes_a_backward_layer(x):
    layer = layers.Bidirectional(layers.LSTM(2), backward_layer=layers.GRU(2, go_backwards=True))
    assert layer(x).shape == (2, 4)
    again = layers.Bidirectional.from_config(layer.get_config())
    assert type(again.backward_layer).__name__ == "GRU"
    with pytest.raises(ValueError, match="go_backwards"):
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2))
    with pytest.raises(ValueError, match="merge mode"):
        layers.Bidirectional(layers.LSTM(2), merge_mode="add")


def test_errors():
    with pytest.raises(ValueError, match="units"):
        layers.LSTM(0)
    with pytest.raises(ValueError, match="`call` method"):
        layers.RNN(object())
    with pytest.raises(ValueError, match="ndim=3"):
        layers.LSTM(2)(tf.ones((2, 3)))


def test_a_long_sequence_compiles_quickly(rng):
    # Written out, 400 steps would take XLA a minute; as a loop they take less than one program of 5 steps more.
    layer = layers.RNN(MinimalCell(2))
    assert np.isfinite(layer(rng.normal(size=(1, 400, 2)).astype("float32")).numpy()).all()


def test_whole_numbers_are_cast():
    assert tf.keras.layers.LSTM(2)(np.array([[[101, 202], [303, 404]]])).dtype == "float32"


def test_states_of_stacked_cells_with_one_state_are_tensors():
    layer = tf.keras.layers.RNN([tf.keras.layers.SimpleRNNCell(3), tf.keras.layers.GRUCell(2)], return_state=True)
    assert [tuple(x.shape) for x in layer(tf.ones((2, 4, 5)))] == [(2, 2), (2, 3), (2, 2)]


def test_a_stateful_layer_names_its_batch_size():
    layer = tf.keras.layers.GRU(2, stateful=True)
    layer(tf.ones((4, 3, 2)))
    with pytest.raises(ValueError, match="batch size of 4"):
        layer(tf.ones((1, 3, 2)))


def test_time_distributed_hands_the_mask_of_steps_to_own_layers():
    class Kept(tf.keras.layers.Layer):
        supports_masking = True

        def call(self, inputs, mask=None):
            return inputs * tf.cast(mask, inputs.dtype)[:, None]

    layer = tf.keras.layers.TimeDistributed(Kept())
    assert layer(tf.ones((1, 2, 1)), mask=np.array([[True, False]])).numpy().ravel().tolist() == [1.0, 0.0]


def test_convolutional_lstm_takes_strides_or_dilation():
    with pytest.raises(ValueError, match="not compatible"):
        tf.keras.layers.ConvLSTM2D(2, 3, strides=2, dilation_rate=2)
