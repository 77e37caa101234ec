# SPDX-License-Identifier: Apache-2.0
"""Code that assigns variables, run on given values instead: the `stateless_*` methods of Keras."""
from fitloom.engine.context import CONTEXT
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
