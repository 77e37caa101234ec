# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.dtype_policies`."""
from fitloom.layers.dtype_policy import AWQDTypePolicy as AWQDTypePolicy
from fitloom.layers.dtype_policy import DTypePolicy as DTypePolicy
from fitloom.layers.dtype_policy import DTypePolicyMap as DTypePolicyMap
from fitloom.layers.dtype_policy import FloatDTypePolicy as FloatDTypePolicy
from fitloom.layers.dtype_policy import QuantizedDTypePolicy as QuantizedDTypePolicy
from fitloom.layers.dtype_policy import QuantizedFloat8DTypePolicy as QuantizedFloat8DTypePolicy
from fitloom.layers.dtype_policy import deserialize as deserialize
from fitloom.layers.dtype_policy import get as get
from fitloom.layers.dtype_policy import serialize as serialize
