# SPDX-License-Identifier: Apache-2.0
"""`tf.experimental`: the dtypes of 4 and 8 bits, values that may be missing, types of your own. Names only."""

from fitloom.base.dtypes import (
    float8_e4m3fn as float8_e4m3fn,
    float8_e5m2 as float8_e5m2,
    int4 as int4,
    uint4 as uint4,
)
from fitloom.data.iterators import Optional as Optional
from fitloom.experimental import numpy as numpy
from fitloom.ops.dispatching import (
    dispatch_for_api as dispatch_for_api,
    dispatch_for_binary_elementwise_apis as dispatch_for_binary_elementwise_apis,
    dispatch_for_binary_elementwise_assert_apis as dispatch_for_binary_elementwise_assert_apis,
    dispatch_for_unary_elementwise_apis as dispatch_for_unary_elementwise_apis,
    unregister_dispatch_for as unregister_dispatch_for,
)
from fitloom.ops.extension_types import (
    BatchableExtensionType as BatchableExtensionType,
    ExtensionType as ExtensionType,
    ExtensionTypeSpec as ExtensionTypeSpec,
)
