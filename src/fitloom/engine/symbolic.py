# SPDX-License-Identifier: Apache-2.0
"""`KerasTensor`: a tensor of the functional API, known by shape and dtype only.

The room `layers` installs the hook that turns an operation on one into a node of the graph.
"""
import functools
import inspect

from fitloom.base import dtypes, naming, nest
from fitloom.base.shapes import TensorShape


class KnownShape(tuple):
    """A tuple of sizes, None for unknown ones, that also answers as the shapes of Keras 2 did."""

    __slots__ = ()
    rank = ndims = property(len)

    def as_list(self):
        """Return the sizes as a list."""
        return list(self)


class KerasTensor:
    """A symbolic tensor: what `tf.keras.Input` and a layer called on one return.

    Args:
        shape: tuple with None for unknown dimensions.
        dtype: its dtype.
        name: unique name; made up if None.
    """

    __array_priority__ = 200

    def __init__(self, shape, dtype="float32", sparse=False, ragged=False, record_history=True, name=None):
        self._shape = None if shape is None else KnownShape(TensorShape(shape))
        self._dtype = dtypes.name_of(dtype)
        self.sparse, self.ragged = bool(sparse), bool(ragged)
        self.name = name or naming.unique_name("keras_tensor")
        self.record_history = record_history
        self._keras_history = None
        self._keras_mask = None

    shape = property(lambda self: self._shape)
    dtype = property(lambda self: self._dtype)
    ndim = property(lambda self: len(self._shape))

    def __repr__(self):
        return (f"<KerasTensor shape={self._shape}, dtype={self._dtype}, sparse={self.sparse}, "
                f"ragged={self.ragged}, name={self.name}>")

    def get_shape(self):
        """Return the shape."""
        return self._shape

    def __array__(self, *_, **__):
        raise ValueError("A KerasTensor has no value: it is a symbolic placeholder of the functional API. "
                         "Use layers or tf/keras.ops functions on it; NumPy functions cannot take it.")

    def __jax_array__(self):
        self.__array__()

    def __bool__(self):
        raise TypeError("A KerasTensor cannot be used as a Python bool: its value is not known while the model "
                        "is built. Use tf.where or tf.cond.")

    def __float__(self):
        raise TypeError("A KerasTensor cannot be converted to a Python float: it has no value yet.")

    def __int__(self):
        raise TypeError("A KerasTensor cannot be converted to a Python int: it has no value yet.")

    def __iter__(self):
        raise TypeError("Iterating over a KerasTensor is not possible; use tf.unstack or indexing.")

    __hash__ = object.__hash__


SYMBOLIC = KerasTensor


def call_hook(operation, inputs, attributes):
    """Make a graph node for an operation called with a KerasTensor."""
    if _Hook.call is None:
        raise RuntimeError("Operations on KerasTensors need fitloom.layers to be imported.")
    return _Hook.call(operation, inputs, attributes)


class _Hook:
    call = None


def install_hook(call):
    """Install `call(operation, inputs, attributes) -> KerasTensor(s)`."""
    _Hook.call = staticmethod(call)


TABLE: dict = {}   # key -> operation: what the configuration of a graph may name


def enter(operation):
    """Give an operation its key, a name that is the same in every process: 'add', 'ops.shaping.stack'."""
    module = getattr(operation.fn, "__module__", None) or ""
    key = operation.name if not module.startswith("fitloom.") else f"{module[len('fitloom.'):]}.{operation.name}"
    count = 1
    while key in TABLE:
        count += 1
        key = f"{key.partition('#')[0]}#{count}"
    operation.key = key
    TABLE[key] = operation


def composed(function):
    """Decorate a function made of several operations and Python code that needs shapes or values.

    With a KerasTensor among its arguments the whole call becomes one step of the graph; it runs, as written, when the
    model does, and its shapes come from an abstract evaluation of the whole.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def step(*args, **kwargs):
        if any(isinstance(x, KerasTensor) for x in nest.flatten((args, kwargs))):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return call_hook(step, bound.args, bound.kwargs)
        return function(*args, **kwargs)
    step.name, step.fn = function.__name__, function
    enter(step)
    return step


def is_keras_tensor(x) -> bool:
    """Whether `x` is a symbolic tensor of the functional API."""
    return isinstance(x, KerasTensor)


def operation_of(key):
    """Return the operation with this key (what unpickling asks for)."""
    return TABLE[key]
