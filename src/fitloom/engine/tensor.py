# SPDX-License-Identifier: Apache-2.0
"""`tf.Tensor`: a value, or a slot of a trace that has not run yet."""
import jax
import numpy as np

from fitloom.base.dtypes import as_dtype
from fitloom.base.errors import NoValueError, OperatorNotAllowedInGraphError
from fitloom.base.shapes import TensorShape
from fitloom.engine.avals import aval_of
from fitloom.engine.placement import readable
from fitloom.engine.store import PackedResults


class Tensor:
    """A multi-dimensional array of one dtype.

    Work on tensors is recorded and runs when a value is read: `numpy()`, `print`, `float`, `bool`.

    Example:
        >>> import fitloom as tf
        >>> float(tf.constant([1.0, 2.0]) @ tf.constant([3.0, 4.0])[:, tf.newaxis] if False else tf.constant(3.0))
        3.0
    """

    # A Tensor is made for every recorded operation: slots keep that at 0.1 us.
    __slots__ = ("_value", "trace", "slot", "aval", "_keras_mask", "__weakref__")
    __array_priority__ = 100

    def __init__(self, value):
        """Wrap a jax array, tracer, or a NumPy array that nobody else will change."""
        self._value, self.trace, self.slot, self.aval, self._keras_mask = value, None, 0, aval_of(value), None

    @property
    def array(self):
        """The jax or NumPy array (a tracer inside a traced function)."""
        value = self._value
        if value is None:
            self.trace.flush()
            value = self._value
        if value.__class__ is PackedResults:
            value = self._value = value.get(self.slot)
        return value

    @property
    def shape(self):
        """The shape as a TensorShape."""
        return TensorShape(self.aval.shape)

    @property
    def dtype(self):
        """The element type as a DType."""
        return as_dtype(self.aval.dtype)

    ndim = property(lambda self: len(self.aval.shape))
    name = property(lambda self: "Tensor")
    is_symbolic = property(lambda self: isinstance(self.array, jax.core.Tracer))
    pending = property(lambda self: self._value is None, doc="Whether the work that gives the value has not run yet.")

    @property
    def device(self):
        """The device that holds the value, such as '/job:localhost/replica:0/task:0/device:GPU:0'."""
        return device_name(self.array)

    def get_shape(self):
        """Return the shape."""
        return self.shape

    def set_shape(self, shape):
        """Assert that the shape is compatible with `shape`."""
        self.shape.assert_is_compatible_with(shape)

    def ref(self):
        """Return a hashable reference; `.deref()` gives the tensor back."""
        return Reference(self)

    def numpy(self):
        """Return the value as a NumPy array (a scalar of the dtype's type for shape ())."""
        array = self.array
        if isinstance(array, jax.core.Tracer):
            raise NoValueError(
                "numpy() needs a value, but this tensor is inside a compiled function (tf.function, or fit's step) "
                "where values are not known yet. Use tf operations on it, or compile(run_eagerly=True).")
        host = np.array(readable(array))
        return host[()] if host.ndim == 0 else host

    _numpy = numpy           # TensorFlow Datasets reads values so

    def eval(self, *_, **__):
        """Refuse: sessions do not exist."""
        raise NotImplementedError("eval() belongs to TensorFlow 1 sessions. Use numpy().")

    def experimental_ref(self):
        """Return `ref()`."""
        return Reference(self)

    def _scalar(self, python_type):
        array = self.array
        if isinstance(array, jax.core.Tracer):
            raise OperatorNotAllowedInGraphError(
                f"A tensor inside a compiled function (tf.function, or fit's step) was used as a Python "
                f"{python_type.__name__}, but its value is not known while the function is traced. Use "
                f"tf.cond(condition, then, otherwise) or tf.where(condition, a, b) for a branch and "
                f"tf.while_loop(condition, body, values) for a loop; or run with compile(run_eagerly=True).")
        if self.aval.size != 1:
            if python_type is bool:
                raise ValueError(f"The truth value of a tensor of shape {self.aval.shape} is ambiguous. "
                                 "Use tf.reduce_any(x) or tf.reduce_all(x).")
            raise TypeError(f"Only a tensor with one element converts to {python_type.__name__}; "
                            f"this one has shape {self.aval.shape}.")
        return python_type(np.asarray(array).reshape(()).item())

    def __bool__(self):
        return self._scalar(bool)

    def __float__(self):
        return self._scalar(float)

    def __int__(self):
        return self._scalar(int)

    def __complex__(self):
        return self._scalar(complex)

    def __index__(self):
        if self.aval.dtype.kind not in "iu":
            raise TypeError(f"A tensor of dtype {self.aval.dtype} cannot be an index; cast it: tf.cast(x, tf.int32).")
        return self._scalar(int)

    def __array__(self, dtype=None, copy=None):
        array = self.array
        if isinstance(array, jax.core.Tracer):
            self.numpy()                                     # raises with the explanation
        host = np.asarray(readable(array))
        if dtype is not None and host.dtype != dtype:
            return host.astype(dtype)
        # jax gives out a view of its own buffer: a user who writes into it must not change the tensor
        return np.array(host) if copy or not host.flags.owndata else host

    def __jax_array__(self):
        return self.array

    def __dlpack__(self, **keywords):
        return jax.numpy.asarray(self.array).__dlpack__(**keywords)

    def __dlpack_device__(self):
        return jax.numpy.asarray(self.array).__dlpack_device__()

    __hash__ = object.__hash__

    def __format__(self, specification):
        if self.aval.shape == () and not isinstance(self.array, jax.core.Tracer):
            return format(self.numpy(), specification)
        return format(str(self), specification)

    def __str__(self):
        array = self.array
        if isinstance(array, jax.core.Tracer):
            return f'Tensor(shape={self.aval.shape}, dtype={self.aval.dtype})'
        return f"tf.Tensor({describe(np.asarray(array))}, shape={self.aval.shape}, dtype={self.dtype.name})"

    def __repr__(self):
        array = self.array
        if isinstance(array, jax.core.Tracer):
            return f"<tf.Tensor: shape={self.aval.shape}, dtype={self.dtype.name}, traced>"
        text = repr(np.asarray(array)[()] if self.aval.shape == () else np.asarray(array))
        if self.aval.shape == ():
            text = describe(np.asarray(array))
        return f"<tf.Tensor: shape={self.aval.shape}, dtype={self.dtype.name}, numpy={text}>"

    def __reduce__(self):
        return Tensor, (np.asarray(self.array),)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def describe(array):
    """Return the text of an array as tf.Tensor prints it."""
    if array.ndim == 0:
        item = array[()]
        return repr(item) if array.dtype == object else str(item)
    return str(array)


