# SPDX-License-Identifier: Apache-2.0
"""`keras.ops`: operations with NumPy's names and Keras's dtype rules. Names only."""

from fitloom.autodiff import (
    custom_gradient as custom_gradient,
)
from fitloom.ops import (
    stop_gradient as stop_gradient,
)
from fitloom.ops.numpy_elementwise import (
    erf as erf,
    erfc as erfc,
    erfinv as erfinv,
    rsqrt as rsqrt,
    view_as_complex as view_as_complex,
    view_as_real as view_as_real,
)
from fitloom.ops.numpy_positions import (
    rearrange as rearrange,
    scatter as scatter,
    scatter_update as scatter_update,
    slice as slice,
    slice_update as slice_update,
)
from fitloom.ops.numpy_statistics import (
    cdist as cdist,
    extract_sequences as extract_sequences,
    fft as fft,
    fft2 as fft2,
    ifft2 as ifft2,
    in_top_k as in_top_k,
    irfft as irfft,
    istft as istft,
    logdet as logdet,
    logsumexp as logsumexp,
    rfft as rfft,
    segment_max as segment_max,
    segment_min as segment_min,
    segment_prod as segment_prod,
    segment_sum as segment_sum,
    stft as stft,
    top_k as top_k,
)
from fitloom.ops.numpy_style import (
    cast as cast,
    convert_to_numpy as convert_to_numpy,
    convert_to_tensor as convert_to_tensor,
    dtype as dtype,
    is_tensor as is_tensor,
    saturate_cast as saturate_cast,
    shape as shape,
    unstack as unstack,
)
from fitloom.tracing.keras_style import (
    associative_scan as associative_scan,
    cond as cond,
    fori_loop as fori_loop,
    map as map,
    scan as scan,
    switch as switch,
    vectorized_map as vectorized_map,
    while_loop as while_loop,
)
from fitloom.keras.ops.linalg import *
from fitloom.keras.ops.nn import *
from fitloom.keras.ops.numpy import *
from fitloom.keras.ops import image as image, linalg as linalg, nn as nn, numpy as numpy
