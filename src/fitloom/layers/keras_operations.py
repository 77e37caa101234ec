# SPDX-License-Identifier: Apache-2.0
"""Single operations of graphs as Keras writes them: {"module": "keras.src.ops.numpy", "class_name": "NotEqual"}.

A file by Keras may hold them (a mask of an Embedding makes one), and ours are written so where Keras has a twin.
"""
import inspect

from fitloom import engine, ops
from fitloom.base import naming, serialization
from fitloom.base.errors import unknown_name
from fitloom.layers.graph import Operation, OpNode, is_symbolic
from fitloom.ops import neural_style, numpy_elementwise, numpy_positions, numpy_statistics, numpy_style

# Our operations that take the same arguments as a class of Keras, by Keras' module.
_TWINS = {
    "keras.src.ops.numpy": {
        "add": "Add", "subtract": "Subtract", "multiply": "Multiply", "divide": "TrueDivide", "equal": "Equal",
        "not_equal": "NotEqual", "greater": "Greater", "greater_equal": "GreaterEqual", "less": "Less",
        "less_equal": "LessEqual", "logical_and": "LogicalAnd", "logical_or": "LogicalOr", "logical_not": "LogicalNot",
        "abs": "Absolute", "negative": "Negative", "square": "Square", "sqrt": "Sqrt", "exp": "Exp", "log": "Log",
        "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "maximum": "Maximum", "minimum": "Minimum", "sign": "Sign",
        "floor": "Floor", "ceil": "Ceil"},
    "keras.src.ops.nn": {"relu": "Relu", "sigmoid": "Sigmoid", "softplus": "Softplus"},
}
_KERAS_NAME = {ours: (module, theirs) for module, names in _TWINS.items() for ours, theirs in names.items()}


def _einsum(*operands, subscripts):
    return numpy_statistics.einsum(subscripts, *operands)


def _cast(x, dtype):
    return ops.cast(x, dtype)


# Classes whose call differs from the function of the same name.
_SPECIAL = {"GetItem": lambda x, key: x[_index(key)], "Einsum": _einsum, "Cast": _cast}


def _index(key):
    """A list read from JSON was the tuple of an index."""
    return tuple(key) if isinstance(key, list) else key


def _table():
    """{class name of Keras: function}; built from the modules of array functions and nothing else."""
    table = {}
    for module in (neural_style, numpy_statistics, numpy_elementwise, numpy_positions, numpy_style):
        for name, function in vars(module).items():
            if inspect.isfunction(function) and not name.startswith("_") and \
                    function.__module__.startswith("fitloom.ops"):
                table["".join(part.capitalize() for part in name.split("_"))] = function
    table.update(_SPECIAL)
    return table


_functions: dict = {}


def _function(class_name):
    """Return the function that a class of Keras stands for.

    Raises:
        ValueError: there is none.
    """
    if not _functions:
        _functions.update(_table())
    if class_name not in _functions:
        raise unknown_name("operation", class_name, _functions)
    return _functions[class_name]


def is_operation(class_name) -> bool:
    """Whether Keras has an operation of this name that `KerasOperation` can stand for."""
    try:
        return _function(class_name) is not None
    except ValueError:
        return False


class KerasOperation(Operation):
    """A single operation of Keras' table as a step of a graph.

    Args:
        module: Keras' module, such as 'keras.src.ops.numpy'.
        class_name: Keras' class, such as 'NotEqual'.
        config: its constructor's arguments.
    """

    built = trainable = True
    trainable_weights = non_trainable_weights = weights = variables = losses = metrics = ()

    def __init__(self, module, class_name, config):
        _function(class_name)
        config = dict(config)
        name = config.pop("name", None)
        super().__init__(name or naming.unique_name(naming.to_snake_case(class_name)))
        self.module, self.summary_name, self.arguments = module, class_name, config

    def __call__(self, *args, **kwargs):
        if not is_symbolic((args, kwargs)):
            return self._apply(*args, **kwargs)
        outputs = self.compute_output_spec(*args, **kwargs)
        self._add_node(args, kwargs, outputs)
        return outputs

    call = __call__

    def _apply(self, *args, **kwargs):
        given = {name: value for name, value in self.arguments.items() if not (name == "sparse" and not value)}
        return _function(self.summary_name)(*args, **given, **kwargs)

    def compute_output_spec(self, *args, **kwargs):
        """Return the KerasTensor(s) that the operation gives for these inputs."""
        return engine.abstract_call(self._apply, args, kwargs)

    def get_config(self):
        """Return Keras' constructor arguments."""
        return {"name": self.name, **self.arguments}


def _describe(x):
    if isinstance(x, KerasOperation):
        module, name = x.module, x.summary_name
    elif isinstance(x, OpNode) and not x.attributes and x.op.name in _KERAS_NAME:
        module, name = _KERAS_NAME[x.op.name]
    else:
        return None
    config = x.get_config() if isinstance(x, KerasOperation) else {"name": x.name}
    return {"module": module, "class_name": name, "config": serialization.serialize_keras_object(config),
            "registered_name": name}


serialization.describers.append(_describe)


def from_keras(config):
    """Return the operation that a layer's configuration describes, or None if it describes something else."""
    module = config.get("module")
    if not isinstance(module, str) or not module.startswith(("keras.src.ops.", "keras.ops")) or \
            config["class_name"] == "OpNode":
        return None
    return KerasOperation(module, config["class_name"], serialization.deserialize_keras_object(config["config"]))
