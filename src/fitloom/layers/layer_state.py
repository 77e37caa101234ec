# SPDX-License-Identifier: Apache-2.0
"""What a layer holds: its variables and those of the layers inside it, its losses, and how both are read and set."""
import weakref

import numpy as np

from fitloom import engine
from fitloom.engine.store import LAYOUT
from fitloom.layers.call_context import STRUCTURE
from fitloom.layers.graph import Operation

_with_losses: weakref.WeakSet = weakref.WeakSet()   # layers whose add_loss was ever used


class LayerState(Operation):
    """The part of `Layer` that answers for its state."""

    @property
    def trainable(self):
        """Whether the layer's weights may be trained; setting it sets it for all layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        value = bool(value)
        self.__dict__["_trainable"] = value
        for variable in self._trainable_variables:
            variable.trainable = value
        for layer in self._layers:
            layer.trainable = value
        STRUCTURE.changed(self)

    def _collect(self, with_seeds):
        """All variables, own ones first; kept until a layer or weight is added somewhere."""
        cache = self.__dict__.setdefault("_collected", {})
        found = cache.get(with_seeds)
        if found is None or found[0] != STRUCTURE.epoch:
            seen: dict = {}
            for variable in (*self._trainable_variables, *self._non_trainable_variables):
                seen.setdefault(id(variable), variable)
            if with_seeds:
                for generator in self._seed_generators:
                    seen.setdefault(id(generator.state), generator.state)
            for layer in self._layers:
                for variable in (layer.variables if with_seeds else layer.weights):
                    seen.setdefault(id(variable), variable)
            found = cache[with_seeds] = (STRUCTURE.epoch, list(seen.values()))
        return found[1]

    @property
    def variables(self):
        """All variables of the layer and the layers inside it, seeds included, metrics not."""
        return list(self._collect(True))

    @property
    def weights(self):
        """All weights of the layer and the layers inside it."""
        return list(self._collect(False))

    @property
    def trainable_variables(self):
        """The variables that training may change; none if the layer is frozen."""
        known = self.__dict__.get("_trainable_now")
        if known is None or known[0] != STRUCTURE.epoch or known[1] != LAYOUT.frozen:
            found = [v for v in self.variables if v.trainable] if self.trainable else []
            known = self.__dict__["_trainable_now"] = (STRUCTURE.epoch, LAYOUT.frozen, found)
        return known[2].copy()

    @property
    def non_trainable_variables(self):
        """The variables that training leaves alone."""
        return [v for v in self.variables if not v.trainable] if self.trainable else self.variables

    @property
    def trainable_weights(self):
        """The weights that training may change; none if the layer is frozen."""
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self):
        """The weights that training leaves alone."""
        return [v for v in self.weights if not v.trainable] if self.trainable else self.weights

    @property
    def metrics(self):
        """The metrics of the layer and the layers inside it."""
        found = list(self._metrics)
        for layer in self._layers:
            found.extend(layer.metrics)
        return found

    @property
    def metrics_variables(self):
        """The variables of the metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def get_weights(self):
        """Return the values of `weights` as NumPy arrays."""
        return [np.array(variable.numpy()) for variable in self.weights]

    def set_weights(self, weights):
        """Set `weights` from a list of arrays.

        Raises:
            ValueError: another number of arrays, or a shape that differs.
        """
        own = self.weights
        if len(own) != len(weights):
            raise ValueError(f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of length "
                             f"{len(weights)}, but the layer was expecting {len(own)} weights.")
        for variable, value in zip(own, weights):
            shape = tuple(np.shape(value))
            if tuple(variable.shape) != shape:
                raise ValueError(f"Layer {self.name} weight shape {tuple(variable.shape)} is not compatible with "
                                 f"provided weight shape {shape} (weight '{variable.path}').")
        if not engine.executing_eagerly():
            for variable, value in zip(own, weights):
                variable.assign(value)
            return
        engine.set_host_values([(variable, np.array(value, dtype=variable.aval.dtype))
                                for variable, value in zip(own, weights)])

    def count_params(self):
        """Return the number of scalars in `weights`.

        Raises:
            ValueError: the layer is not built.
        """
        if not self.built:
            raise ValueError(f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built. "
                             "You can build it manually via: `layer.build(input_shape)`.")
        return count_params(self.weights)

    # ---- losses

    @property
    def losses(self):
        """Scalars added by `add_loss` in the last call, activity regularizers and weight regularizers."""
        found = list(self._losses)
        for layer in self._flatten_layers(include_self=False):
            found.extend(layer._losses)
        for variable in self.trainable_weights:
            if getattr(variable, "regularizer", None) is not None:
                found.append(variable.regularizer(variable))
        return found

    def _has_losses(self):
        return bool(_with_losses)

    def _clear_losses(self):
        if not _with_losses:
            return
        for layer in self._flatten_layers():
            if layer._losses:
                layer._losses.clear()

    def _note_loss(self, loss):
        _with_losses.add(self)
        self._losses.append(loss)

    def _flatten_layers(self, include_self=True, recursive=True):
        """Return the layers inside, without repetition."""
        found, seen = ([self] if include_self else []), {id(self)} if include_self else set()
        pending = list(self._layers)
        while pending:
            layer = pending.pop(0)
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            found.append(layer)
            if recursive:
                pending[:0] = layer._layers[::-1]
        return found

    # ---- files and functional calls

    def _own_variables(self):
        return self._trainable_variables + self._non_trainable_variables

    def save_own_variables(self, store):
        """Put the layer's own variables into `store` under '0', '1', ...; override for other state."""
        for index, variable in enumerate(self._own_variables()):
            store[f"{index}"] = variable

    def load_own_variables(self, store):
        """Set the layer's own variables from `store`, the reverse of `save_own_variables`.

        Raises:
            ValueError: another number of variables in `store`.
        """
        own = self._own_variables()
        if len(store.keys()) != len(own):
            if not own and not self.built:
                raise ValueError(
                    f"Layer '{self.name}' was never built and thus it doesn't have any variables. However the weights "
                    f"file lists {len(store.keys())} variables for this layer. Either the build() method of the layer "
                    "around it does not build it, or it needs a `build_from_config(self, config)` method.")
            raise ValueError(f"Layer '{self.name}' expected {len(own)} variables, but received {len(store.keys())} "
                             f"variables during loading. Expected: {[v.name for v in own]}")
        for index, variable in enumerate(own):
            variable.assign(store[f"{index}"])

    def stateless_call(self, trainable_variables, non_trainable_variables, *args, return_losses=False, **kwargs):
        """Call the layer with the given values in place of its variables, without changing it.

        Args:
            trainable_variables: values for `self.trainable_variables`.
            non_trainable_variables: values for `self.non_trainable_variables`.
            *args: inputs.
            return_losses: whether to return `losses` too.

        Returns:
            (outputs, new values of the non-trainable variables[, losses]).
        """
        if not self.built:
            raise ValueError(f"To call stateless_call, {type(self).__name__} must be built (i.e. its variables must "
                             "have been already created). You can build it by calling it on some data.")
        trainable, other = self.trainable_variables, self.non_trainable_variables
        for what, given, own in (("trainable", trainable_variables, trainable),
                                 ("non_trainable", non_trainable_variables, other)):
            if len(given) != len(own):
                raise ValueError(f"Argument `{what}_variables` must be a list of the length of "
                                 f"self.{what}_variables: expected {len(own)} values, received {len(given)}.")

        def compute():
            outputs = self(*args, **kwargs)
            return (outputs, self.losses) if return_losses else outputs

        result, values = engine.call_with_values(compute, trainable + other,
                                                 [*trainable_variables, *non_trainable_variables])
        new = values[len(trainable):]
        return (result[0], new, result[1]) if return_losses else (result, new)


def count_params(weights):
    """Return the number of scalars in the variables, each counted once."""
    distinct = {id(w): w for w in weights}
    return int(sum(int(np.prod(tuple(w.shape), dtype=np.int64)) for w in distinct.values()))
