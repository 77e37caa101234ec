# SPDX-License-Identifier: Apache-2.0
"""`tf.experimental`: the dtypes of 4 and 8 bits, values that may be missing. Names only."""

from fitloom.base.dtypes import (
    float8_e4m3fn as float8_e4m3fn,
    float8_e5m2 as float8_e5m2,
    int4 as int4,
    uint4 as uint4,
)
from fitloom.data.iterators import Optional as Optional
from fitloom.experimental import numpy as numpy
