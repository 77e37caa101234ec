# SPDX-License-Identifier: Apache-2.0
"""Dynamic loss scaling for float16."""
import jax.numpy as jnp
from jax import lax

from fitloom import ops
from fitloom.base import completion, registry, serialization
from fitloom.optimizers.lookup import get
from fitloom.optimizers.optimizer import Optimizer


_OF_THE_INNER = ("clipnorm", "clipvalue", "global_clipnorm", "weight_decay", "use_ema", "loss_scale_factor",
                 "learning_rate", "gradient_accumulation_steps", "ema_momentum", "ema_overwrite_frequency")


@registry.builtin("keras.optimizers")
class LossScaleOptimizer(Optimizer):
    """Scale the loss so that float16 gradients do not vanish, and skip steps whose gradients overflow.

    Gradients are divided by the scale before the inner optimizer sees them. A step with an inf or NaN gradient changes
    nothing and halves the scale; `dynamic_growth_steps` good steps in a row double it.

    Args:
        inner_optimizer: the optimizer that does the work.
        initial_scale: where the scale begins.
        dynamic: True (TensorFlow 2's argument).

    Raises:
        ValueError: settings that belong to the inner optimizer.

    Example:
        >>> import fitloom as tf
        >>> optimizer = tf.keras.optimizers.LossScaleOptimizer(tf.keras.optimizers.SGD(0.1))
        >>> v = tf.Variable(1.0)
        >>> with tf.GradientTape() as tape:
        ...     loss = optimizer.scale_loss(v * v)
        >>> _ = optimizer.apply_gradients([(tape.gradient(loss, v), v)])
        >>> round(float(v), 3)
        0.8
    """

    def __init__(self, inner_optimizer, initial_scale=32768.0, dynamic_growth_steps=2000, name=None, dynamic=True,
                 **kwargs):
        if not dynamic:
            raise ValueError("LossScaleOptimizer scales dynamically only. For a fixed scale leave it out and set "
                             "`loss_scale_factor` on the optimizer.")
        for key in _OF_THE_INNER:
            if kwargs.pop(key, None):
                raise ValueError(f"LossScaleOptimizer does not take `{key}`: set it on the `inner_optimizer`.")
        if kwargs:
            raise ValueError("LossScaleOptimizer does not take the arguments: "
                             f"{', '.join(f'`{key}`' for key in kwargs)}.")
        initial_scale = 32768.0 if initial_scale is None else initial_scale
        self.inner_optimizer = get(inner_optimizer)
        if self.inner_optimizer is None:
            raise ValueError("LossScaleOptimizer needs an inner optimizer.")
        self.inner_optimizer.loss_scale_factor = None       # one scale is enough
        super().__init__(learning_rate=0.0, name=name, **kwargs)
        self.initial_scale, self._by_hand = float(initial_scale), False
        self.dynamic_growth_steps = 2000 if dynamic_growth_steps is None else int(dynamic_growth_steps)
        self.step_counter = self.add_variable((), "zeros", "int32", name="step_counter")
        self.dynamic_scale = self.add_variable((), "ones", "float32", name="dynamic_scale")
        self.dynamic_scale.assign(self.initial_scale)

    def build(self, variables):
        """Make the state of the inner optimizer."""
        if self.built:
            return
        super().build(variables)
        self.inner_optimizer.build(variables)
        completion.completed(self)

    @property
    def variables(self):
        """Iteration, learning rate (unused), counter, scale, then the inner optimizer's."""
        return [*self._variables, *self.inner_optimizer.variables]

    iterations = property(lambda self: self.inner_optimizer.iterations)
    loss_scale = property(lambda self: self.dynamic_scale.value)

    @property
    def learning_rate(self):
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    def scale_loss(self, loss):
        """Return loss * scale."""
        return loss * ops.cast(self.dynamic_scale.value, getattr(loss, "dtype", "float32"))

    get_scaled_loss = scale_loss

    def get_unscaled_gradients(self, grads):
        """Return gradients / scale; the next `apply` takes them as unscaled (TensorFlow 2's way)."""
        self._by_hand = True
        return [None if g is None else g / ops.cast(self.dynamic_scale.value, g.dtype) for g in grads]

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Leave variables out of the inner optimizer's weight decay."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def finalize_variable_values(self, var_list):
        """Give variables the inner optimizer's moving averages."""
        self.inner_optimizer.finalize_variable_values(var_list)

    # -- the update

    def _program_version(self):
        return (self._version, self.inner_optimizer._program_version())

    def _takes_own_rate(self):
        return self.inner_optimizer._takes_own_rate()

    def _given_rate(self):
        return self.inner_optimizer._given_rate()

    @property
    def _has_rule(self):
        return self.inner_optimizer._has_rule

    def _record(self, gradients, variables, indices):
        if self._by_hand:           # scaling again by a power of two is exact
            gradients = [g * ops.cast(self.dynamic_scale.value, g.dtype) for g in gradients]
            self._by_hand = False
        if self._has_rule:
            super()._record(gradients, variables, indices)
        else:
            self._record_steps(gradients, variables, indices)

    def _pure_update(self, gradients, values, state, indices=None, rate=None):
        """Update if all gradients are finite; adapt the scale."""
        own, inner, scale = state[:4], list(state[4:]), state[3]
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in gradients]))

        def good(values, inner):
            # unscaled in the variables' dtype: a float16 gradient may be too small for its own
            unscaled = [g.astype(v.dtype) / scale.astype(v.dtype) for g, v in zip(gradients, values)]
            return self.inner_optimizer._pure_update(unscaled, values, inner, indices, rate)

        values, inner = lax.cond(finite, good, lambda values, inner: (values, inner), list(values), inner)
        counter, scale = self._adapted(finite, own[2], scale, jnp.where)
        return list(values), [own[0], own[1], counter, scale, *inner]

    def _adapted(self, finite, counter, scale, where):
        """Return (counter, scale) after a step."""
        grown = counter + 1 >= self.dynamic_growth_steps
        return (where(finite, where(grown, 0 * counter, counter + 1), 0 * counter),
                where(finite, where(grown, scale * 2.0, scale), scale / 2.0))

    def _record_steps(self, gradients, variables, indices):
        """The same around a user's `update_step`: run it, keep its effect only if all gradients are finite."""
        finite = ops.reduce_all(ops.stack([ops.reduce_all(ops.is_finite(g)) for g in gradients]))
        scale = self.dynamic_scale.value
        touched = [*variables, *self.inner_optimizer.variables]
        before = [v.value_tensor() for v in touched]
        unscaled = [ops.cast(g, v.dtype) / ops.cast(scale, v.dtype) for g, v in zip(gradients, variables)]
        self.inner_optimizer._record(unscaled, variables, indices)
        for variable, old in zip(touched, before):
            variable.assign(ops.where(finite, variable.value_tensor(), old))
        counter, scale = self._adapted(finite, self.step_counter.value, scale, ops.where)
        self.step_counter.assign(counter)
        self.dynamic_scale.assign(scale)

    # -- configuration

    def get_config(self):
        """Return the constructor's arguments."""
        return {"name": self.name,
                "inner_optimizer": serialization.serialize_keras_object(self.inner_optimizer),
                "initial_scale": self.initial_scale, "dynamic_growth_steps": self.dynamic_growth_steps}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return the optimizer that a configuration describes."""
        inner = config["inner_optimizer"]
        config = {k: v for k, v in config.items() if k not in _OF_THE_INNER}    # older files hold their defaults
        if isinstance(inner, dict):
            inner = serialization.deserialize_keras_object(inner, custom_objects=custom_objects)
        return cls(**{**config, "inner_optimizer": inner})
