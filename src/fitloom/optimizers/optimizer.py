# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.optimizers.Optimizer`: the thin shell around an update rule.

`apply` records the whole update of all variables as ONE instruction: the pure function `_pure_update` of gradients,
values and state. Nothing is read from the device.
"""
import operator
import re
import warnings
import weakref

import jax
import numpy as np

from fitloom import engine, initializers, ops
from fitloom.base import config, naming, registry, serialization
from fitloom.optimizers import by_steps, update
from fitloom.optimizers.schedules import BuiltinSchedule, LearningRateSchedule

_OWN = ("weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "ema_momentum",
        "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps")


_TENSORS, _AVAL, _CONSTRAINT = {engine.Tensor}, operator.attrgetter("aval"), operator.attrgetter("constraint")


class Optimizer:
    """What improves variables by their gradients.

    A subclass of yours writes `build(variables)` (make slots with `add_variable_from_reference`) and
    `update_step(gradient, variable, learning_rate)` (assign).

    Args:
        learning_rate: number, LearningRateSchedule, or a callable without arguments.
        weight_decay: each step first subtracts learning_rate * weight_decay * variable.
        clipnorm: each gradient is scaled down to at most this norm.
        clipvalue: each gradient's elements are clipped to [-clipvalue, clipvalue].
        global_clipnorm: all gradients together are scaled down to at most this norm.
        use_ema: keep the exponential moving average of the variables (momentum `ema_momentum`); every
            `ema_overwrite_frequency` steps the variables take its value (None: only when training ends).
        loss_scale_factor: gradients are divided by it; multiply the loss with `scale_loss`.
        gradient_accumulation_steps: update once in so many steps, with the mean of their gradients.
        name: name of the optimizer, prefix of its variables' paths.

    Raises:
        ValueError: arguments out of range; several kinds of clipping; the names of TensorFlow 1 (`lr`, `decay`).

    Example:
        >>> import fitloom as tf
        >>> v = tf.Variable(1.0)
        >>> tf.keras.optimizers.SGD(learning_rate=0.1).apply([tf.constant(2.0)], [v])
        >>> round(float(v), 3)
        0.8
    """

    settings: tuple = ()        # names of the arguments a subclass adds
    slots: tuple = ()           # groups of slot names; a group's slots are made variable by variable

    def __init__(self, learning_rate, weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        _check_unknown(type(self).__name__, kwargs, learning_rate)
        _check_arguments(locals())
        self.name = name or naming.unique_name(naming.to_snake_case(type(self).__name__))
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm, self.use_ema, self.ema_momentum = global_clipnorm, use_ema, ema_momentum
        self.ema_overwrite_frequency, self.loss_scale_factor = ema_overwrite_frequency, loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._variables, self._trainable_variables, self._index_of, self._procedures = [], [], {}, {}
        self._excluded, self._slot_positions, self._noted = None, [], set()
        self._model_variables_moving_average, self._accumulated_gradients = [], []
        with engine.outside(), naming.name_scope(self.name):
            self._iterations = self._new_variable(0, "int32", "iteration")
            self._set_learning_rate(learning_rate)

    def _construct(self, arguments):
        """Take a subclass's `locals()`: its own settings become attributes, the rest goes to `Optimizer`."""
        arguments = {k: v for k, v in arguments.items() if k not in ("self", "__class__")}
        extra = arguments.pop("kwargs", {})
        for name in self.settings:
            setattr(self, name, arguments.pop(name))
        Optimizer.__init__(self, **arguments, **extra)

    def __setattr__(self, name, value):
        if name[0] != "_" and name != "learning_rate":          # a changed hyperparameter is another program
            self.__dict__["_version"] = self.__dict__.get("_version", 0) + 1
        object.__setattr__(self, name, value)

    # -- variables

    def _new_variable(self, initial, dtype, name):
        variable = engine.KerasVariable(np.asarray(initial, dtype), dtype=dtype, trainable=False, name=name,
                                        aggregation="only_first_replica")
        self._variables.append(variable)
        return variable

    def add_variable(self, shape, initializer="zeros", dtype=None, aggregation="none", layout=None, name=None):
        """Return a new variable of the optimizer's state."""
        with engine.outside(), naming.name_scope(self.name):
            variable = engine.KerasVariable(initializers.get(initializer), shape=tuple(shape), dtype=dtype,
                                            trainable=False, aggregation=aggregation, name=name)
        self._variables.append(variable)
        return variable

    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        """Return a new state variable of a model variable's shape and dtype, called '<its path>_<name>'."""
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype,
                                 name=f"{_flat_name(reference_variable)}_{name or 'var'}")

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        """Return a list of new state variables, one for each model variable (a tuple of lists for several names)."""
        names = [name] if isinstance(name, str) else list(name)
        each = [initializer] * len(names) if isinstance(initializer, str) or callable(initializer) else initializer
        made = tuple([] for _ in names)
        for variable in trainable_variables:
            for group, label, start in zip(made, names, each):
                group.append(self.add_variable_from_reference(variable, label, start))
        return made[0] if isinstance(name, str) else made

    def build(self, variables):
        """Make the state for a list of variables (done by the first `apply`)."""
        if self.built:
            return
        variables = list(variables)
        if self.use_ema:
            self._model_variables_moving_average = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulated_gradients = self.add_optimizer_variables(variables, "gradient_accumulator")
        self._trainable_variables = variables
        self._index_of = {id(v): i for i, v in enumerate(variables)}
        self.built = True
        self._make_slots(variables)
        engine.pack(variables)
        # Slot by slot, in the variables' order: then the update of all small variables is one flat computation
        # (update.small_together). Iterations and learning rate stay alone.
        by_slot = [self._variables[p] for column in zip(*self._slot_positions) for p in column]
        engine.pack(by_slot, most=10_000)

    def slot_groups(self):
        """Return the groups of slot names that these settings need."""
        return self.slots

    def slot_initializer(self, name):
        """Return what fills a new slot."""
        return "zeros"

    def _make_slots(self, variables):
        """Make slots group by group; `_slot_positions[i]` are their places in `variables` for variable i."""
        positions = [[] for _ in variables]
        for group in self.slot_groups():
            for i, variable in enumerate(variables):
                for name in group:
                    positions[i].append(len(self.variables))
                    self.add_variable_from_reference(variable, name, self.slot_initializer(name))
        self._slot_positions = positions

    @property
    def variables(self):
        """The state: iterations, learning rate, averages, accumulators, slots, in the order in which they are saved."""
        return self._variables

    @property
    def iterations(self):
        """Number of updates made (with gradient accumulation: of full ones)."""
        if self.gradient_accumulation_steps:
            return ops.floordiv(self._iterations.value, self.gradient_accumulation_steps)
        return self._iterations

    @iterations.setter
    def iterations(self, variable):
        if self.built:
            raise RuntimeError("iterations cannot be replaced after the optimizer has been built; assign to it: "
                               "optimizer.iterations.assign(n).")
        self._variables[self._position(self._iterations)] = variable
        self._iterations = variable

    def _position(self, variable):
        return next(i for i, v in enumerate(self._variables) if v is variable)

    # -- learning rate

    @property
    def learning_rate(self):
        """The learning rate: a Variable, or the schedule's value now."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return rate(self._iterations.value)
        return rate() if callable(rate) else rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        if isinstance(self._learning_rate, engine.KerasVariable) and not callable(learning_rate):
            if isinstance(learning_rate, (int, float)):
                _check_rate(learning_rate)
            self._learning_rate.assign(learning_rate)
            return
        if isinstance(self._learning_rate, LearningRateSchedule) and not callable(learning_rate):
            raise TypeError(
                "The learning rate of this optimizer is a LearningRateSchedule, so it cannot be set to a number. Make "
                "the optimizer with a number (learning_rate=0.001) to set it later, or assign another schedule.")
        self._set_learning_rate(learning_rate)

    def _set_learning_rate(self, learning_rate):
        old = self.__dict__.get("_learning_rate")
        if isinstance(learning_rate, dict):
            learning_rate = serialization.deserialize_keras_object(learning_rate)
        is_variable = getattr(type(learning_rate), "is_variable", False)
        if callable(learning_rate) and not is_variable:
            if isinstance(old, engine.KerasVariable):
                if self.built:
                    raise ValueError("A learning-rate schedule cannot replace a number after training has begun. "
                                     "Make a new optimizer with the schedule.")
                del self._variables[self._position(old)]
            self._learning_rate = learning_rate
        elif is_variable:
            self._learning_rate = learning_rate
            self._variables.append(learning_rate)
        else:
            self._learning_rate = self._new_variable(float(learning_rate), config.floatx(), "learning_rate")
        self.__dict__["_version"] = self.__dict__.get("_version", 0) + 1

    @property
    def lr(self):
        """Refused: TensorFlow 1's name."""
        raise AttributeError("Use optimizer.learning_rate; 'lr' was its name in TensorFlow 1.")

    @lr.setter
    def lr(self, value):
        raise AttributeError("Set optimizer.learning_rate; 'lr' was its name in TensorFlow 1.")

    def _is_scheduled(self):
        return not getattr(type(self._learning_rate), "is_variable", False)

    def _takes_own_rate(self):
        return not self._is_scheduled() or isinstance(self._learning_rate, BuiltinSchedule)

    def _given_rate(self):
        """Return the rate where it has to be computed outside the update (a user's schedule or callable), or None."""
        if self._takes_own_rate():
            return None
        rate = self.learning_rate
        if getattr(type(rate), "is_variable", False):
            rate = rate.value_tensor()
        return ops.cast(rate if engine.is_tensor(rate) else float(rate), config.floatx())

    def _pure_rate(self, state):
        """Return the learning rate as an array, from the state's arrays."""
        if isinstance(self._learning_rate, BuiltinSchedule):
            return engine.functional(self._learning_rate, [])([], None, state[0])[0]
        return state[self._position(self._learning_rate)]

    # -- applying gradients

    def apply_gradients(self, grads_and_vars, name=None, skip_gradients_aggregation=False, **unknown):
        """Update variables: `optimizer.apply_gradients(zip(gradients, variables))`; return `iterations`.

        Args:
            name, skip_gradients_aggregation: of TensorFlow 2; without effect here.

        Raises:
            ValueError: no gradients at all, or variables other than those of the first call.
        """
        unknown.pop("experimental_aggregate_gradients", None)
        if unknown:
            raise TypeError(f"apply_gradients() got unknown arguments {sorted(unknown)}.")
        pairs = list(grads_and_vars)
        if not pairs:
            raise ValueError(_NOTHING)
        if set(map(type, pairs)) != {tuple} and not all(isinstance(pair, (tuple, list)) for pair in pairs) \
                or set(map(len, pairs)) != {2}:
            raise ValueError("apply_gradients expected (gradient, variable) pairs: zip(gradients, variables).")
        gradients, variables = zip(*pairs)
        self.apply(gradients, variables)
        return self._iterations

    def apply(self, grads, trainable_variables=None):
        """Update variables by their gradients (lists of one length and order).

        Args:
            grads: tensors, or None for variables that have no gradient (all None is an error).
            trainable_variables: the variables; None means those the optimizer was built for.

        Raises:
            ValueError: as `apply_gradients`; a gradient of another shape than its variable.
        """
        grads = list(grads)
        if not grads:
            return
        variables, indices = self._match(grads, trainable_variables)
        if set(map(type, grads)) != _TENSORS:
            if any(g is None for g in grads):
                grads, variables, indices = self._without_none(grads, variables, indices)
            grads = list(map(_dense, grads, variables))
        elif list(map(_AVAL, grads)) != list(map(_AVAL, variables)):
            grads = list(map(_dense, grads, variables))
        self._record(grads, variables, indices)
        for variable in variables if any(map(_CONSTRAINT, variables)) else ():
            if variable.constraint is None:
                continue
            variable.assign(variable.constraint(variable.value_tensor()))
        engine.optimizer_applied(self)

    def _match(self, grads, trainable_variables):
        known = self._trainable_variables
        if trainable_variables is None:
            if not self.built:
                raise ValueError("The optimizer does not know its variables yet: pass them, "
                                 "optimizer.apply(gradients, variables), or call optimizer.build(variables) first.")
            if len(grads) != len(known):
                raise ValueError(f"The optimizer has {len(known)} variables, but {len(grads)} gradients came.")
            return known, None
        variables = list(trainable_variables)
        if len(variables) != len(grads):
            raise ValueError(f"{len(grads)} gradients came for {len(variables)} variables.")
        if not self.built:
            with engine.outside():
                self.build(variables)
                self.built = True
            known = self._trainable_variables
        if len(variables) == len(known) and all(map(operator.is_, variables, known)):
            return known, None
        return variables, tuple([self._get_variable_index(v) for v in variables])

    def _get_variable_index(self, variable):
        index = self._index_of.get(id(variable))
        if index is None:
            raise ValueError(
                f"Unknown variable '{_name(variable)}' of shape {tuple(variable.shape)}: {self.name} was built for "
                f"{len(self._trainable_variables)} other variables. Make a new optimizer for a new set of variables, "
                f"or build it for all at once: optimizer.build(variables).")
        return index

    def _without_none(self, grads, variables, indices):
        kept = [i for i, g in enumerate(grads) if g is not None]
        if not kept:
            raise ValueError(_NOTHING)
        missing = tuple(_name(v) for g, v in zip(grads, variables) if g is None)
        if missing not in self._noted:
            self._noted.add(missing)
            warnings.warn(f"No gradient for {', '.join(missing)}: the loss does not depend on these variables, so they "
                          f"stay as they are. (Said once.)", stacklevel=4)
        indices = tuple(kept) if indices is None else tuple(indices[i] for i in kept)
        return [grads[i] for i in kept], [variables[i] for i in kept], indices

    @property
    def _has_rule(self):
        """Whether the update is our pure function; a user's `update_step` runs as Python instead."""
        cls = type(self)
        return cls.update_step.__module__.startswith("fitloom.") and hasattr(cls, "rule")

    def _record(self, gradients, variables, indices):
        """Record the update as one instruction."""
        if not self._has_rule:
            by_steps.apply(self, gradients, variables, indices)
            return
        rate = self._given_rate()
        inputs = gradients if rate is None else [rate, *gradients]
        version = self._program_version()
        bound = self.__dict__.get("_bound")
        if bound is None or bound[0] != (indices, version, rate is None):
            attributes = (("version", version), ("rated", rate is not None))
            bound = (indices, version, rate is None), self._procedure(indices).bind(attributes)
            self.__dict__["_bound"] = bound
        bound[1](inputs)

    def _program_version(self):
        return self._version

    def _procedure(self, indices):
        found = self._procedures.get(indices)
        if found is None:
            every, myself = self._trainable_variables, weakref.proxy(self)
            variables = every if indices is None else [every[i] for i in indices]

            def body(*tensors, version, rated):
                myself._run(tensors[1:] if rated else tensors, variables, indices, tensors[0] if rated else None)

            found = engine.Procedure(body, f"{type(self).__name__}.apply")
            self._procedures[indices] = found
            weakref.finalize(self, found.forget)
        return found

    def _run(self, gradients, variables, indices, rate):
        """Do the update on the arrays of this trace."""
        state = self.variables
        arrays = ([g.array for g in gradients], [v.array for v in variables], [s.array for s in state])
        rate = None if rate is None else rate.array
        pure = self._pure_update
        if engine.executing_eagerly():
            key = ("eager", self._program_version())
            if key not in self._procedures:
                self._procedures[key] = jax.jit(lambda *a: self._pure_update(*a), static_argnums=3)
            pure = self._procedures[key]
        values, new = pure(*arrays, indices, rate)
        for variable, array in zip(variables, values):
            variable.assign(engine.Tensor(array))
        for variable, array, old in zip(state, new, arrays[2]):
            if array is not old:
                variable.assign(engine.Tensor(array))

    def _pure_update(self, gradients, values, state, indices=None, rate=None):
        """Return (new values, new state): one step as a pure function of jax arrays.

        Args:
            gradients, values: lists of arrays, one for each variable in `indices` (None: all the optimizer was built
                for).
            state: arrays in the order of `variables`.
            rate: the learning rate; None takes it from the state or the built-in schedule.
        """
        return update.step(self, gradients, values, state, indices, rate)

    def update_all(self, gradients, values, state, indices, rate, step):
        """Return (new values, new state) by the rule, variable by variable. Pure."""
        state, new = list(state), []
        together = self.elementwise and type(self).update_one is Optimizer.update_one
        flat = update.small_together(self, gradients, values, state, indices, rate, step) if together else {}
        for position, (i, gradient, value) in enumerate(zip(indices, gradients, values)):
            places = self._slot_positions[i]
            if position in flat:
                new.append(flat[position])
                continue
            value, slots = self.update_one(i, gradient, value, [state[p] for p in places], rate, step)
            new.append(value)
            for place, slot in zip(places, slots):
                state[place] = slot
        return new, state

    # Whether the rule works element by element, so that small variables may be updated end to end.
    elementwise = True

    def update_one(self, index, gradient, value, slots, rate, step):
        """Return (new value, new slots) of variable `index`. Pure."""
        return self.rule(gradient, value, slots, rate.astype(value.dtype), step)

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable; your subclass writes this, ours apply their rule."""
        if not hasattr(type(self), "rule"):
            raise NotImplementedError(
                f"{type(self).__name__} must define update_step(gradient, variable, learning_rate).")
        by_steps.apply_rule(self, gradient, variable, learning_rate)

    # -- the same as a pure function; losses

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        """Return (new variables' values, new optimizer state) as lists; nothing is assigned."""
        if not self.built:
            raise ValueError(f"stateless_apply needs an optimizer that is built: call {self.name}.build(variables).")
        if len(optimizer_variables) != len(self.variables):
            raise ValueError(f"{self.name} has {len(self.variables)} state variables, but {len(optimizer_variables)} "
                             f"values came.")
        if len(trainable_variables) != len(self._trainable_variables):
            raise ValueError(f"{self.name} was built for {len(self._trainable_variables)} variables, but "
                             f"{len(trainable_variables)} values came.")
        arrays = [[_array(x) for x in xs] for xs in (grads, trainable_variables, optimizer_variables)]
        rate = self._given_rate()
        values, state = self._pure_update(*arrays, None, None if rate is None else rate.array)
        wrap = any(isinstance(x, engine.Tensor) for x in (*grads, *trainable_variables))
        values = [_constrained(v, x) for v, x in zip(self._trainable_variables, values)]
        return ([engine.Tensor(x) for x in values], [engine.Tensor(x) for x in state]) if wrap else (values, state)

    def compute_gradients(self, loss, var_list, tape=None):
        """Return [(gradient, variable), ...] of a callable `loss`, or of a tensor computed under `tape`."""
        from fitloom.autodiff import GradientTape
        if callable(loss):
            with GradientTape() as tape:
                loss = loss()
            var_list = var_list() if callable(var_list) else var_list
        elif tape is None:
            raise ValueError("minimize needs a loss that is a function without arguments, or the GradientTape under "
                             "which the loss was computed: minimize(loss, variables, tape=tape).")
        variables = list(var_list)
        return list(zip(tape.gradient(loss, variables), variables))

    def minimize(self, loss, var_list, tape=None):
        """Compute gradients of `loss` and apply them.

        Example:
            >>> import fitloom as tf
            >>> v = tf.Variable(2.0)
            >>> _ = tf.keras.optimizers.SGD(0.1).minimize(lambda: v * v, [v])
            >>> round(float(v), 3)
            1.6
        """
        return self.apply_gradients(self.compute_gradients(loss, var_list, tape))

    def scale_loss(self, loss):
        """Return loss * loss_scale_factor."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # -- weight decay, averages

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Leave variables out of weight decay: objects, or patterns searched in their names. Before `build`."""
        if self.built:
            raise ValueError("exclude_from_weight_decay() must be called before the optimizer is built (before the "
                             "first step).")
        ids = {id(v) for v in var_list or ()}
        names = list(var_names or ()) + (self._excluded[1] if self._excluded else [])
        self._excluded = (ids | (self._excluded[0] if self._excluded else set()), names)
        self.__dict__["_version"] += 1

    def _clip_gradients(self, grads):
        """Return gradients (tensors or None) clipped as the settings say."""
        kept = by_steps.clip(self, [engine.convert_to_tensor(g) for g in grads if g is not None])
        clipped = iter(kept)
        return [None if g is None else next(clipped) for g in grads]

    def decay_of(self, variable):
        """Return the weight decay of one variable, or None."""
        return self.weight_decay

    def _use_weight_decay(self, variable):
        if self._excluded is None:
            return True
        ids, names = self._excluded
        return id(variable) not in ids and not any(re.search(name, _name(variable)) for name in names)

    def finalize_variable_values(self, var_list):
        """Give variables the value of their moving averages (done when training ends, if `use_ema`)."""
        if self.use_ema:
            averages = self._model_variables_moving_average
            for variable in var_list:
                variable.assign(averages[self._get_variable_index(variable)])

    # -- helpers for subclasses of users

    def assign(self, variable, value):
        """Set a variable."""
        variable.assign(value)

    def assign_add(self, variable, value):
        """Add to a variable."""
        variable.assign_add(ops.cast(value, variable.dtype))

    def assign_sub(self, variable, value):
        """Subtract from a variable."""
        variable.assign_sub(ops.cast(value, variable.dtype))

    # -- saving

    def get_config(self):
        """Return the constructor's arguments."""
        rate = self._learning_rate
        if getattr(type(rate), "is_variable", False):
            rate = float(rate.numpy())
        else:
            rate = serialization.serialize_keras_object(rate)
        return {"name": self.name, "learning_rate": rate, **{key: getattr(self, key) for key in _OWN},
                **{key: getattr(self, key) for key in self.settings}}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return the optimizer that a configuration describes."""
        config = {k: v for k, v in config.items() if k not in ("is_legacy_optimizer", "jit_compile")}
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = serialization.deserialize_keras_object(
                config["learning_rate"], custom_objects=custom_objects)
        return cls(**config)

    def save_own_variables(self, store):
        """Put the state into `store` (a mapping) as '0', '1', ..."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store):
        """Take the state from a mapping that `save_own_variables` filled; warn and skip where counts differ."""
        if len(store.keys()) != len(self.variables):
            warnings.warn(f"The state of optimizer '{self.name}' was not loaded: it has {len(self.variables)} "
                          f"variables, the file {len(store.keys())}.", stacklevel=2)
            return
        for i, variable in enumerate(self.variables):
            variable.assign(np.asarray(store[str(i)]))

    def get_weights(self):
        """Return the state as NumPy arrays."""
        return [v.numpy() for v in self.variables]

    def set_weights(self, weights):
        """Set the state; shapes must agree."""
        if not self.built:
            raise ValueError("You are calling set_weights() on an optimizer that has no variables yet. Call "
                             "optimizer.build(variables) first.")
        if len(weights) != len(self.variables):
            raise ValueError(f"{self.name} has {len(self.variables)} state variables, but {len(weights)} values came.")
        for variable, value in zip(self.variables, weights):
            variable.assign(value)

    def __getstate__(self):
        # programs and ids stay in this process
        return {k: v for k, v in self.__dict__.items() if k not in ("_procedures", "_index_of", "_noted", "_bound")}

    def __setstate__(self, state):
        self.__dict__.update(state, _procedures={}, _noted=set())
        self.__dict__["_index_of"] = {id(v): i for i, v in enumerate(self._trainable_variables)}

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"


registry.builtin("keras.optimizers")(Optimizer)

_NOTHING = ("No gradients provided for any variable: every gradient is None. The loss must be computed from the "
            "variables by tf operations inside the GradientTape.")


def _name(variable):
    return getattr(variable, "path", None) or variable.name


def _flat_name(variable):
    return _name(variable).split(":")[0].replace("/", "_")


def _array(x):
    return x.array if hasattr(x, "array") and (isinstance(x, engine.Tensor) or hasattr(x, "assign")) else x


def _constrained(variable, array):
    if variable.constraint is None:
        return array
    return engine.functional(variable.constraint, [])([], None, array)[0]


def _dense(gradient, variable):
    """Return a gradient as a tensor of its variable's shape."""
    if gradient.__class__ is not engine.Tensor:
        gradient = engine.convert_to_tensor(gradient)
    if gradient.aval.shape != variable.aval.shape:
        raise ValueError(f"The gradient of '{_name(variable)}' has shape {tuple(gradient.shape)}, but the variable has "
                         f"shape {tuple(variable.shape)}.")
    return gradient


def _check_unknown(name, kwargs, learning_rate):
    kwargs.pop("jit_compile", None)     # of TensorFlow 2.11-2.15; every update is compiled
    if "lr" in kwargs:
        raise ValueError(f"{name} has no argument 'lr'. Use learning_rate={kwargs['lr']}.")
    if kwargs.pop("decay", None):
        raise ValueError(f"{name} has no argument 'decay' any more. Use learning_rate=tf.keras.optimizers.schedules."
                         f"InverseTimeDecay({learning_rate}, decay_steps=1, decay_rate=<decay>), or weight_decay=.")
    if kwargs:
        raise ValueError(f"{name} received unknown arguments: {', '.join(sorted(kwargs))}.")


def _check_rate(rate):
    if not 0.0 <= rate < float("inf"):
        raise ValueError(f"The learning rate must be a finite number >= 0, but is {rate}.")


def _check_arguments(given):
    if isinstance(given["learning_rate"], (int, float)):
        _check_rate(given["learning_rate"])
    clips = {key: given[key] for key in ("clipnorm", "clipvalue", "global_clipnorm") if given[key] is not None}
    if len(clips) > 1:
        raise ValueError(f"Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: {clips}")
    for key, value in clips.items():
        if value < 0:
            raise ValueError(f"{key} must be >= 0, but is {value}.")
    steps = given["gradient_accumulation_steps"]
    if steps is not None and steps < 2:
        raise ValueError(f"gradient_accumulation_steps must be a whole number >= 2 or None, but is {steps}.")
    if given["use_ema"]:
        if not 0 <= given["ema_momentum"] <= 1:
            raise ValueError(f"ema_momentum must lie in [0, 1], but is {given['ema_momentum']}.")
        every = given["ema_overwrite_frequency"]
        if every and (not isinstance(every, int) or every < 1):
            raise ValueError(f"ema_overwrite_frequency must be a whole number >= 1 or None, but is {every}.")
