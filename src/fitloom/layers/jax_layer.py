# SPDX-License-Identifier: Apache-2.0
"""JaxLayer: a pure JAX function with parameters as a layer."""
import inspect

import numpy as np

from fitloom import engine, ops
from fitloom.base import nest, serialization
from fitloom.layers.builtin_layer import BuiltinLayer
from fitloom.ops import layer_kernels as kernels
from fitloom.ops.seed_generator import SeedGenerator

_KNOWN = ("params", "state", "rng", "inputs", "training")


class JaxLayer(BuiltinLayer):
    """Run a JAX function as a layer, its parameters as weights.

    Args:
        call_fn: function of some of `params, state, rng, inputs, training`, by these names; with `state` it returns
            (outputs, new state).
        init_fn: `init_fn(rng, inputs[, training])` returns params, or (params, state) if `call_fn` takes a state.
        params, state: nested dicts and lists of arrays, instead of `init_fn`.
        seed: of `rng`.
        native_serialization_platforms: must be None.

    Example:
        >>> import fitloom as tf
        >>> layer = tf.keras.layers.JaxLayer(lambda params, inputs: inputs @ params["w"],
        ...                                  params={"w": np.ones((3, 2), "float32")})
        >>> layer(tf.ones((1, 3))).numpy().tolist()
        [[3.0, 3.0]]
    """

    per_example = False

    def __init__(self, call_fn, init_fn=None, params=None, state=None, seed=None, native_serialization_platforms=None,
                 **kwargs):
        super().__init__(**kwargs)
        if native_serialization_platforms is not None:
            raise NotImplementedError("JaxLayer(native_serialization_platforms=...) is not implemented.")
        self.call_fn, self.init_fn = call_fn, init_fn
        self._arguments = list(inspect.signature(call_fn).parameters)
        unknown = [name for name in self._arguments if name not in _KNOWN]
        if unknown or "inputs" not in self._arguments:
            raise ValueError(f"`call_fn` must take 'inputs', and may take {_KNOWN}; its arguments are "
                             f"{self._arguments}.")
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self._given = (params, state)
        self.params = self.state = None

    def build(self, input_shape):
        """Make the parameters and the state."""
        params, state = self._given
        if params is None and "params" in self._arguments:
            if self.init_fn is None:
                raise ValueError("JaxLayer needs `params` or `init_fn`, because its `call_fn` takes params.")
            sample = nest.map_structure(lambda n: n, input_shape)
            zeros = np.zeros(tuple(1 if n is None else n for n in sample), self.compute_dtype)
            rng = np.asarray(engine.host_generator(self.seed).integers(0, 2**32, 2), np.uint32)
            more = {"training": True} if "training" in inspect.signature(self.init_fn).parameters else {}
            made = self.init_fn(rng, zeros, **more)
            params, state = made if "state" in self._arguments else (made, None)
        self.params, self.state = (
            self._variables(tree, trainable) for tree, trainable in ((params, True), (state, False)))
        self.__dict__["_operation"] = engine.op(self._run_function, name=getattr(self.call_fn, "__name__", "call_fn"))

    def _variables(self, tree, trainable):
        if tree is None:
            return None
        return nest.map_structure(lambda leaf: self._variable(np.asarray(leaf), trainable), tree)

    def _variable(self, array, trainable):
        if array.dtype == np.float64:
            array = array.astype(self.variable_dtype)
        trainable = trainable and array.dtype.kind == "f"
        return self.add_weight(shape=array.shape, dtype=array.dtype.name, trainable=trainable,
                               initializer=lambda shape, dtype=None: array, name="params" if trainable else "state")

    def _run_function(self, rng, *arrays, counts, training, structure):
        parts, at = [], 0
        for count, tree in zip(counts, (self.params, self.state, structure.tree)):
            parts.append(nest.pack_sequence_as(tree, arrays[at:at + count]) if count else None)
            at += count
        given = {"params": parts[0], "state": parts[1], "inputs": parts[2], "training": training, "rng": rng}
        outputs = self.call_fn(*[given[name] for name in self._arguments])
        outputs, state = outputs if "state" in self._arguments else (outputs, None)
        return (*nest.flatten(outputs), *(nest.flatten(state) if state is not None else ()))

    def call(self, inputs, training=False):
        """Return the function's outputs; the state, if there is one, moves on."""
        leaves = [nest.flatten(tree) if tree is not None else [] for tree in (self.params, self.state, inputs)]
        structure = _Structure(inputs)
        found = self._operation(kernels.seed_words(self.seed_generator.draw()),
                                *[leaf for part in leaves for leaf in part],
                                counts=tuple(map(len, leaves)), training=bool(training), structure=structure)
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        kept = len(leaves[1])
        for variable, value in zip(leaves[1], found[len(found) - kept:]):
            variable.assign(value)
        # jax works with 64-bit types here; a function that draws without a dtype gives float64.
        outputs = [ops.cast(y, self.compute_dtype) if y.dtype.name == "float64" else y
                   for y in found[:len(found) - kept]]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def get_config(self):
        """Return the constructor's arguments as plain data; functions need registration."""
        config = super(BuiltinLayer, self).get_config()
        named = lambda f: None if f is None else serialization.serialize_keras_object(f)
        return {**config, "call_fn": named(self.call_fn), "init_fn": named(self.init_fn), "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        """Make the layer from registered functions."""
        config = dict(config)
        for name in ("call_fn", "init_fn"):
            if isinstance(config.get(name), dict):
                config[name] = serialization.deserialize_keras_object(config[name])
        return super().from_config(config)


class _Structure:
    """The nesting of the inputs as an attribute: equal where it is the same."""

    def __init__(self, inputs):
        self.tree = nest.map_structure(lambda _: None, inputs)

    def __eq__(self, other):
        return isinstance(other, _Structure) and repr(self.tree) == repr(other.tree)

    def __hash__(self):
        return hash(repr(self.tree))
