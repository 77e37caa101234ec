# SPDX-License-Identifier: Apache-2.0
"""Several optimizers, each for some of the variables."""
import collections.abc
import re

from fitloom import ops
from fitloom.base import completion, registry, serialization
from fitloom.optimizers.lookup import get
from fitloom.optimizers.optimizer import Optimizer


def _single(optimizer, message):
    name = type(optimizer).__name__
    if name in ("LossScaleOptimizer", "MultiOptimizer"):
        raise ValueError(message.format(name))
    return optimizer


@registry.builtin("keras.optimizers")
class OptimizerMap(collections.abc.MutableMapping):
    """Patterns of variable paths and the optimizers for them.

    `map[path]` and `map(variable)` give the optimizer whose pattern matches the whole path, else the default.

    Raises:
        ValueError: a path matches two patterns; an optimizer that wraps others.

    Args:
        default_optimizer: for paths that match no pattern.
        optimizer_map: dict of pattern -> optimizer.
    """

    def __init__(self, default_optimizer, optimizer_map=None):
        self.default_optimizer = get(default_optimizer)
        self._optimizer_map = {}
        for pattern, optimizer in (optimizer_map or {}).items():
            self[pattern] = optimizer

    def __getitem__(self, path):
        if path in self._optimizer_map:
            return self._optimizer_map[path]
        found = [(pattern, o) for pattern, o in self._optimizer_map.items() if re.fullmatch(pattern, path)]
        if len(found) > 1:
            raise ValueError(f"Path '{path}' matches several patterns of the OptimizerMap: "
                             f"{', '.join(repr(pattern) for pattern, _ in found)}. Make them exclude each other.")
        return found[0][1] if found else self.default_optimizer

    def __call__(self, variable):
        """Return the optimizer of a variable, by its path."""
        return self[getattr(variable, "path", None) or variable.name]

    def __setitem__(self, pattern, optimizer):
        if pattern in self._optimizer_map:
            raise ValueError(f"Pattern '{pattern}' is in the OptimizerMap already; delete it first.")
        self._optimizer_map[pattern] = _single(get(optimizer), "An OptimizerMap's optimizer cannot be {}.")

    def __delitem__(self, pattern):
        del self._optimizer_map[pattern]

    def __iter__(self):
        return iter(self._optimizer_map)

    def __len__(self):
        return len(self._optimizer_map)

    def get_config(self):
        """Return the constructor's arguments."""
        serialize = serialization.serialize_keras_object
        return {"default_optimizer": serialize(self.default_optimizer),
                "optimizer_map": {k: serialize(v) for k, v in self._optimizer_map.items()}}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return the map that a configuration describes."""
        read = serialization.deserialize_keras_object
        return cls(read(config["default_optimizer"], custom_objects=custom_objects),
                   {k: read(v, custom_objects=custom_objects) for k, v in config["optimizer_map"].items()})


@registry.builtin("keras.optimizers")
class MultiOptimizer(Optimizer):
    """Give each variable to the optimizer that an `OptimizerMap`, or a function of the variable, chooses.

    Args:
        optimizer_map: OptimizerMap, or function (variable) -> optimizer.
        loss_scale_factor: replaces that of the optimizers.

    Example:
        >>> import fitloom as tf
        >>> chosen = tf.keras.optimizers.OptimizerMap("sgd", {"encoder/.*": "adam"})
        >>> len(tf.keras.optimizers.MultiOptimizer(chosen).optimizers)
        2
    """

    def __init__(self, optimizer_map, loss_scale_factor=None, name=None):
        if isinstance(optimizer_map, Optimizer):
            optimizer_map = OptimizerMap(optimizer_map)
        if not callable(optimizer_map):
            raise ValueError("optimizer_map must be an OptimizerMap or a function of a variable, but is "
                             f"{optimizer_map!r}.")
        super().__init__(learning_rate=0.0, loss_scale_factor=loss_scale_factor, name=name)
        self.optimizer_map = optimizer_map
        self._optimizers, self._home = [], []
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in (*optimizer_map._optimizer_map.values(), optimizer_map.default_optimizer):
                self._take(optimizer)

    def _take(self, optimizer):
        found = next((k for k, o in enumerate(self._optimizers) if o is optimizer), None)
        if found is None:
            found = len(self._optimizers)
            self._optimizers.append(optimizer)
            if self.loss_scale_factor is not None:
                optimizer.loss_scale_factor = self.loss_scale_factor
        return found

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "loss_scale_factor":
            for optimizer in self.__dict__.get("_optimizers", ()):
                optimizer.loss_scale_factor = value

    def build(self, variables):
        """Choose an optimizer for each variable and make their state."""
        if self.built:
            return
        super().build(variables)
        by_function = not isinstance(self.optimizer_map, OptimizerMap)
        kinds, counts = {}, []
        for variable in self._trainable_variables:
            if by_function:
                # a function that makes a new optimizer at each call means one for each kind of settings
                made = get(self.optimizer_map(variable))
                key = (type(made), repr({**made.get_config(), "name": None}))
                made = kinds.setdefault(key, made)
            else:
                made = self.optimizer_map(variable)
            k = self._take(_single(made, "{} cannot be used inside a MultiOptimizer."))
            while len(counts) <= k:
                counts.append([])
            self._home.append((k, len(counts[k])))
            counts[k].append(variable)
        for optimizer, own in zip(self._optimizers, counts + [[]] * len(self._optimizers)):
            optimizer.build(own)
        completion.completed(self)

    @property
    def optimizers(self):
        """The optimizers."""
        return list(self._optimizers)

    @property
    def variables(self):
        """Iteration and learning rate (unused), then those of each optimizer."""
        return [*self._variables, *(v for optimizer in self._optimizers for v in optimizer.variables)]

    @property
    def learning_rate(self):
        """Refused: each optimizer has its own."""
        raise AttributeError("A MultiOptimizer has no learning_rate: each of its `.optimizers` has one.")

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        raise AttributeError("A MultiOptimizer has no learning_rate: set those of its `.optimizers`.")

    def finalize_variable_values(self, var_list):
        """Give variables the moving averages of their optimizers."""
        for variable in var_list:
            optimizer = self._optimizers[self._home[self._get_variable_index(variable)][0]]
            optimizer.finalize_variable_values([variable])

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Leave variables out of weight decay in every optimizer."""
        for optimizer in self._optimizers:
            optimizer.exclude_from_weight_decay(var_list, var_names)

    # -- the update

    def _program_version(self):
        return (self._version, *(o._program_version() for o in self._optimizers))

    @property
    def _has_rule(self):
        return all(o._has_rule for o in self._optimizers)

    def _given_rate(self):
        rates = [o._given_rate() for o in self._optimizers]
        if all(rate is None for rate in rates):
            return None
        return ops.stack([ops.zeros([]) if rate is None else rate for rate in rates])

    def _record(self, gradients, variables, indices):
        if self._has_rule:
            super()._record(gradients, variables, indices)
            return
        for k, (places, inner) in self._shares(indices, len(variables)).items():
            self._optimizers[k]._record([gradients[p] for p in places], [variables[p] for p in places], inner)
        self._iterations.assign_add(1)

    def _shares(self, indices, count):
        """Return {optimizer: (positions in the lists, its own variables' indices)}."""
        shares = {}
        for place, index in enumerate(range(count) if indices is None else indices):
            k, own = self._home[index]
            places, inner = shares.setdefault(k, ([], []))
            places.append(place)
            inner.append(own)
        return {k: (places, tuple(inner)) for k, (places, inner) in shares.items()}

    def _pure_update(self, gradients, values, state, indices=None, rate=None):
        """Let each optimizer update its variables."""
        values, state, start = list(values), list(state), 2
        shares = self._shares(indices, len(values))
        for k, optimizer in enumerate(self._optimizers):
            end = start + len(optimizer.variables)
            if k in shares:
                places, inner = shares[k]
                own = None if rate is None or optimizer._takes_own_rate() else rate[k]
                new, state[start:end] = optimizer._pure_update(
                    [gradients[p] for p in places], [values[p] for p in places], state[start:end], inner, own)
                for place, value in zip(places, new):
                    values[place] = value
            start = end
        state[0] = state[0] + 1
        return values, state

    # -- configuration

    def get_config(self):
        """Return the constructor's arguments."""
        return {"optimizer_map": serialization.serialize_keras_object(self.optimizer_map),
                "loss_scale_factor": self.loss_scale_factor, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return the optimizer that a configuration describes."""
        chosen = config["optimizer_map"]
        if isinstance(chosen, dict):
            chosen = serialization.deserialize_keras_object(chosen, custom_objects=custom_objects)
        return cls(**{**config, "optimizer_map": chosen})
