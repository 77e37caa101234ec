# SPDX-License-Identifier: Apache-2.0
"""`tf.function`, control flow on tensors, and calls back into Python."""
from fitloom.tracing.callbacks import (
    numpy_function as numpy_function,
    print_tensors as print,
    py_function as py_function,
)
from fitloom.tracing.control_flow import (
    case as case,
    cond as cond,
    switch_case as switch_case,
    while_loop as while_loop,
)
from fitloom.tracing.function import ConcreteFunction as ConcreteFunction, Function as Function, function as function
from fitloom.tracing.mapping import (
    foldl as foldl,
    foldr as foldr,
    map_fn as map_fn,
    scan as scan,
    vectorized_map as vectorized_map,
)
from fitloom.tracing.tensor_array import TensorArray as TensorArray


def no_op(name=None):
    """Do nothing."""


def group(*inputs, name=None):
    """Do nothing: operations run in program order."""


def control_dependencies(control_inputs):
    """Return an empty context: operations run in program order."""
    import contextlib
    return contextlib.nullcontext()


def inside_function() -> bool:
    """Whether this code is being traced."""
    from fitloom.engine import executing_eagerly
    return not executing_eagerly()
