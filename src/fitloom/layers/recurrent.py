# SPDX-License-Identifier: Apache-2.0
"""`RNN`: a cell applied along time; and SimpleRNN, LSTM, GRU, whose loops are kernels of their own."""
import inspect

from fitloom import engine, ops
from fitloom.base import dtypes, nest, registry, serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.layers.input_spec import InputSpec
from fitloom.layers.recurrent_cells import (
    GRUCell,
    LSTMCell,
    SimpleRNNCell,
    StackedRNNCells,
    _output_size,
    call_cell,
    first_states,
)
from fitloom.ops import layer_kernels as kernels
from fitloom.tracing.control_flow import Scan


class RNN(BuiltinLayer):
    """Apply a cell to each step of `(batch, steps, ...)`, its states handed on.

    Args:
        cell: a cell, or a list of cells (they are stacked).
        return_sequences: return the outputs of all steps, not only the last.
        return_state: return the last states too.
        go_backwards: begin with the last step; outputs are in the order in which they were computed.
        stateful: the states of a batch are the first states of the next; the batch size must be fixed.
        unroll: write the loop out, instead of one compiled loop.
        zero_output_for_mask: outputs of masked steps are 0, instead of the last valid output.

    Call arguments:
        sequences: the inputs.
        initial_state: list of first states; zeros by default.
        mask: booleans `(batch, steps)`; masked steps leave the states unchanged.
        training: handed to the cell.
    """

    def __init__(self, cell, return_sequences=False, return_state=False, go_backwards=False, stateful=False,
                 unroll=False, zero_output_for_mask=False, **kwargs):
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        if "call" not in dir(cell):
            raise ValueError(f"Argument `cell` should have a `call` method. Received: cell={cell}")
        if "state_size" not in dir(cell):
            raise ValueError("The RNN cell should have a `state_size` attribute (single integer or list of integers, "
                             f"one integer per RNN state). Received: cell={cell}")
        super().__init__(**kwargs)
        self.return_sequences, self.return_state, self.go_backwards = return_sequences, return_state, go_backwards
        self.stateful, self.unroll, self.zero_output_for_mask = stateful, unroll, zero_output_for_mask
        self.cell = cell
        self.states = None
        self.supports_masking = True
        state_size = cell.state_size
        self.state_size = [state_size] if isinstance(state_size, int) else list(state_size)
        self.single_state = isinstance(state_size, int)
        if stateful:
            self.per_example = False

    def build(self, sequences_shape, initial_state_shape=None):
        """Build the cell; make the kept states of a stateful layer."""
        if hasattr(self.cell, "build") and not getattr(self.cell, "built", True):
            self.cell.build((sequences_shape[0], *sequences_shape[2:]))
        if self.stateful:
            if self.states is not None:
                self.reset_state()
                return
            if sequences_shape[0] is None:
                raise ValueError(
                    f"When using `stateful=True` in a RNN, the batch size must be static. Found dynamic batch size: "
                    f"sequence.shape={tuple(sequences_shape)}. Use Input(batch_shape=...).")
            self._make_states(sequences_shape)

    def _make_states(self, sequences_shape):
        zeros = self._first_states(sequences_shape)
        # Not tracked: they are kept between batches, but no weights that are saved.
        self.__dict__["states"] = nest.map_structure(
            lambda z: engine.KerasVariable(z, trainable=False, dtype=z.dtype, name="rnn_state"), zeros)

    def _first_states(self, sequences_shape):
        return self.get_initial_state(sequences_shape[0])

    def get_initial_state(self, batch_size):
        """Return the first states: zeros, or what the cell gives."""
        return first_states(self.cell, batch_size, self.compute_dtype)

    def reset_state(self):
        """Set the kept states of a stateful layer to zero."""
        for state in nest.flatten(self.states) if self.states is not None else ():
            state.assign(ops.zeros(tuple(state.shape), dtype=state.dtype))

    reset_states = reset_state

    def _check_batch(self, rows):
        kept = nest.flatten(self.states)[0].shape[0]
        if rows is not None and rows != kept:
            raise ValueError(f"Layer '{self.name}' is stateful and keeps states for a batch size of {kept}, but "
                             f"received a batch size of {rows}. Use batches of one size (`drop_remainder=True`).")

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """Return the output(s), and the states with `return_state`."""
        if initial_state is None:
            if self.stateful and self.states is not None:
                self._check_batch(sequences.shape[0])
                initial_state = nest.map_structure(ops.convert_to_tensor, self.states)
            else:
                initial_state = self._first_states(tuple(sequences.shape))
        elif not isinstance(initial_state, (list, tuple)):
            initial_state = [initial_state]
        initial_state = nest.map_structure(
            lambda s: s if s is None else ops.cast(s, self.compute_dtype), list(initial_state))
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        if isinstance(self.cell, BuiltinLayer) and not hasattr(self.cell, "cells") and \
                not dtypes.is_floating(sequences.dtype.name):
            sequences = ops.cast(sequences, self.compute_dtype)
        outputs, last_output, states = self.inner_loop(sequences, initial_state, mask, training)
        if self.stateful and self.states is not None:
            for kept, new in zip(nest.flatten(self.states), nest.flatten(states)):
                kept.assign(ops.cast(new, kept.dtype))
        output = outputs if self.return_sequences else last_output
        if not self.return_state:
            return output
        if hasattr(self.cell, "cells"):      # the state of a cell that has one is that tensor, not a list of it
            states = [state[0] if isinstance(size, int) and isinstance(state, (list, tuple)) else state
                      for size, state in zip(self.state_size, states)]
        return (output, *states)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the cell over all steps; return (outputs, last output, last states)."""
        self._draw_masks(sequences, initial_state, training)
        try:
            return self._loop(sequences, initial_state, mask, training)
        finally:
            for cell in getattr(self.cell, "cells", [self.cell]):
                for reset in ("reset_dropout_mask", "reset_recurrent_dropout_mask"):
                    getattr(cell, reset, lambda: None)()

    def _draw_masks(self, sequences, initial_state, training):
        """Draw the dropout masks of the cells before the loop, so that all steps share them."""
        cells = getattr(self.cell, "cells", [self.cell])
        states = initial_state if hasattr(self.cell, "cells") else [initial_state]
        step_input = sequences[:, 0]
        for cell, state in zip(cells, states):
            if training and hasattr(cell, "get_dropout_mask"):
                cell.get_dropout_mask(step_input)
                cell.get_recurrent_dropout_mask(nest.flatten(state)[0])
                step_input = nest.flatten(state)[0]

    def _loop(self, sequences, initial_state, mask, training):
        steps = sequences.shape[1]
        inputs = ops.transpose(sequences, (1, 0, *range(2, len(sequences.shape))))
        columns = [inputs] if mask is None else [inputs, ops.transpose(ops.cast(mask, "bool"))]
        if self.go_backwards:
            columns = [ops.reverse(c, [0]) for c in columns]
        flat = nest.flatten(initial_state)
        structure = initial_state

        def advance(states, previous, x, valid):
            """One step: the output and the states, unchanged where the step is masked."""
            output, new = call_cell(self.cell, x, nest.pack_sequence_as(structure, states), training)
            new = nest.flatten(new)
            if valid is None:
                return new, output, output
            seen = lambda like: ops.reshape(valid, (-1, *(1,) * (len(like.shape) - 1)))
            held = ops.where(seen(output), output, ops.zeros_like(output) if previous is None else previous)
            new = [ops.where(seen(n), n, s) for n, s in zip(new, states)]
            shown = ops.where(seen(output), output, ops.zeros_like(output)) if self.zero_output_for_mask else held
            return new, held, shown

        if self.unroll:
            states, held, shown = flat, None, []
            for t in range(steps):
                states, held, out = advance(states, held, columns[0][t],
                                            None if mask is None else columns[1][t])
                shown.append(out)
            outputs = ops.stack(shown, axis=1)
            return outputs, shown[-1], nest.pack_sequence_as(structure, states)
        if mask is None:
            def step(*tensors):
                new, _, out = advance(list(tensors[:-1]), None, tensors[-1], None)
                return [new, [out]]
            last, (stacked,) = Scan(step, len(flat), "rnn")([*flat, *columns])
        else:
            first = self._output_like(inputs, initial_state, training)

            def step(*tensors):
                new, held, out = advance(list(tensors[:-3]), tensors[-3], tensors[-2], tensors[-1])
                return [[*new, held], [out]]
            last, (stacked,) = Scan(step, len(flat) + 1, "rnn")([*flat, first, *columns])
            last = last[:-1]
        outputs = ops.transpose(stacked, (1, 0, *range(2, len(stacked.shape))))
        return outputs, stacked[steps - 1], nest.pack_sequence_as(structure, list(last))

    def _output_like(self, inputs, initial_state, training):
        """Zeros in the shape of one step's output."""
        output, _ = call_cell(self.cell, inputs[0], initial_state, training)
        return ops.zeros_like(output)

    def compute_mask(self, _, mask=None):
        """Return the inputs' mask for sequences, None for the last output and for states."""
        mask = nest.flatten(mask)[0]
        output_mask = mask if self.return_sequences else None
        return [output_mask, *[None] * len(self.state_size)] if self.return_state else output_mask

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        """Return the shape of the output(s), and of the states with `return_state`."""
        batch, length = sequences_shape[0], sequences_shape[1]
        size = _output_size(self.cell)
        size = (size,) if isinstance(size, int) else tuple(size)
        output = (batch, length, *size) if self.return_sequences else (batch, *size)
        if not self.return_state:
            return output
        states = [tuple((batch, n) for n in size) if isinstance(size, (list, tuple)) else (batch, size)
                  for size in self.state_size]
        return (output, *states)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {**super().get_config(), "cell": serialization.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make the layer and its cell."""
        config = dict(config)
        if "cell" in config:
            config["cell"] = serialization.deserialize_keras_object(config["cell"], custom_objects=custom_objects)
        return super().from_config(config)


class _CellRNN(RNN):
    """Base of SimpleRNN, LSTM and GRU: the cell's arguments are theirs, and the whole loop is one kernel."""

    not_in_config = ("use_cudnn",)
    cell_class: type = SimpleRNNCell
    states_count = 1

    def __init__(self, arguments):
        """Take the `locals()` of the subclass's constructor."""
        kwargs = dict(arguments["kwargs"])
        kwargs.pop("implementation", None)   # Keras 2: how, not what, is computed
        known = inspect.signature(self.cell_class.__init__).parameters
        cell = self.cell_class(
            **{name: arguments[name] for name in known if name in arguments and name not in ("self", "kwargs")},
            dtype=kwargs.get("dtype"), trainable=kwargs.get("trainable", True))
        super().__init__(
            cell, activity_regularizer=arguments["activity_regularizer"],
            **{name: arguments[name] for name in ("return_sequences", "return_state", "go_backwards", "stateful",
                                                  "unroll")}, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def __getattr__(self, name):
        cell = self.__dict__.get("cell")
        if cell is not None and name in inspect.signature(self.cell_class.__init__).parameters:
            return getattr(cell, name)
        return object.__getattribute__(self, name)          # raises, with a property's own words

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the kernel; where it cannot (recurrent dropout, other activations) the cell."""
        cell = self.cell
        names = {"activation": _name(cell.activation)}
        if self.cell_class is not SimpleRNNCell:
            names["recurrent_activation"] = _name(cell.recurrent_activation)
        if training and cell.recurrent_dropout > 0 or None in names.values() or type(cell) is not self.cell_class:
            return super().inner_loop(sequences, initial_state, mask, training)
        if training and cell.dropout > 0:
            sequences = sequences * ops.expand_dims(cell.get_dropout_mask(sequences[:, 0]), 1)
            cell.reset_dropout_mask()
        outputs, *states = self._loop_kernel(
            sequences, *initial_state, cell.kernel, cell.recurrent_kernel, cell.bias, mask,
            reverse=self.go_backwards, **names)
        last = outputs[:, -1]
        if mask is not None and self.zero_output_for_mask:
            order = ops.reverse(mask, [1]) if self.go_backwards else mask
            outputs = outputs * ops.expand_dims(ops.cast(order, outputs.dtype), -1)
            last = outputs[:, -1]
        return outputs, last, states

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        config = super().get_config()
        del config["cell"]
        return {**config, "zero_output_for_mask": self.zero_output_for_mask}


def _name(function):
    """Return the name of an activation that the recurrent kernels know, else None."""
    known = registry.builtin_name(function)
    name = known[1] if known and known[0] == "keras.activations" else None
    return name if name in kernels.RECURRENT_ACTIVATIONS else None


class SimpleRNN(_CellRNN):
    """A fully connected recurrent layer: `h' = activation(x @ kernel + h @ recurrent_kernel + bias)`.

    Args:
        units ... recurrent_dropout, seed: as in SimpleRNNCell.
        return_sequences, return_state, go_backwards, stateful, unroll: as in RNN.
    """

    def __init__(self, units, activation="tanh", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0,
                 return_sequences=False, return_state=False, go_backwards=False, stateful=False, unroll=False,
                 seed=None, **kwargs):
        super().__init__(locals())

    _loop_kernel = staticmethod(kernels.simple_rnn)


class LSTM(_CellRNN):
    """A long short-term memory layer (Hochreiter and Schmidhuber, 1997).

    Args:
        units ... recurrent_dropout, seed: as in LSTMCell.
        return_sequences, return_state, go_backwards, stateful, unroll: as in RNN.
        use_cudnn: accepted; the layer always runs a kernel of its own.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.layers.LSTM(4)(tf.ones((2, 5, 3))).shape
        TensorShape([2, 4])
    """

    cell_class = LSTMCell

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0.0, recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, unroll=False, use_cudnn="auto", **kwargs):
        super().__init__(locals())

    _loop_kernel = staticmethod(kernels.lstm)


class GRU(_CellRNN):
    """A layer of gated recurrent units (Cho et al., 2014).

    Args:
        units ... recurrent_dropout, reset_after, seed: as in GRUCell.
        return_sequences, return_state, go_backwards, stateful, unroll: as in RNN.
        use_cudnn: accepted; the layer always runs a kernel of its own.
    """

    cell_class = GRUCell

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, unroll=False, reset_after=True, use_cudnn="auto", **kwargs):
        super().__init__(locals())

    def _loop_kernel(self, *inputs, **settings):
        return kernels.gru(*inputs, reset_after=self.cell.reset_after, **settings)
