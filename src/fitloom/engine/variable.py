# SPDX-License-Identifier: Apache-2.0
"""`tf.Variable` and `keras.Variable`."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.base import dtypes, naming, registry
from fitloom.base.errors import InitialValueNotKnownError, unknown_name
from fitloom.base.shapes import TensorShape
from fitloom.engine.allocation import charge
from fitloom.engine.avals import aval_of
from fitloom.engine.context import CONTEXT, LOCK, SETTINGS
from fitloom.engine.instruction import Instruction, Op
from fitloom.engine.placement import readable
from fitloom.engine.recording import convert_to_tensor, host_array, op
from fitloom.engine.store import LAYOUT, Store
from fitloom.engine.tensor import Reference, Tensor, describe, device_name
from fitloom.engine.trace import Trace


@op
def _read(x):
    return jnp.asarray(x)


class _Assign(Op):
    """(new, old) -> the variable's next value: a real copy, so that no tensor shares the variable's buffer."""

    def make(self, avals, attributes):
        return Instruction(lambda new, old: (jnp.copy(new),), self.name, avals, writes=(1,))


_ASSIGN = _Assign(None, "assign")


_NUMBERS = itertools.count()        # variables in the order they were made


class Variable:
    """A tensor whose value changes by assignment.

    Args:
        initial_value: the value, or a callable without arguments that returns it.
        trainable: whether a GradientTape watches it by itself.
        name: its name.
        dtype: dtype of the value; by default that of `initial_value`.
        constraint: a function applied to the value after an optimizer's update.
        shape: the shape that assigned values must be compatible with; by default that of the value.

    Example:
        >>> import fitloom as tf
        >>> v = tf.Variable([1.0, 2.0])
        >>> v.assign_add([1.0, 1.0]).numpy().tolist()
        [2.0, 3.0]
    """

    is_variable = True
    __array_priority__ = 100

    def __init__(self, initial_value=None, trainable=None, validate_shape=True, caching_device=None, name=None,
                 variable_def=None, dtype=None, import_scope=None, constraint=None, synchronization=None,
                 aggregation=None, shape=None, experimental_enable_variable_lifting=None):
        for argument, given in (("variable_def", variable_def), ("caching_device", caching_device),
                                ("import_scope", import_scope)):
            if given is not None:
                raise ValueError(f"Variable does not take {argument}: it belongs to TensorFlow 1 graphs.")
        if initial_value is None:
            raise ValueError("A Variable needs an initial_value.")
        if callable(initial_value):
            initial_value = initial_value()
        self._setup(_initial_array(initial_value, dtype), True if trainable is None else bool(trainable),
                    _scoped(name or "Variable"))
        self.constraint, self.synchronization, self.aggregation = constraint, synchronization, aggregation
        self._declared_shape = None if shape is None else TensorShape(shape)

    def _setup(self, array, trainable, name):
        self.aval = aval_of(array)
        self.store, self.index, self.pinned = Store(array, [self]), 0, False
        self._trainable, self._name, self.number = trainable, name, next(_NUMBERS)
        self.constraint = self._declared_shape = None

    # -- what it is

    shape = property(lambda self: TensorShape(self.aval.shape))
    ndim = property(lambda self: len(self.aval.shape))
    dtype = property(lambda self: dtypes.as_dtype(self.aval.dtype))
    trainable = property(lambda self: self._trainable)
    device = property(lambda self: device_name(self.store.current()))

    @property
    def name(self):
        """The name, with TensorFlow's output suffix."""
        return self._name if ":" in self._name else self._name + ":0"

    def get_shape(self):
        """Return the shape."""
        return self.shape

    def ref(self):
        """Return a hashable reference; `.deref()` gives the variable back."""
        return Reference(self)

    experimental_ref = ref
    __hash__ = object.__hash__

    # -- reading

    @property
    def array(self):
        """The jax array (a tracer inside a traced function). Outside, the next update works on a copy of it."""
        trace = CONTEXT.trace
        if trace.inline:
            return trace.lookup(self)
        with LOCK:
            array = self.store.member(self.index)
            self.store.escaped = True
        return array

    def value(self):
        """Return the value as a tensor."""
        return _read(self)

    def read_value(self):
        """Return the value as a tensor."""
        return _read(self)

    def numpy(self):
        """Return a copy of the value as a NumPy array."""
        if CONTEXT.trace.inline:
            return Tensor(self.array).numpy()
        with LOCK:
            return np.array(readable(self.store.member(self.index)))

    def __array__(self, dtype=None, copy=None):
        host = self.numpy()
        return host if dtype is None else host.astype(dtype)

    def __jax_array__(self):
        return self.array

    def __bool__(self):
        return bool(self.value_tensor())

    def __float__(self):
        return float(self.value_tensor())

    def __int__(self):
        return int(self.value_tensor())

    def __index__(self):
        return self.value_tensor().__index__()

    def __format__(self, specification):
        return format(self.value_tensor(), specification)

    def value_tensor(self):
        """Return the value as a tensor (the same for both kinds of variable)."""
        return _read(self)

    def eval(self, session=None):
        """Return the value as a NumPy array."""
        return self.numpy()

    # -- writing

    def assign(self, value, use_locking=False, name=None, read_value=True):
        """Set the value; shapes must agree and dtypes convert.

        Raises:
            ValueError: the shape differs.
        """
        trace = CONTEXT.trace
        if value.__class__ is not Tensor:
            value = self._convert(value)
        if value.aval.shape != self.aval.shape or value.aval.dtype != self.aval.dtype:
            value = self._fit(value)
        if trace.inline and not trace.recording:
            trace.assign(self, trace.array_of(value))
            return self
        with LOCK:
            if (SETTINGS.eager or CONTEXT.eager) and (trace.closed or not trace.live_tapes()):
                self._assign_now(value)
                return self
            if trace.closed:
                trace = CONTEXT.trace
                if trace.closed:
                    trace = CONTEXT.trace = Trace()
            if not trace.inline and trace.settles((self,)):
                trace = CONTEXT.trace = Trace()
            slots = (trace.slot(value), trace.slot(self))
            instruction = _ASSIGN.instruction((value.aval, self.aval))
            trace.emit(instruction, slots)
            trace.write((self,), trace.n - 1, (self.store,))
        return self

    def _assign_now(self, value):
        trace = CONTEXT.trace
        if not trace.closed:
            trace.flush()
        self.store.put(self.index, value.array)

    def _convert(self, value):
        if getattr(value.__class__, "is_variable", False):
            return _read(value)
        return convert_to_tensor(value, dtype=None, dtype_hint=self.aval.dtype)

    def _fit(self, value):
        if value.aval.shape != self.aval.shape:
            if self._declared_shape is not None and self._declared_shape.is_compatible_with(value.aval.shape):
                return self._reshape_to(value)
            raise ValueError(f"Cannot assign a value of shape {value.aval.shape} to variable '{self._name}' of shape "
                             f"{self.aval.shape}.")
        if value.aval.dtype.kind in "fc" and self.aval.dtype.kind in "iub" and not isinstance(self, KerasVariable):
            raise TypeError(f"Cannot assign values of dtype {value.dtype.name} to variable '{self._name}' of dtype "
                            f"{dtypes.name_of(self.aval.dtype)}: they would be cut to whole numbers. Cast them first.")
        if isinstance(self, KerasVariable) or value.trace is None and value._value.__class__ is np.ndarray:
            return _cast(value, dtype=self.aval.dtype.name)
        raise ValueError(f"Cannot assign a value of dtype {value.dtype.name} to variable '{self._name}' of dtype "
                         f"{dtypes.name_of(self.aval.dtype)}. "
                         f"Cast it: tf.cast(x, tf.{dtypes.name_of(self.aval.dtype)}).")

    def _reshape_to(self, value):
        """A variable declared with unknown dimensions takes the new shape, outside of programs."""
        array = jnp.array(value.array, dtype=self.aval.dtype)
        self.store.current()
        self.store, self.index, self.aval = Store(array, [self]), 0, aval_of(array)
        return Tensor(array)

    def assign_add(self, delta, use_locking=False, name=None, read_value=True):
        """Add `delta`."""
        return self.assign(_add(self, delta))

    def assign_sub(self, delta, use_locking=False, name=None, read_value=True):
        """Subtract `delta`."""
        return self.assign(_subtract(self, delta))

    # -- text, copies

    def __repr__(self):
        if CONTEXT.trace.inline:
            return f"<tf.Variable '{self.name}' shape={self.aval.shape} dtype={dtypes.name_of(self.aval.dtype)}>"
        host = self.numpy()
        text = describe(host) if host.ndim == 0 else repr(host)
        return (f"<tf.Variable '{self.name}' shape={self.aval.shape} dtype={dtypes.name_of(self.aval.dtype)}, "
                f"numpy={text}>")

    def __deepcopy__(self, memo):
        copy = self.__class__.__new__(self.__class__)
        memo[id(self)] = copy
        for base in type(self).__mro__:
            for key in getattr(base, "__slots__", ()):
                if hasattr(self, key):
                    setattr(copy, key, getattr(self, key))
        copy.__dict__.update(self.__dict__)
        copy.store, copy.index = Store(self.numpy(), [copy]), 0
        return copy

    def __copy__(self):
        return self.__deepcopy__({})

    def __getstate__(self):
        state = dict(self.__dict__)
        state["store"] = self.numpy()
        state["index"], state["aval"] = 0, None
        return state

    def __setstate__(self, state):
        array = state.pop("store")
        self.__dict__.update(state)
        self.aval = aval_of(array)
        self.store = Store(array, [self])


