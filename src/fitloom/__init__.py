# SPDX-License-Identifier: Apache-2.0
"""Fitloom: `import fitloom as tf`, and the training script runs unchanged, on JAX.

The door. Nothing here but names: every root name is loaded from its room on first touch (PEP 562), so that
`import fitloom` stays light and starts no XLA backend. To add a name: put it in the row of its room below (names
sorted), and in the block under TYPE_CHECKING if type checkers should see it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "2.21.0"  # of the interface, because scripts ask for it; the package's own: pip show fitloom

# Namespaces: modules or rooms under fitloom/ with the name users know.
_NAMESPACES = """
    audio autodiff autograph bitwise compat config data debugging distribute dtypes errors experimental image
    initializers io keras linalg lookup losses math metrics nest nn ops optimizers profiler quantization
    queue ragged random saved_model sets signal sparse strings summary sysconfig test tpu train version
""".split()

# Root names, by the module they come from.
_ROOMS = {
    "fitloom.base.aliases": "install_as_tensorflow",
    "fitloom.base.dtypes": """
        DType as_dtype bfloat16 complex128 complex64 double float16 float32 float64 half int16 int32 int64 int8
        resource string uint16 uint32 uint64 uint8 variant
    """,
    "fitloom.base.naming": "get_current_name_scope name_scope",
    "fitloom.base.shapes": "TensorShape",
    "fitloom.engine": """
        Module Tensor TensorSpec TypeSpec Variable VariableAggregation VariableSynchronization
        convert_to_tensor device executing_eagerly init_scope is_symbolic_tensor is_tensor
        type_spec_from_value
    """,
    "fitloom.autodiff": """
        GradientTape UnconnectedGradients custom_gradient grad_pass_through gradients hessians no_gradient
        recompute_grad stop_gradient
    """,
    "fitloom.tracing": """
        TensorArray case cond control_dependencies foldl foldr function group inside_function map_fn
        no_op numpy_function print py_function scan switch_case vectorized_map while_loop
    """,
    "fitloom.initializers.legacy": """
        constant_initializer ones_initializer random_normal_initializer random_uniform_initializer zeros_initializer
    """,
    "fitloom.ops": """
        Assert IndexedSlices RaggedTensor RaggedTensorSpec SparseTensor SparseTensorSpec abs acos acosh add add_n argmax
        argmin argsort as_string asin asinh assert_equal assert_greater assert_less assert_rank atan atan2 atanh
        batch_to_space bitcast boolean_mask broadcast_dynamic_shape broadcast_static_shape broadcast_to cast
        clip_by_global_norm clip_by_norm clip_by_value complex concat constant cos cosh cumsum divide dynamic_partition
        dynamic_stitch edit_distance eig eigvals einsum ensure_shape equal exp expand_dims eye fill floor gather
        gather_nd get_logger get_static_value greater greater_equal histogram_fixed_width histogram_fixed_width_bins
        identity identity_n less less_equal linspace logical_and logical_not logical_or make_ndarray
        make_tensor_proto matmul matrix_square_root maximum meshgrid minimum multiply negative norm not_equal one_hot
        ones ones_like pad parallel_stack pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max
        reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse
        reverse_sequence roll round saturate_cast scalar_mul scatter_nd searchsorted sequence_mask shape shape_n
        sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd split sqrt square squeeze stack
        strided_slice subtract tan tanh tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min
        tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile transpose truediv truncatediv
        truncatemod unique unique_with_counts unravel_index unstack where zeros zeros_like
    """,
}

_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}
_HOMES |= {"bool": "fitloom.base.dtypes:bool_", "tuple": "fitloom.ops:identity_n"}  # module:name where the names differ
_VALUES = {"newaxis": None}

# Names of TensorFlow that are not here, and what to use instead.
_ABSENT = dict.fromkeys(
    "Graph Session placeholder Operation import_graph_def get_default_graph global_variables_initializer "
    "RegisterGradient graph_util CriticalSection".split(),
    "it belongs to TensorFlow 1 graphs. Tensors have values here, and tf.function compiles.") | {
    "app": "it left TensorFlow with version 2. Use absl.app.",
    "contrib": "it left TensorFlow with version 2.",
    "estimator": "estimators left TensorFlow with version 2.16. Use tf.keras.Model and fit.",
    "feature_column": "it is deprecated. Use Keras' preprocessing layers: Normalization, Discretization, StringLookup, "
                      "CategoryEncoding, Embedding, HashedCrossing.",
    "flags": "it left TensorFlow with version 2. Use absl.flags.",
    "layers": "it left TensorFlow with version 2. Use tf.keras.layers.",
    "lite": "there is no TensorFlow Lite converter. Export the model with model.export(path), or save it as .keras and "
            "convert it with TensorFlow.",
    "mlir": "programs are StableHLO. Use model.export(path), or tf.function(...).get_concrete_function(...).",
    "raw_ops": "use the operation's public name: tf.*, tf.math.*, tf.nn.*, tf.linalg.*.",
    "xla": "everything is compiled by XLA here.",
}

__all__ = sorted([*_HOMES, *_VALUES, *_NAMESPACES])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        room, _, attribute = _HOMES[name].partition(":")
        if room == "fitloom.engine":
            importlib.import_module("fitloom.ops")           # gives tensors and variables their operators
        value = getattr(importlib.import_module(room), attribute or name)
    elif name in _VALUES:
        value = _VALUES[name]
    elif name in _NAMESPACES:
        try:
            value = importlib.import_module(f"fitloom.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"fitloom.{name}":
                raise
            raise AttributeError(f"module 'fitloom' has no attribute {name!r}.") from None
    elif name in _ABSENT:
        raise AttributeError(f"tf.{name} is not part of Fitloom: {_ABSENT[name]}")
    else:
        import difflib

        near = difflib.get_close_matches(name, __all__, n=2)
        hint = f" Did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
        raise AttributeError(f"module 'fitloom' has no attribute {name!r}.{hint}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from fitloom import keras as keras
    from fitloom.autodiff import *  # noqa: F403
    from fitloom.base.dtypes import *  # noqa: F403
    from fitloom.base.naming import name_scope as name_scope
    from fitloom.base.shapes import TensorShape as TensorShape
    from fitloom.engine import *  # noqa: F403
    from fitloom.ops import *  # noqa: F403
    from fitloom.tracing import *  # noqa: F403

    newaxis = None
