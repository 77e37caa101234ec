# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.mixed_precision`."""


from fitloom.layers.dtype_policy import DTypePolicy as DTypePolicy
from fitloom.layers.dtype_policy import Policy as Policy
from fitloom.layers.dtype_policy import dtype_policy as dtype_policy
from fitloom.layers.dtype_policy import global_policy as global_policy
from fitloom.layers.dtype_policy import set_dtype_policy as set_dtype_policy
from fitloom.layers.dtype_policy import set_global_policy as set_global_policy


def __getattr__(name: str) -> object:
    if name == "LossScaleOptimizer":
        from fitloom.optimizers import LossScaleOptimizer

        return LossScaleOptimizer
    if name == "experimental":
        from fitloom.keras import keras2

        return keras2.older("mixed_precision", name)
    raise AttributeError(f"module 'fitloom.keras.mixed_precision' has no attribute {name!r}")