class KerasVariable(Variable):
    """`keras.Variable`: what `add_weight` makes.

    Args:
        initializer: an array, a callable (shape, dtype=...) that returns one, or an initializer's name.
        shape: needed with a callable or a name.
        dtype: by default floatx.
        trainable: whether optimizers and tapes see it.
        autocast: whether layers read it in their compute dtype.
        aggregation: accepted values as in Keras: 'none', 'mean', 'sum', 'only_first_replica'.
        name: its own name; `path` prefixes the open name scopes.
    """

    def __init__(self, initializer, shape=None, dtype=None, trainable=True, autocast=True, aggregation="none",
                 synchronization="auto", name=None, **unknown):
        if unknown:
            raise TypeError(f"Variable received unknown arguments {sorted(unknown)}.")
        if name is not None and "/" in str(name):
            raise ValueError(f"A variable's name cannot contain '/', but received '{name}'.")
        if isinstance(initializer, str):
            initializer = _named_initializer(initializer)
        if callable(initializer):
            if shape is None:
                raise ValueError("A Variable made from an initializer needs a shape.")
            shape = tuple(TensorShape(shape))
            if None in shape:
                raise ValueError(f"Cannot create a variable of shape {shape}: every dimension must be known.")
            from fitloom.base import config
            from fitloom.engine.functional import outside
            dtype = dtypes.name_of(dtype or config.floatx())
            charge(shape, dtype)
            with outside():
                value = initializer(shape, dtype=dtype)
                array = _initial_array(value, dtype)
            if array.shape != shape:
                raise ValueError(f"The initializer returned shape {array.shape} for a variable of shape {shape}.")
        else:
            array = _initial_array(initializer, dtype)
            if dtype is None and array.dtype == np.float64:
                array = array.astype(np.float32)
        self._setup(array, bool(trainable), name or naming.unique_name("variable"))
        self.path = _scoped(self._name)
        if self.store.placement is not None and self.store.placement.layout is not None:
            self.store.sharding = self.store.placement.variable(self, self.aval.shape)       # by its path
        self.autocast, self.aggregation, self.synchronization = bool(autocast), aggregation, synchronization
        self.regularizer = None

    name = property(lambda self: self._name)
    shape = property(lambda self: self.aval.shape)

    @property
    def dtype(self):
        """Name of the dtype in which it is read here: inside a layer of mixed precision, the compute dtype."""
        autocast = CONTEXT.autocast
        return autocast if autocast is not None and self.autocast and self.aval.inexact else \
            dtypes.name_of(self.aval.dtype)
    value = property(lambda self: _read(self))

    def read_as(self, dtype):
        """Return the value as a tensor of another float dtype (what autocasting reads)."""
        return _read(self) if dtypes.name_of(self.aval.dtype) == dtype else _cast(self, dtype=dtype)

    @property
    def trainable(self):
        """Whether optimizers and tapes see it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        LAYOUT.frozen += 1

    def __repr__(self):
        if CONTEXT.trace.inline:
            return f"<Variable path={self.path}, shape={self.aval.shape}, dtype={self.dtype}>"
        return f"<Variable path={self.path}, shape={self.aval.shape}, dtype={self.dtype}, value={self.numpy()}>"


def _scoped(name):
    """Return a variable's name with the open name scopes before it."""
    scope = naming.current_path()
    return f"{scope}/{name}" if scope else name


