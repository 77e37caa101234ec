# SPDX-License-Identifier: Apache-2.0
"""What a value is, and how recorded work becomes one XLA program."""
from fitloom.engine import allocator as _allocator

_allocator.keep_memory()                   # before jax starts its threads

import jax as _jax  # noqa: E402

# tf.int64 and tf.float64 are real types for our users; every formulation names its dtypes (docs/design/002).
_jax.config.update("jax_enable_x64", True)

from fitloom.engine import compilation_cache as _compilation_cache, compiler_flags as _compiler_flags  # noqa: E402

_compiler_flags.avoid_faults()
_compilation_cache.keep_programs()

from fitloom.engine.abstract import (  # noqa: E402
    abstract_call as abstract_call,
    abstract_op as abstract_op,
    autocast_scope as autocast_scope,
    call_with_values as call_with_values,
    current_autocast as current_autocast,
    known_shape as known_shape,
)
from fitloom.engine import configurations as _configurations  # noqa: E402
from fitloom.engine.allocation import allocation_limit as allocation_limit  # noqa: E402
from fitloom.engine.context import (  # noqa: E402
    eager_scope as eager_scope,
    executing_eagerly as executing_eagerly,
    functions_run_eagerly as functions_run_eagerly,
    run_functions_eagerly as run_functions_eagerly,
)
from fitloom.engine.devices import device as device  # noqa: E402
from fitloom.engine.functional import (  # noqa: E402
    Functional as Functional,
    StepProgram as StepProgram,
    draw_keras_seed as draw_keras_seed,
    draw_operation_seed as draw_operation_seed,
    draw_seed as draw_seed,
    functional as functional,
    begin_steps as begin_steps,
    next_element as next_element,
    optimizer_applied as optimizer_applied,
    outside as outside,
    outside as init_scope,
    unwrap as unwrap,
    wrap as wrap,
)
from fitloom.engine.host_values import set_host_values as set_host_values  # noqa: E402
from fitloom.engine.instruction import STATISTICS as STATISTICS, Op as Op  # noqa: E402
from fitloom.engine.module import (  # noqa: E402
    Module as Module,
    VariableAggregation as VariableAggregation,
    VariableSynchronization as VariableSynchronization,
)
from fitloom.engine.placement import Placement as Placement  # noqa: E402
from fitloom.engine.interpreter import Uncompiled as Uncompiled  # noqa: E402
from fitloom.engine.procedure import MISSED as MISSED, Block as Block, Procedure as Procedure  # noqa: E402
from fitloom.engine.recording import (  # noqa: E402
    Operation as Operation,
    convert_to_tensor as convert_to_tensor,
    host_array as host_array,
    is_tensor as is_tensor,
    op as op,
    record as record,
)
from fitloom.engine.seeds import (  # noqa: E402
    default_seed as default_seed,
    get_seed as get_seed,
    host_generator as host_generator,
    in_seed_scope as in_seed_scope,
    next_host_seed as next_host_seed,
    next_operation_seed as next_operation_seed,
    restore_stream as restore_stream,
    seed_scope as seed_scope,
    set_random_seed as set_random_seed,
    set_seed as set_seed,
    stream_state as stream_state,
)
from fitloom.engine.specs import (  # noqa: E402
    TensorSpec as TensorSpec,
    TypeSpec as TypeSpec,
    type_spec_from_value as type_spec_from_value,
)
from fitloom.engine.store import pack as pack, to_device as to_device, zero as zero  # noqa: E402
from fitloom.engine.symbolic import (  # noqa: E402
    KerasTensor as KerasTensor,
    composed as composed,
    install_hook as install_hook,
    is_keras_tensor as is_keras_tensor,
)
from fitloom.engine.tensor import Tensor as Tensor  # noqa: E402
from fitloom.engine.trace import forget_programs as forget_programs, varies as varies  # noqa: E402
from fitloom.engine.variable import KerasVariable as KerasVariable, Variable as Variable  # noqa: E402


def get_mask(tensor):
    """Return the Keras mask attached to a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor, mask):
    """Attach a Keras mask to a tensor."""
    tensor._keras_mask = mask


def is_symbolic_tensor(tensor):
    """Whether a tensor has no value yet: inside a traced function, or a KerasTensor."""
    return isinstance(tensor, KerasTensor) or (isinstance(tensor, Tensor) and tensor.is_symbolic)


def clear_session(free_memory=True):
    """Forget automatic names and every compiled program; `free_memory` also runs the garbage collector."""
    import gc

    from fitloom.base import naming
    naming.reset()
    forget_programs()
    if free_memory:
        gc.collect()
