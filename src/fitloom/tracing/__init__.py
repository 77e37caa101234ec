# SPDX-License-Identifier: Apache-2.0
"""`tf.function`, control flow on tensors, and calls back into Python."""
from fitloom.tracing.callbacks import (
    numpy_function as numpy_function,
    print_tensors as print_tensors,
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
