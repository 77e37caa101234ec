# SPDX-License-Identifier: Apache-2.0
"""`keras.backend`: settings, and the functions of `K.*` that older scripts call. Names only."""

from fitloom.base.config import (
    backend as backend,
    epsilon as epsilon,
    floatx as floatx,
    image_data_format as image_data_format,
    set_epsilon as set_epsilon,
    set_floatx as set_floatx,
    set_image_data_format as set_image_data_format,
    standardize_dtype as standardize_dtype,
)
from fitloom.base.dtypes import is_floating as is_float_dtype, is_integer as is_int_dtype
from fitloom.base.naming import get_uid as get_uid, name_scope as name_scope, reset as reset_uids
from fitloom.autodiff import gradients as gradients
from fitloom.engine import clear_session as clear_session, is_keras_tensor as is_keras_tensor
from fitloom.ops import (
    abs as abs,
    cast as cast,
    cos as cos,
    elu as elu,
    equal as equal,
    exp as exp,
    greater as greater,
    greater_equal as greater_equal,
    hard_sigmoid as hard_sigmoid,
    less as less,
    less_equal as less_equal,
    log as log,
    maximum as maximum,
    minimum as minimum,
    not_equal as not_equal,
    pow as pow,
    reshape as reshape,
    round as round,
    shape as shape,
    sigmoid as sigmoid,
    sign as sign,
    sin as sin,
    softmax as softmax,
    softplus as softplus,
    softsign as softsign,
    sqrt as sqrt,
    square as square,
    stack as stack,
    stop_gradient as stop_gradient,
    tanh as tanh,
    tile as tile,
    transpose as transpose,
)
from fitloom.ops.backend_pictures import (
    batch_normalization as batch_normalization,
    conv1d as conv1d,
    conv2d as conv2d,
    conv2d_transpose as conv2d_transpose,
    conv3d as conv3d,
    depthwise_conv2d as depthwise_conv2d,
    pool2d as pool2d,
    pool3d as pool3d,
    resize_images as resize_images,
    resize_volumes as resize_volumes,
    separable_conv2d as separable_conv2d,
    spatial_3d_padding as spatial_3d_padding,
)
from fitloom.ops.backend_style import (
    all as all,
    any as any,
    arange as arange,
    argmax as argmax,
    argmin as argmin,
    batch_dot as batch_dot,
    batch_flatten as batch_flatten,
    batch_get_value as batch_get_value,
    batch_set_value as batch_set_value,
    bias_add as bias_add,
    binary_crossentropy as binary_crossentropy,
    cast_to_floatx as cast_to_floatx,
    categorical_crossentropy as categorical_crossentropy,
    clip as clip,
    concatenate as concatenate,
    constant as constant,
    count_params as count_params,
    ctc_batch_cost as ctc_batch_cost,
    ctc_decode as ctc_decode,
    cumprod as cumprod,
    cumsum as cumsum,
    dot as dot,
    dropout as dropout,
    dtype as dtype,
    eval as eval,
    expand_dims as expand_dims,
    eye as eye,
    flatten as flatten,
    gather as gather,
    get_value as get_value,
    in_test_phase as in_test_phase,
    in_train_phase as in_train_phase,
    in_top_k as in_top_k,
    int_shape as int_shape,
    is_sparse as is_sparse,
    l2_normalize as l2_normalize,
    learning_phase as learning_phase,
    logsumexp as logsumexp,
    max as max,
    mean as mean,
    min as min,
    moving_average_update as moving_average_update,
    ndim as ndim,
    one_hot as one_hot,
    ones as ones,
    ones_like as ones_like,
    permute_dimensions as permute_dimensions,
    prod as prod,
    random_bernoulli as random_bernoulli,
    random_normal as random_normal,
    random_normal_variable as random_normal_variable,
    random_uniform as random_uniform,
    random_uniform_variable as random_uniform_variable,
    relu as relu,
    repeat as repeat,
    repeat_elements as repeat_elements,
    reverse as reverse,
    set_learning_phase as set_learning_phase,
    set_value as set_value,
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
    spatial_2d_padding as spatial_2d_padding,
    squeeze as squeeze,
    std as std,
    sum as sum,
    switch as switch,
    temporal_padding as temporal_padding,
    to_dense as to_dense,
    truncated_normal as truncated_normal,
    update as update,
    update_add as update_add,
    update_sub as update_sub,
    var as var,
    variable as variable,
    zeros as zeros,
    zeros_like as zeros_like,
)
from fitloom.ops.casting import result_type as result_type
from fitloom.tracing import foldl as foldl, foldr as foldr, map_fn as map_fn
from fitloom.tracing.backend_loops import print_tensor as print_tensor, rnn as rnn


def __getattr__(name: str) -> object:
    if name == "function":                  # needs the models, which the rest does not
        from fitloom.models.backend_function import function

        return function
    if name == "placeholder":
        return _placeholder
    raise AttributeError(f"module 'fitloom.keras.backend' has no attribute {name!r}")


def _placeholder(shape=None, ndim=None, dtype=None, sparse=False, name=None, ragged=False) -> object:
    """Return an Input of this shape, batch axis included (TensorFlow 1's placeholder)."""
    from fitloom.layers import Input

    if shape is None and ndim is None:
        raise ValueError("placeholder(shape=...) needs a shape, or a number of axes `ndim`.")
    return Input(batch_shape=shape or (None,) * (ndim or 0), dtype=dtype, sparse=sparse, ragged=ragged, name=name)
