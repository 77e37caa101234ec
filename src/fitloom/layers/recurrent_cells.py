# SPDX-License-Identifier: Apache-2.0
"""One step of recurrent layers: SimpleRNNCell, LSTMCell, GRUCell, and several of them stacked.

A cell maps `(inputs of one step, states)` to `(output, new states)`.
"""
from fitloom import initializers, ops
from fitloom.base import serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.ops import layer_kernels as kernels
from fitloom.ops.seed_generator import SeedGenerator


class RecurrentCell(BuiltinLayer):
    """Base of the cells here: weights, and dropout masks that stay the same for all steps of a call."""

    gates = 1   # how many blocks of `units` columns the kernels have

    def _prepare(self, units, dropout, recurrent_dropout, seed):
        if not isinstance(units, int) or units <= 0:
            raise ValueError(f"Received an invalid value for argument `units`, expected a positive integer, got "
                             f"{units}.")
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed = seed
        self.seed_generator = SeedGenerator(seed=seed)
        self.state_size, self.output_size = units, units

    def _weight(self, name, shape, initializer=None):
        return self.add_weight(
            name=name, shape=shape, initializer=initializer or getattr(self, name + "_initializer"),
            regularizer=getattr(self, name.removesuffix("_kernel") + "_regularizer", None)
            if name == "recurrent_kernel" else getattr(self, name + "_regularizer"),
            constraint=getattr(self, name.removesuffix("_kernel") + "_constraint", None)
            if name == "recurrent_kernel" else getattr(self, name + "_constraint"))

    def build(self, input_shape):
        """Make kernel, recurrent kernel and bias."""
        columns = self.units * self.gates
        self.kernel = self._weight("kernel", (input_shape[-1], columns))
        self.recurrent_kernel = self._weight("recurrent_kernel", (self.units, columns), self.recurrent_initializer)
        self.bias = self._weight("bias", self._bias_shape(), self._first_bias()) if self.use_bias else None

    def _bias_shape(self):
        return (self.units * self.gates,)

    def _first_bias(self):
        return self.bias_initializer

    # ---- dropout

    def _mask(self, name, like, rate):
        found = self.__dict__.get(name)
        if found is None:
            found = self.__dict__[name] = kernels.dropout(
                ops.ones_like(like), self.seed_generator.draw(), rate=float(rate))
        return found

    def get_dropout_mask(self, step_input):
        """Return the mask of the inputs, drawn once until it is reset; None without dropout."""
        return self._mask("_dropout_mask", step_input, self.dropout) if self.dropout > 0 else None

    def get_recurrent_dropout_mask(self, step_input):
        """Return the mask of the states, drawn once until it is reset; None without dropout."""
        return self._mask("_recurrent_dropout_mask", step_input, self.recurrent_dropout) \
            if self.recurrent_dropout > 0 else None

    def reset_dropout_mask(self):
        """Forget the mask of the inputs."""
        self.__dict__.pop("_dropout_mask", None)

    def reset_recurrent_dropout_mask(self):
        """Forget the mask of the states."""
        self.__dict__.pop("_recurrent_dropout_mask", None)

    def _dropped(self, inputs, state, training):
        """Return inputs and state, masked in training."""
        if training and self.dropout > 0:
            inputs = inputs * self.get_dropout_mask(inputs)
        if training and self.recurrent_dropout > 0:
            state = state * self.get_recurrent_dropout_mask(state)
        return inputs, state

    def get_initial_state(self, batch_size=None):
        """Return zeros for each state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        return [ops.zeros((batch_size, n), dtype=self.compute_dtype) for n in sizes]

    def compute_output_shape(self, input_shape, states_shape=None):
        """Return the shapes of output and states."""
        out = (input_shape[0], self.units)
        return out, [out for _ in (self.state_size if isinstance(self.state_size, list) else [0])]


class SimpleRNNCell(RecurrentCell):
    """Compute `h' = activation(x @ kernel + h @ recurrent_kernel + bias)`.

    Args:
        units: size of state and output.
        activation: function or name.
        use_bias: whether a bias is added.
        kernel_initializer, recurrent_initializer, bias_initializer ... bias_constraint: of the weights.
        dropout, recurrent_dropout: fractions of inputs and of state dropped in training.
        seed: of the dropout.
    """

    def __init__(self, units, activation="tanh", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, seed=None,
                 **kwargs):
        super().__init__(**kwargs)
        self._keep(locals())
        self._prepare(units, dropout, recurrent_dropout, seed)

    def call(self, sequence, states, training=False):
        """Return the output and the new state."""
        previous = states[0] if isinstance(states, (list, tuple)) else states
        inputs, hidden = self._dropped(sequence, previous, training)
        z = ops.matmul(inputs, self.kernel) + ops.matmul(hidden, self.recurrent_kernel)
        if self.bias is not None:
            z = z + self.bias
        output = self.activation(z)
        return output, [output] if isinstance(states, (list, tuple)) else output


class LSTMCell(RecurrentCell):
    """One step of a long short-term memory (Hochreiter and Schmidhuber, 1997).

    `i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias)`;
    `c' = r(f) * c + r(i) * a(g)`; `h' = r(o) * a(c')` with a = activation, r = recurrent_activation.

    Args:
        units: size of both states and of the output.
        activation, recurrent_activation: functions or names.
        unit_forget_bias: start the bias of the forget gate at 1.
        others: as in SimpleRNNCell.
    """

    gates = 4

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, **kwargs):
        kwargs.pop("implementation", None)   # Keras 2: how, not what, is computed
        super().__init__(**kwargs)
        self._keep(locals())
        self._prepare(units, dropout, recurrent_dropout, seed)
        self.state_size = [units, units]

    def _first_bias(self):
        return forget_bias(self.bias_initializer, self.units) if self.unit_forget_bias else self.bias_initializer

    def call(self, inputs, states, training=False):
        """Return the output and the new states."""
        hidden, carry = states
        inputs, hidden = self._dropped(inputs, hidden, training)
        z = ops.matmul(inputs, self.kernel) + ops.matmul(hidden, self.recurrent_kernel)
        if self.bias is not None:
            z = z + self.bias
        i, f, g, o = ops.split(z, 4, axis=1)
        carry = self.recurrent_activation(f) * carry + self.recurrent_activation(i) * self.activation(g)
        hidden = self.recurrent_activation(o) * self.activation(carry)
        return hidden, [hidden, carry]


def forget_bias(initializer, units):
    """Return an initializer of an LSTM's bias whose second block is ones."""
    def make(shape, dtype=None):
        ones = initializers.Ones()((units,), dtype=dtype)
        first = initializer((units,), dtype=dtype)
        return ops.concat([first, ones, initializer((units * 2,), dtype=dtype)], axis=0)

    return make


