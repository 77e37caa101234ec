# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.metrics.Metric`: numbers that add up over batches."""
import weakref

from fitloom import engine, initializers, ops
from fitloom.base import config, dtypes, naming, nest
from fitloom.engine.tensor import Tensor
from fitloom.engine.stateless import with_values
from fitloom.losses.recording import Recorder, is_symbolic
from fitloom.losses.shapes import as_tensor


class Metric:
    """How well something goes, over any number of batches; subclass it.

    Write `__init__` (make variables with `add_variable`), `update_state(...)` (add to them) and `result()`.

    Args:
        dtype: dtype of the variables and the result; None means `floatx`.
        name: name in logs; made from the class's name by default.

    Example:
        >>> import fitloom as tf
        >>> class TruePositives(tf.keras.metrics.Metric):
        ...     def __init__(self, name="tp", **kwargs):
        ...         super().__init__(name=name, **kwargs)
        ...         self.tp = self.add_variable(shape=(), initializer="zeros", name="tp")
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.tp.assign_add(tf.reduce_sum(tf.cast(y_true, "float32") * tf.cast(y_pred, "float32")))
        ...     def result(self):
        ...         return self.tp
        >>> float(TruePositives()([1, 1, 0], [1, 0, 1]))
        1.0
    """

    _tracked_as = "metrics"   # how layers that hold metrics know them

    def __init__(self, dtype=None, name=None):
        object.__setattr__(self, "_variables", [])
        object.__setattr__(self, "_metrics", [])
        self.name = name or naming.unique_name(naming.to_snake_case(type(self).__name__))
        self._dtype = config.floatx() if dtype is None else dtypes.name_of(getattr(dtype, "compute_dtype", dtype))

    @property
    def dtype(self):
        """Name of the dtype."""
        return self._dtype

    # -- state

    def add_variable(self, shape, initializer, dtype=None, aggregation="sum", name=None):
        """Return a new variable that belongs to the metric.

        Args:
            initializer: a name, an Initializer, or a function (shape, dtype) of the value.
            aggregation: how the copies of several devices are joined.
        """
        self._check_constructed()
        with naming.name_scope(self.name):
            variable = engine.KerasVariable(initializers.get(initializer), shape=tuple(shape),
                                            dtype=dtype or self._dtype, trainable=False, aggregation=aggregation,
                                            name=name)
        self._variables.append(variable)
        return variable

    def add_weight(self, shape=(), initializer=None, dtype=None, name=None, **unknown):
        """Return `add_variable` with zeros as the default; a string first is the name (TensorFlow 2's order)."""
        if isinstance(shape, str):
            shape, name = (), shape
        unknown.pop("aggregation", None)
        if unknown:
            raise TypeError(f"add_weight() got unknown arguments {sorted(unknown)}.")
        return self.add_variable(shape=shape, initializer=initializer or "zeros", dtype=dtype, name=name)

    def __setattr__(self, name, value):
        if isinstance(value, (engine.KerasVariable, Metric, list, tuple, dict)):
            for leaf in nest.flatten(value):
                if isinstance(leaf, (engine.KerasVariable, Metric)):
                    self._track(leaf)
        object.__setattr__(self, name, value)

    def _track(self, leaf):
        self._check_constructed()
        owned = self._metrics if isinstance(leaf, Metric) else self._variables
        if not any(leaf is known for known in owned):
            owned.append(leaf)

    def _check_constructed(self):
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}.__init__ must call super().__init__() before it makes variables.")

    @property
    def variables(self):
        """All variables, those of metrics kept as attributes included."""
        found = list(self._variables)
        for metric in self._metrics:
            found += metric.variables
        return found

    weights = variables

    # -- what subclasses write

    def update_state(self, *args, **kwargs):
        """Add a batch; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} must define update_state(...).")

    def result(self):
        """Return the metric's value so far; subclasses write this."""
        raise NotImplementedError(f"{type(self).__name__} must define result().")

    def reset_state(self):
        """Set all variables to zero."""
        for variable in self.variables:
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def reset_states(self):
        """Call `reset_state()`, under TensorFlow 2.0-2.5's name."""
        self.reset_state()

    def __call__(self, *args, **kwargs):
        """Add a batch and return the value so far."""
        self._check_constructed()
        self.update_state(*args, **kwargs)
        return self.result()

    # -- the same as pure functions

    def stateless_update_state(self, metric_variables, *args, **kwargs):
        """Return the variables' values after `update_state(*args)` on the given values; nothing is assigned."""
        return self._stateless(metric_variables, lambda: self.update_state(*args, **kwargs))[1]

    def stateless_result(self, metric_variables):
        """Return `result()` for the given values of the variables."""
        return self._stateless(metric_variables, self.result)[0]

    def stateless_reset_state(self):
        """Return the variables' values after `reset_state()`."""
        return self._stateless([v.value for v in self.variables], self.reset_state)[1]

    def _stateless(self, values, body):
        variables = self.variables
        if len(values) != len(variables):
            raise ValueError(f"Metric '{self.name}' has {len(variables)} variables, but {len(values)} values came.")
        return with_values(body, variables, values)

    # -- configuration

    def get_config(self):
        """Return the constructor's arguments."""
        return {"name": self.name, "dtype": self._dtype}

    @classmethod
    def from_config(cls, config):
        """Return the metric a configuration describes."""
        return cls(**config)

    def __getstate__(self):
        # programs stay in this process
        return {k: v for k, v in self.__dict__.items() if k not in ("_recorder", "_bound", "_packed")}

    def __setstate__(self, state):
        self.__dict__.update(state)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"


