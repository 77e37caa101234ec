# SPDX-License-Identifier: Apache-2.0
"""Code that assigns variables, run on given values instead: the `stateless_*` methods of Keras."""
from fitloom.engine.context import CONTEXT
from fitloom.engine.functional import draw_seed
from fitloom.engine.inline import InlineTrace
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.tensor import Tensor


def with_values(body, variables, values):
    """Return (body's result, the variables' new values as tensors); the variables themselves stay as they are.

    Args:
        body: a function without arguments that reads and assigns variables.
        values: tensors or arrays (tracers of jax.jit too), one for each of `variables`.
    """
    arrays = [v.array if isinstance(v, Tensor) or getattr(type(v), "is_variable", False)
              else convert_to_tensor(v).array for v in values]
    trace = InlineTrace(dict(zip(variables, arrays)), parent=CONTEXT.trace if CONTEXT.trace.inline else None)
    with trace:
        result = body()
        if getattr(type(result), "is_variable", False):
            result = result.value_tensor()
        new = [Tensor(trace.lookup(v)) for v in variables]
        trace.close()
    return result, new


class StatelessScope:
    """A context in which variables have given values, and assignments change those instead of the variables.

    Args:
        state_mapping: pairs (variable, value); other variables begin with the values they have.
        collect_losses: must be False: `stateless_call(..., return_losses=True)` returns losses.
        initialize_variables: accepted for Keras's sake; new variables get their values at once.

    Raises:
        ValueError: a key that is no variable, or a value of another shape.

    Example:
        >>> import fitloom as tf
        >>> count = tf.keras.Variable(1.0)
        >>> with tf.keras.StatelessScope([(count, 5.0)]) as scope:
        ...     _ = count.assign(count + 1.0)
        >>> float(scope.get_current_value(count)), float(count)
        (6.0, 1.0)
    """

    def __init__(self, state_mapping=None, collect_losses=False, initialize_variables=True):
        if collect_losses:
            raise NotImplementedError("StatelessScope(collect_losses=True) is not implemented: use "
                                      "layer.stateless_call(..., return_losses=True).")
        self._bindings = {}
        for variable, value in state_mapping or ():
            if not getattr(type(variable), "is_variable", False):
                raise ValueError("StatelessScope: all keys in argument `mapping` must be Variable instances. Received "
                                 f"instead: {variable!r}")
            array = value.array if isinstance(value, Tensor) or getattr(type(value), "is_variable", False) \
                else convert_to_tensor(value, dtype=variable.dtype).array
            if tuple(array.shape) != tuple(variable.shape):
                raise ValueError("StatelessScope: all values in argument `mapping` must be tensors with a shape that "
                                 f"matches the variable's. For {variable.name} of shape {tuple(variable.shape)}, "
                                 f"received shape {tuple(array.shape)}.")
            self._bindings[variable] = array.astype(variable.aval.dtype)
        self._trace = None

    def __enter__(self):
        parent = CONTEXT.trace if CONTEXT.trace.inline else None
        self._trace = InlineTrace(self._bindings, seed=draw_seed().array, parent=parent)
        self._trace.__enter__()
        return self

    def __exit__(self, *_):
        self._trace.close()
        self._trace.__exit__()

    def add_update(self, update):
        """Give a variable a new value here: `update` is (variable, value)."""
        variable, value = update
        self._trace.assign(variable, convert_to_tensor(value, dtype=variable.dtype).array)

    def get_current_value(self, variable):
        """Return the value that `variable` has here, also after the context; None if nothing gave it one."""
        trace = self._trace
        if trace is None:
            array = self._bindings.get(variable)
        else:
            array = trace.lookup(variable) if variable in trace.bindings or variable in trace.pending_writes else None
        return None if array is None else Tensor(array)