class GRUCell(RecurrentCell):
    """One step of a gated recurrent unit (Cho et al., 2014).

    `z, r, g` are blocks of `x @ kernel` and `h @ recurrent_kernel`; `h' = z * h + (1 - z) * a(g)`, the reset gate r
    multiplying the recurrent part of g after (reset_after) or h before the matrix product.

    Args:
        units: size of state and output.
        reset_after: apply the reset gate after the matrix product (as cuDNN does); the bias is then `(2, 3 units)`.
        others: as in LSTMCell.
    """

    gates = 3

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0,
                 reset_after=True, seed=None, **kwargs):
        kwargs.pop("implementation", None)   # Keras 2: how, not what, is computed
        super().__init__(**kwargs)
        self._keep(locals())
        self._prepare(units, dropout, recurrent_dropout, seed)

    def _bias_shape(self):
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def call(self, inputs, states, training=False):
        """Return the output and the new state."""
        previous = states[0] if isinstance(states, (list, tuple)) else states
        inputs, hidden = self._dropped(inputs, previous, training)
        units = self.units
        x = ops.matmul(inputs, self.kernel)
        recurrent_bias = None
        if self.bias is not None:
            bias = ops.convert_to_tensor(self.bias)
            input_bias, recurrent_bias = ops.unstack(bias) if self.reset_after else (bias, None)
            x = x + input_bias
        x_z, x_r, x_g = ops.split(x, 3, axis=-1)
        if self.reset_after:
            inner = ops.matmul(hidden, self.recurrent_kernel)
            if recurrent_bias is not None:
                inner = inner + recurrent_bias
            h_z, h_r, h_g = ops.split(inner, 3, axis=-1)
        else:
            kernel = ops.convert_to_tensor(self.recurrent_kernel)
            h_z, h_r = ops.split(ops.matmul(hidden, kernel[:, :2 * units]), 2, axis=-1)
        z = self.recurrent_activation(x_z + h_z)
        r = self.recurrent_activation(x_r + h_r)
        h_g = r * h_g if self.reset_after else ops.matmul(r * hidden, kernel[:, 2 * units:])
        output = z * hidden + (1.0 - z) * self.activation(x_g + h_g)
        return output, [output] if isinstance(states, (list, tuple)) else output


