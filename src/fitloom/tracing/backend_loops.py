# SPDX-License-Identifier: Apache-2.0
"""`K.rnn`, a function of the user's own over the steps of sequences; `K.print_tensor`."""
from fitloom import ops
from fitloom.base import nest
from fitloom.engine.recording import convert_to_tensor
from fitloom.tracing.callbacks import print_tensors
from fitloom.tracing.keras_style import scan


def print_tensor(x, message="", summarize=3):
    """Print a tensor when its value is there, after the message; return the tensor."""
    x = convert_to_tensor(x)
    print_tensors(message, x, summarize=summarize)
    return x


def rnn(step_function, inputs, initial_states, go_backwards=False, mask=None, constants=None, unroll=False,
        input_length=None, time_major=False, zero_output_for_mask=False, return_all_outputs=True):
    """Call `step_function(input, states)` for every step of sequences.

    Args:
        step_function: takes one step `(batch, ...)` of the inputs (of their structure) and the list of states, with the
            constants behind them; returns (output or structure of outputs, new states).
        inputs: `(batch, time, ...)`, or a structure of such; `(time, batch, ...)` with `time_major`.
        initial_states: list of tensors; may be empty.
        go_backwards: go from the last step to the first; outputs come in that order.
        mask: booleans `(batch, time)` (or with a last axis of 1). At a False step states stay, and the output is that
            of the step before (zeros at first, or always with `zero_output_for_mask`).
        constants: further tensors that every step sees.
        unroll, input_length: hints of Keras; the result is the same.
        return_all_outputs: whether the outputs of all steps are returned, or only the last one, as one step.

    Returns:
        (last output, outputs `(batch, time, ...)`, list of new states).

    Example:
        >>> import fitloom as tf
        >>> step = lambda x, states: (x + states[0], [x + states[0]])
        >>> last, every, states = tf.keras.backend.rnn(step, tf.ones((1, 3, 2)), [tf.zeros((1, 2))])
        >>> every.numpy()[0, :, 0]
        array([1., 2., 3.], dtype=float32)
    """
    inputs = nest.map_structure(convert_to_tensor, inputs)
    if any(len(x.shape) < 2 for x in nest.flatten(inputs)):
        raise ValueError("rnn expected inputs of shape (batch, time, ...), but received "
                         f"{[tuple(x.shape) for x in nest.flatten(inputs)]}.")
    swap = lambda x: ops.transpose(x, [1, 0, *range(2, len(x.shape))])
    steps = inputs if time_major else nest.map_structure(swap, inputs)
    states = [convert_to_tensor(state) for state in initial_states or ()]
    constants = list(constants or ())
    turn = (lambda x: ops.reverse(x, [0])) if go_backwards else lambda x: x
    steps = nest.map_structure(turn, steps)
    rows = {"x": steps}
    carry = {"states": states, "count": ops.constant(0)}
    if mask is not None:
        mask = ops.cast(mask, "bool")
        mask = ops.squeeze(mask, -1) if len(mask.shape) == 3 else mask
        rows["mask"] = turn(mask if time_major else swap(mask))
        first, _ = step_function(nest.map_structure(lambda x: x[0], steps), [*states, *constants])
        carry["output"] = nest.map_structure(ops.zeros_like, first)

    def choose(valid, new, old):
        valid = ops.reshape(valid, (*valid.shape, *(1,) * (len(new.shape) - 1)))
        return ops.where(valid, new, old)

    def step(carry, row):
        output, new = step_function(row["x"], [*carry["states"], *constants])
        new, kept = [convert_to_tensor(each) for each in new][:len(states)], carry.get("output")
        carry = {"states": new, "count": carry["count"] + 1} if kept is None else {
            "states": [choose(row["mask"], *pair) for pair in zip(new, carry["states"])], "count": carry["count"] + 1}
        if kept is not None:
            idle = nest.map_structure(ops.zeros_like, kept) if zero_output_for_mask else kept
            output = nest.map_structure(lambda a, b: choose(row["mask"], a, b), output, idle)
            carry["output"] = output
        return carry, output

    carry, outputs = scan(step, carry, rows)
    last = nest.map_structure(lambda x: x[-1], outputs)
    if not return_all_outputs:
        outputs = nest.map_structure(lambda x: x[-1:], outputs)
    return last, outputs if time_major else nest.map_structure(swap, outputs), list(carry["states"])