class BuiltinMetric(Metric):
    """A metric whose update is `_update(...)` over tensors, recorded as one instruction."""

    _bound = None

    def _build(self, *arguments):
        """Make variables whose shapes depend on the first batch."""

    def _add(self, *arguments):
        """Record `_update(*arguments)`; arguments are tensors, or anything that becomes one, or None."""
        known = self._bound
        if known is not None and known[0] == self._settings_version and known[1] == config.epsilon() \
                and known[2] == len(self._variables) and len(arguments) == len(known[3]):
            given = []
            for x, present in zip(arguments, known[3]):
                if x.__class__ is Tensor and x._keras_mask is None:
                    if not present:
                        break
                    given.append(x)
                elif x is not None or present:
                    break
            else:
                if known[4].replay(given) is engine.MISSED:
                    known[4].record(given)
                return None
        if is_symbolic(*arguments):
            self._build(*arguments)
            return self._update(*arguments)
        arguments = [None if x is None else as_tensor(x) for x in arguments]
        self._build(*arguments)
        self._pack()
        recorder = self.__dict__.get("_recorder")
        if recorder is None or recorder.known != len(self._variables):
            myself = weakref.proxy(self)

            def body(*tensors, settings):
                myself._update(*tensors)

            recorder = Recorder(body, f"{type(self).__name__}.update_state")
            recorder.known = len(self._variables)
            if "_recorder" in self.__dict__:
                self._recorder.procedure.forget()
            else:
                weakref.finalize(self, recorder.procedure.forget)
            object.__setattr__(self, "_recorder", recorder)
        settings = (("settings", (self._settings_version, config.epsilon())),)
        if type(self)._build is BuiltinMetric._build:
            present = tuple(0 if x is None else 1 for x in arguments)
            self.__dict__["_bound"] = (self._settings_version, config.epsilon(), len(self._variables), present,
                                       recorder.bind(present, settings))
        recorder(arguments, settings)
        return None

    def reset_state(self):
        """Set all variables to zero."""
        self._pack()
        super().reset_state()

    def _pack(self):
        if self.__dict__.get("_packed") != len(self._variables) and engine.executing_eagerly():
            self.__dict__["_packed"] = len(self._variables)
            engine.pack(self._variables)

    _settings_version = 0

    def __setattr__(self, name, value):
        # a changed threshold is another program
        object.__setattr__(self, "_settings_version", self._settings_version + 1)
        super().__setattr__(name, value)
