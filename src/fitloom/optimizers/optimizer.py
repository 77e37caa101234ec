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

from fitloom import engine, ops
from fitloom.autodiff.reasons import why_none
from fitloom.base import config, naming, registry, serialization, tracebacks
from fitloom.engine.context import CONTEXT
from fitloom.optimizers import by_steps, update
from fitloom.optimizers.arguments import check_arguments, name_of, take_older_names
from fitloom.optimizers.state import State

_OWN = ("weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "ema_momentum",
        "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps")


_TENSORS, _AVAL, _CONSTRAINT = {engine.Tensor}, operator.attrgetter("aval"), operator.attrgetter("constraint")


class Optimizer(State):
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
        lr, decay: Keras 2's: `lr` is learning_rate; `decay` divides the rate by (1 + decay * iterations).

    Raises:
        ValueError: arguments out of range; several kinds of clipping; unknown arguments.

    Example:
        >>> import fitloom as tf
        >>> v = tf.Variable(1.0)
        >>> tf.keras.optimizers.SGD(learning_rate=0.1).apply([tf.constant(2.0)], [v])
        >>> round(float(v), 3)
        0.8
    """

    _run_at_once = False        # whether a loop records nothing after the update, see engine.optimizer_applied
    _last = None                # (version, variables, bound procedure) of the last plain update
    settings: tuple = ()        # names of the arguments a subclass adds
    decay = 0.0

    def __init__(self, learning_rate, weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        learning_rate, decay = take_older_names(type(self).__name__, kwargs, learning_rate)
        check_arguments(locals())
        self.decay = decay
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
        if arguments.get("epsilon", 0.0) is None:           # Keras 2's way to say the default
            arguments["epsilon"] = config.epsilon()
        for name in self.settings:
            setattr(self, name, arguments.pop(name))
        Optimizer.__init__(self, **arguments, **extra)

    def __setattr__(self, name, value):
        if name[0] != "_" and name != "learning_rate":          # a changed hyperparameter is another program
            self.__dict__["_version"] = self.__dict__.get("_version", 0) + 1
        object.__setattr__(self, name, value)

    # -- applying gradients

    @tracebacks.short
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
        if self._again(pairs):
            return self._iterations
        if not pairs:
            raise ValueError(_NOTHING)
        if set(map(type, pairs)) != {tuple} and not all(isinstance(pair, (tuple, list)) for pair in pairs) \
                or set(map(len, pairs)) != {2}:
            raise ValueError("apply_gradients expected (gradient, variable) pairs: zip(gradients, variables).")
        gradients, variables = zip(*pairs)
        self.apply(gradients, variables)
        return self._iterations

    def _again(self, pairs):
        """Record the update if it is the one that was recorded last at this place; return whether it was."""
        last = self._last
        if last is None or last[0] != self._version or len(pairs) != len(last[1]):
            return False
        try:
            gradients, variables = zip(*pairs)
        except (TypeError, ValueError):
            return False
        if not all(map(operator.is_, variables, last[1])) or any(map(_CONSTRAINT, variables)) \
                or last[2].replay(gradients) is engine.MISSED:
            return False
        engine.optimizer_applied(self)
        return True

    @tracebacks.short
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
        replica = CONTEXT.replica
        if replica is not None and replica.inlines and not replica.applying:
            replica.update(self, grads, trainable_variables)      # sums the gradients and comes back
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
                f"Unknown variable '{name_of(variable)}' of shape {tuple(variable.shape)}: {self.name} was built for "
                f"{len(self._trainable_variables)} other variables. Make a new optimizer for a new set of variables, "
                f"or build it for all at once: optimizer.build(variables).")
        return index

    def _without_none(self, grads, variables, indices):
        kept = [i for i, g in enumerate(grads) if g is not None]
        if not kept:
            raise ValueError(_NOTHING + _reasons(variables))
        missing = tuple(name_of(v) for g, v in zip(grads, variables) if g is None)
        if missing not in self._noted:
            self._noted.add(missing)
            without = [v for g, v in zip(grads, variables) if g is None]
            warnings.warn(f"No gradient for {', '.join(missing)}: they stay as they are.{_reasons(without)} "
                          "(Said once.)", stacklevel=4)
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
        if rate is None and type(self)._record is Optimizer._record and type(self).apply is Optimizer.apply:
            self._last = (version, tuple(variables), bound[1])

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
        if engine.executing_eagerly():
            key = ("eager", self._program_version(), indices)
            if key not in self._procedures:
                self._procedures[key] = engine.Uncompiled(
                    lambda gradients, values, state, rate: self._pure_update(gradients, values, state, indices, rate))
            values, new = self._procedures[key](*arrays, rate)
        else:
            values, new = self._pure_update(*arrays, indices, rate)
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
        flat.update(update.large_together(self, gradients, values, state, indices, rate, step, flat))
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

    def rule_of_many(self, gradients, values, slots, rate, step):
        """Return (new values, new slots) of several variables in one pass, or None where the rule has no such form.

        Args:
            gradients, values: float32 arrays.
            slots: for each kind of slot a list of arrays; so in the result.
            rate, step: as in `rule`.
        """

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

    @tracebacks.short
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
        return id(variable) not in ids and not any(re.search(name, name_of(variable)) for name in names)

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
                **{key: getattr(self, key) for key in self.settings}, **({"decay": self.decay} if self.decay else {})}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return the optimizer that a configuration describes."""
        config = {k: v for k, v in config.items() if k not in ("is_legacy_optimizer", "jit_compile")}
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = serialization.deserialize_keras_object(
                config["learning_rate"], custom_objects=custom_objects)
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"


registry.builtin("keras.optimizers")(Optimizer)

_NOTHING = ("No gradients provided for any variable: every gradient is None. The loss must be computed from the "
            "variables by tf operations inside the GradientTape.")


def _reasons(variables):
    """Say for each variable why its gradient is None; variables of one reason together."""
    by_reason = {}
    for variable in variables:
        by_reason.setdefault(why_none(variable), []).append(f"'{name_of(variable)}'")
    by_reason.pop("", None)
    return "".join(f" {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}: {reason}."
                   for reason, names in by_reason.items())


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
        raise ValueError(f"The gradient of '{name_of(variable)}' has shape {tuple(gradient.shape)}, but the variable "
                         f"has shape {tuple(variable.shape)}.")
    return gradient