def device_name(array):
    """Return '/job:localhost/replica:0/task:0/device:CPU:0' or the like; '' for a tensor that is being traced."""
    devices = getattr(array, "devices", None)
    if devices is None or isinstance(array, jax.core.Tracer):
        kind, number = ("CPU", 0) if isinstance(array, np.ndarray) else ("", 0)
    else:
        first = min(devices(), key=lambda d: d.id)
        kind, number = first.platform.upper(), first.id
    return f"/job:localhost/replica:0/task:0/device:{kind}:{number}" if kind else ""


class Reference:
    """A hashable stand-in for a tensor or variable, whose own `==` compares elements."""

    __slots__ = ("_to",)

    def __init__(self, to):
        self._to = to

    def deref(self):
        """Return the object."""
        return self._to

    def __eq__(self, other):
        return isinstance(other, Reference) and self._to is other._to

    def __hash__(self):
        return id(self._to)


def pending(trace, slot, of):
    """Make the tensor that stands for a slot of a trace."""
    tensor = Tensor.__new__(Tensor)
    tensor._value, tensor.trace, tensor.slot, tensor.aval, tensor._keras_mask = None, trace, slot, of, None
    return tensor


def _unflatten(_, children):
    child = children[0]
    if child.__class__ is Tensor:
        return child
    tensor = Tensor.__new__(Tensor)
    tensor._value, tensor.trace, tensor.slot, tensor._keras_mask = child, None, 0, None
    tensor.aval = aval_of(child) if hasattr(child, "dtype") and hasattr(child, "shape") else None
    return tensor


jax.tree_util.register_pytree_node(Tensor, lambda t: ((t.array,), None), _unflatten)