def _named_initializer(name):
    """Return the initializer that a name means, as the registry knows it."""
    namespace = "keras.initializers"
    found = registry.lookup(name, namespace)
    if found is None:
        raise unknown_name("initializer", name, registry.names_in(namespace))
    return found() if isinstance(found, type) else found


def _initial_array(value, dtype):
    """Return a private NumPy copy, in `dtype` if given."""
    if getattr(value.__class__, "is_variable", False):
        array = value.numpy()
    elif value.__class__ is Tensor:
        array = np.array(value.array) if not CONTEXT.trace.inline else _outside_array(value)
    else:
        array = host_array(value, dtype)
    if dtype is not None:
        array = array.astype(dtypes.numpy_dtype(dtype), copy=False)
    return array


def _outside_array(tensor):
    array = tensor.array
    if isinstance(array, jax.core.Tracer):
        raise InitialValueNotKnownError(
            "A Variable's initial value inside a compiled function depends on the function's inputs. Create it "
            "outside, or give a callable that returns the initial value.")
    return np.array(array)


@op(name="assign_add", same_dtype=True)
def _add(variable, delta):
    return variable + delta


@op(name="assign_sub", same_dtype=True)
def _subtract(variable, delta):
    return variable - delta


@op(name="cast")
def _cast(x, *, dtype):
    return x.astype(dtypes.numpy_dtype(dtype))