class StackedRNNCells(BuiltinLayer):
    """Several cells as one: the output of each is the input of the next; states are a list of their states."""

    def __init__(self, cells, **kwargs):
        super().__init__(**kwargs)
        for cell in cells:
            if "call" not in dir(cell) or "state_size" not in dir(cell):
                raise ValueError(f"All cells must have a `call` method and a `state_size`. Received cell: {cell!r}.")
        self.cells = list(cells)

    @property
    def state_size(self):
        """The state sizes of the cells."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self):
        """The output size of the last cell."""
        return _output_size(self.cells[-1])

    def get_initial_state(self, batch_size=None):
        """Return the first states of the cells."""
        return [first_states(cell, batch_size, self.compute_dtype) for cell in self.cells]

    def build(self, input_shape):
        """Build the cells."""
        for cell in self.cells:
            if not getattr(cell, "built", True):
                cell.build(input_shape)
            input_shape = (input_shape[0], _output_size(cell))

    def call(self, inputs, states, training=False, **kwargs):
        """Return the output of the last cell and the new states of all."""
        new_states = []
        for cell, cell_states in zip(self.cells, states):
            alone = not isinstance(cell_states, (list, tuple))
            inputs, updated = call_cell(cell, inputs, [cell_states] if alone else list(cell_states), training)
            new_states.append(updated)
        return inputs, new_states

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super(BuiltinLayer, self).get_config()
        return {**config, "cells": [serialization.serialize_keras_object(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make the stack and its cells."""
        cells = [serialization.deserialize_keras_object(c, custom_objects=custom_objects) for c in config["cells"]]
        return super().from_config({**config, "cells": cells})


def _output_size(cell):
    size = getattr(cell, "output_size", None)
    if size is None:
        size = cell.state_size[0] if isinstance(cell.state_size, (list, tuple)) else cell.state_size
    return size


def first_states(cell, batch_size, dtype):
    """Return the first states of a cell as a list: its own `get_initial_state`, or zeros."""
    if hasattr(cell, "get_initial_state"):
        states = cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, (list, tuple)) else [states]
    sizes = cell.state_size if isinstance(cell.state_size, (list, tuple)) else [cell.state_size]
    return [ops.zeros((batch_size, *((n,) if isinstance(n, int) else tuple(n))), dtype=dtype) for n in sizes]


def call_cell(cell, inputs, states, training):
    """Call a cell, which may know nothing of `training`; return (output, list of states)."""
    names = getattr(getattr(cell.call, "__code__", None), "co_varnames", ())
    keywords = {"training": training} if "training" in names else {}
    output, updated = cell(inputs, states, **keywords)
    return output, list(updated) if isinstance(updated, (list, tuple)) else [updated]
