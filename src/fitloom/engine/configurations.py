# SPDX-License-Identifier: Apache-2.0
"""Tensors, variables' values and symbolic tensors in configurations, in Keras' form."""
from fitloom.base import dtypes, serialization
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.symbolic import KerasTensor
from fitloom.engine.tensor import Tensor
from fitloom.engine.variable import Variable


def _describe(x):
    if isinstance(x, KerasTensor):
        history = x._keras_history
        if history is not None:
            history = [history.operation.name, history.node_index, history.tensor_index]
        return {"class_name": "__keras_tensor__",
                "config": {"shape": x.shape, "dtype": x.dtype, "keras_history": history}}
    if isinstance(x, (Tensor, Variable)):
        array = x.numpy()
        return {"class_name": "__tensor__", "config": {"value": array.tolist(), "dtype": dtypes.name_of(array.dtype)}}
    return None


def _make_symbol(config):
    tensor = KerasTensor(config["shape"], dtype=config["dtype"])
    tensor._history_from_config = config["keras_history"]
    return tensor


serialization.describers.append(_describe)
serialization.makers["__keras_tensor__"] = _make_symbol
serialization.makers["__tensor__"] = lambda config: convert_to_tensor(config["value"], dtype=config["dtype"])
