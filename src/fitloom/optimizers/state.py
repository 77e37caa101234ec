# SPDX-License-Identifier: Apache-2.0
"""What an optimizer keeps: iterations, learning rate, averages, accumulators and slots."""
import warnings

import numpy as np

from fitloom import engine, initializers, ops
from fitloom.base import completion, config, naming, serialization
from fitloom.engine.placement import slots_of
from fitloom.optimizers.arguments import check_rate, flat_name
from fitloom.optimizers.schedules import BuiltinSchedule, LearningRateSchedule


class State:
    """The variables of an optimizer and their saving; the base of `Optimizer`."""

    slots: tuple = ()           # groups of slot names; a group's slots are made variable by variable

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
        made = self.add_variable(reference_variable.shape, initializer, reference_variable.dtype,
                                 name=f"{flat_name(reference_variable)}_{name or 'var'}")
        made.store.lie_like(reference_variable.store)
        return made

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
        with slots_of(variables) as placement:
            self._build_slots(variables)
        for own in self._variables[:2]:
            own.store.adopt(placement)
        engine.pack(variables)
        # Slot by slot, in the variables' order: then the update of all small variables is one flat computation
        # (update.small_together). Iterations and learning rate stay alone.
        by_slot = [self._variables[p] for column in zip(*self._slot_positions) for p in column]
        engine.pack(by_slot, most=10_000)
        completion.completed(self)

    def _build_slots(self, variables):
        if self.use_ema:
            self._model_variables_moving_average = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulated_gradients = self.add_optimizer_variables(variables, "gradient_accumulator")
        self._trainable_variables = variables
        self._index_of = {id(v): i for i, v in enumerate(variables)}
        self.built = True
        self._make_slots(variables)

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
                check_rate(learning_rate)
            self._learning_rate.assign(learning_rate)
            return
        if isinstance(self._learning_rate, LearningRateSchedule) and not callable(learning_rate):
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule`, so its rate cannot be set to a number. Make "
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
            if isinstance(learning_rate, (str, bytes)) or learning_rate is None:
                raise TypeError("learning_rate must be a number, a LearningRateSchedule or a callable, but is "
                                f"{learning_rate!r}.")
            self._learning_rate = self._new_variable(float(learning_rate), config.floatx(), "learning_rate")
        self.__dict__["_version"] = self.__dict__.get("_version", 0) + 1

    @property
    def lr(self):
        """Keras 2's name of `learning_rate`."""
        return self.learning_rate

    @lr.setter
    def lr(self, value):
        self.learning_rate = value

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
        return self._decayed(ops.cast(rate if engine.is_tensor(rate) else float(rate), config.floatx()))

    def _pure_rate(self, state):
        """Return the learning rate as an array, from the state's arrays."""
        if isinstance(self._learning_rate, BuiltinSchedule):
            rate = engine.functional(self._learning_rate, [])([], None, state[0])[0]
        else:
            rate = state[self._position(self._learning_rate)]
        return rate / (1 + self.decay * state[0].astype(rate.dtype)) if self.decay else rate

    def _decayed(self, rate):
        """Return a rate (a tensor) after Keras 2's decay."""
        if not self.decay:
            return rate
        return rate / (1.0 + self.decay * ops.cast(self._iterations.value_tensor(), rate.dtype))

    # -- saving

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
        local = ("_procedures", "_index_of", "_noted", "_bound", "_last")
        return {k: v for k, v in self.__dict__.items() if k not in local}

    def __setstate__(self, state):
        self.__dict__.update(state, _procedures={}, _noted=set())
        self.__dict__["_index_of"] = {id(v): i for i, v in enumerate(self._trainable_variables)}
