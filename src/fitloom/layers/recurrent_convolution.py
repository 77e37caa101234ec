# SPDX-License-Identifier: Apache-2.0
"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: recurrent layers whose products are convolutions (Shi et al., 2015)."""
from fitloom import ops
from fitloom.base import config
from fitloom.layers.input_spec import InputSpec
from fitloom.layers.recurrent import RNN, _CellRNN
from fitloom.layers.recurrent_cells import RecurrentCell, forget_bias
from fitloom.ops import layer_kernels as kernels
from fitloom.ops.seed_generator import SeedGenerator


class ConvLSTMCell(RecurrentCell):
    """One step of a convolutional LSTM: as LSTMCell, with convolutions of the inputs and of the hidden state.

    Args:
        rank: number of spatial axes.
        filters, kernel_size, strides, padding, data_format, dilation_rate: of the inputs' convolution; the state's
            has stride 1 and keeps the size.
        others: as in LSTMCell.
    """

    def __init__(self, rank, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self._keep(locals())
        for name in ("kernel_size", "strides", "dilation_rate"):
            setattr(self, name, self._sizes(getattr(self, name), rank, name))
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError("Specifying `strides > 1` is not compatible with `dilation_rate > 1`. Received: "
                             f"strides={self.strides} and dilation_rate={self.dilation_rate}")
        self.data_format = config.standardize_data_format(data_format)
        self.padding = padding.lower()
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed_generator = SeedGenerator(seed=seed)
        self.state_size = self.output_size = -1
        self.input_spec = InputSpec(ndim=rank + 2)

    def build(self, inputs_shape, states_shape=None):
        """Make kernels and bias."""
        channels = inputs_shape[1 if self.data_format == "channels_first" else -1]
        if channels is None:
            raise ValueError("The channel dimension of the inputs should be defined. Received: inputs_shape="
                             f"{tuple(inputs_shape)}.")
        self.kernel = self._weight("kernel", (*self.kernel_size, channels, self.filters * 4))
        self.recurrent_kernel = self._weight(
            "recurrent_kernel", (*self.kernel_size, self.filters, self.filters * 4), self.recurrent_initializer)
        first = forget_bias(self.bias_initializer, self.filters) if self.unit_forget_bias else self.bias_initializer
        self.bias = self._weight("bias", (self.filters * 4,), first) if self.use_bias else None

    def call(self, inputs, states, training=False):
        """Return the output and the new states."""
        hidden, carry = states
        inputs, hidden = self._dropped(inputs, hidden, training)
        axis = 1 if self.data_format == "channels_first" else -1
        x = kernels.conv(inputs, self.kernel, strides=self.strides, padding=self.padding,
                         dilation=self.dilation_rate, data_format=self.data_format)
        if self.bias is not None:
            ones = (1,) * self.rank
            x = x + (ops.reshape(self.bias, (-1, *ones)) if axis == 1 else self.bias)
        z = x + kernels.conv(hidden, self.recurrent_kernel, padding="same", data_format=self.data_format)
        i, f, g, o = ops.split(z, 4, axis=axis)
        carry = self.recurrent_activation(f) * carry + self.recurrent_activation(i) * self.activation(g)
        hidden = self.recurrent_activation(o) * self.activation(carry)
        return hidden, [hidden, carry]

    def spatial_shape(self, shape):
        """Return the state's shape for inputs of one step's shape."""
        first = self.data_format == "channels_first"
        sizes = []
        for n, k, s, d in zip(shape[2:] if first else shape[1:-1], self.kernel_size, self.strides,
                              self.dilation_rate):
            reach = (k - 1) * d + 1
            sizes.append(None if n is None else -(-(n - reach + 1) // s) if self.padding == "valid" else -(-n // s))
        return (shape[0], self.filters, *sizes) if first else (shape[0], *sizes, self.filters)


class _ConvLSTM(_CellRNN):
    cell_class = ConvLSTMCell
    rank = 1

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0.0, recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, **kwargs):
        super().__init__({**locals(), "rank": self.rank, "unroll": kwargs.pop("unroll", False)})
        self.input_spec = InputSpec(ndim=self.rank + 3)
        self.state_size = [-1, -1]

    def _first_states(self, sequences_shape):
        shape = self.cell.spatial_shape((sequences_shape[0], *sequences_shape[2:]))
        return [ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2)]

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the cell over all steps."""
        return RNN.inner_loop(self, sequences, initial_state, mask, training)

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        """Return the shape of the output(s), and of the states with `return_state`."""
        shape = self.cell.spatial_shape((sequences_shape[0], *sequences_shape[2:]))
        output = (shape[0], sequences_shape[1], *shape[1:]) if self.return_sequences else shape
        return (output, shape, shape) if self.return_state else output

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "unroll": self.unroll}


class ConvLSTM1D(_ConvLSTM):
    """Convolutional LSTM over `(batch, steps, rows, channels)`.

    Args:
        filters, kernel_size, strides, padding, data_format, dilation_rate: as in Conv1D.
        activation ... seed: as in LSTM.
        return_sequences, return_state, go_backwards, stateful: as in RNN.
    """


class ConvLSTM2D(_ConvLSTM):
    """Convolutional LSTM over `(batch, steps, rows, columns, channels)`; arguments as ConvLSTM1D."""

    rank = 2


class ConvLSTM3D(_ConvLSTM):
    """Convolutional LSTM over `(batch, steps, depth, rows, columns, channels)`; arguments as ConvLSTM1D."""

    rank = 3
