# SPDX-License-Identifier: Apache-2.0
"""Optimizers that divide by sums of squared gradients."""
import jax.numpy as jnp
from jax import lax

from fitloom import initializers
from fitloom.base import registry
from fitloom.optimizers.arrays import rms
from fitloom.optimizers.optimizer import Optimizer


@registry.builtin("keras.optimizers", "rmsprop")
class RMSprop(Optimizer):
    """v <- rho v + (1 - rho) g^2; w <- w - rate * g / sqrt(v + e).

    Args:
        rho: decay of the running mean.
        momentum: if > 0: m <- momentum m + rate * g / sqrt(v + e); w <- w - m.
        centered: divide by the variance, v - mean(g)^2.

    Source: Hinton 2012, lecture 6.
    """

    settings = ("rho", "momentum", "epsilon", "centered")

    def __init__(self, learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False,
                 weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False,
                 ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        self._construct(locals())

    def slot_groups(self):
        """The second moment, momentum and mean as they are used."""
        return (("velocity",), *((("momentum",),) if self.momentum > 0 else ()),
                *((("average_gradient",),) if self.centered else ()))

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        v = self.rho * slots[0] + (1 - self.rho) * jnp.square(gradient)
        new, denominator = [v], v + self.epsilon
        if self.centered:
            mean = self.rho * slots[-1] + (1 - self.rho) * gradient
            denominator = v - jnp.square(mean) + self.epsilon
        change = rate * gradient * lax.rsqrt(denominator)
        if self.momentum > 0:
            change = self.momentum * slots[1] + change
            new.append(change)
        if self.centered:
            new.append(mean)
        return value - change, tuple(new)


@registry.builtin("keras.optimizers", "adagrad")
class Adagrad(Optimizer):
    """a <- a + g^2; w <- w - rate * g / sqrt(a + e).

    Args:
        initial_accumulator_value: where a begins.

    Source: Duchi et al. 2011.
    """

    settings = ("initial_accumulator_value", "epsilon")
    slots = (("accumulator",),)

    def __init__(self, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-07, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
                 ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None,
                 name=None, **kwargs):
        self._construct(locals())

    def slot_initializer(self, name):
        """Accumulators start at their given value."""
        return initializers.Constant(self.initial_accumulator_value)

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        a = slots[0] + jnp.square(gradient)
        return value - rate * gradient / jnp.sqrt(a + self.epsilon), (a,)


@registry.builtin("keras.optimizers", "adadelta")
class Adadelta(Optimizer):
    """a <- rho a + (1 - rho) g^2; d = -sqrt(b + e) / sqrt(a + e) * g; b <- rho b + (1 - rho) d^2; w <- w + rate * d.

    Source: Zeiler 2012, https://arxiv.org/abs/1212.5701
    """

    settings = ("rho", "epsilon")
    slots = (("accumulated_grad", "accumulated_delta_var"),)

    def __init__(self, learning_rate=0.001, rho=0.95, epsilon=1e-07, weight_decay=None, clipnorm=None,
                 clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
                 ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None,
                 name=None, **kwargs):
        self._construct(locals())

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        a = self.rho * slots[0] + (1 - self.rho) * jnp.square(gradient)
        change = -jnp.sqrt(slots[1] + self.epsilon) * gradient / jnp.sqrt(a + self.epsilon)
        b = self.rho * slots[1] + (1 - self.rho) * jnp.square(change)
        return value + rate * change, (a, b)


@registry.builtin("keras.optimizers", "ftrl")
class Ftrl(Optimizer):
    """Follow the regularized leader, with l1 (exact zeros) and l2.

    a' = a + g^2; z <- z + g - (a'^p - a^p) / rate * w; q = a'^p / rate + 2 l2; w <- (clip(z, -l1, l1) - z) / q.

    Args:
        learning_rate_power: -p, at most 0; -0.5 is the paper's.
        l2_shrinkage_regularization_strength: adds 2 * this * w to the gradient inside z only.
        beta: adds beta / (2 rate) to l2.

    Raises:
        ValueError: negative strengths, learning_rate_power > 0.

    Source: McMahan et al. 2013.
    """

    settings = ("learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
                "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta")
    slots = (("accumulator", "linear"),)

    def __init__(self, learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1,
                 l1_regularization_strength=0.0, l2_regularization_strength=0.0,
                 l2_shrinkage_regularization_strength=0.0, beta=0.0, weight_decay=None, clipnorm=None,
                 clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
                 ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None,
                 name=None, **kwargs):
        self._construct(locals())
        for setting in self.settings[1:5]:
            if getattr(self, setting) < 0:
                raise ValueError(f"`{setting}` needs to be positive or zero. "
                                 f"Received: {setting}={getattr(self, setting)}.")
        if learning_rate_power > 0:
            raise ValueError("`learning_rate_power` needs to be negative or zero. "
                             f"Received: learning_rate_power={learning_rate_power}.")

    def slot_initializer(self, name):
        """Accumulators start at their given value."""
        return initializers.Constant(self.initial_accumulator_value) if name == "accumulator" else "zeros"

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        a, z = slots
        power = -self.learning_rate_power
        shrunk = gradient + 2 * self.l2_shrinkage_regularization_strength * value
        total = a + jnp.square(gradient)
        z = z + shrunk - (jnp.power(total, power) - jnp.power(a, power)) / rate * value
        q = jnp.power(total, power) / rate + 2 * (self.l2_regularization_strength + self.beta / (2.0 * rate))
        clipped = jnp.clip(z, -self.l1_regularization_strength, self.l1_regularization_strength)
        return (clipped - z) / q, (total, z)


@registry.builtin("keras.optimizers", "adafactor")
class Adafactor(Optimizer):
    """Scale by factored second moments: for matrices v = r c / mean(r), from row means r and column means c of g^2.

    u = g / sqrt(v), scaled down to rms <= clip_threshold; w <- w - max(epsilon_2, rms(w)) * rate_t * u, with the decay
    1 - t^beta_2_decay and rate_t = min(rate, 1 / sqrt(t)) if relative_step.

    Source: Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235
    """

    settings = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")

    elementwise = False

    def __init__(self, learning_rate=0.001, beta_2_decay=-0.8, epsilon_1=1e-30, epsilon_2=0.001,
                 clip_threshold=1.0, relative_step=True, weight_decay=None, clipnorm=None, clipvalue=None,
                 global_clipnorm=None, use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None,
                 loss_scale_factor=None, gradient_accumulation_steps=None, name=None, **kwargs):
        self._construct(locals())

    def _make_slots(self, variables):
        positions = []
        for variable in variables:
            start, shape = len(self._variables), tuple(variable.shape)
            if len(shape) < 2:
                # unused: they keep the places that files of Keras have
                self._new_variable(0, "int32", "row")
                self._new_variable(0, "int32", "column")
            else:
                self.add_variable(shape[:-1], dtype=variable.dtype, name="row")
                self.add_variable((*shape[:-2], shape[-1]), dtype=variable.dtype, name="column")
            self.add_variable_from_reference(variable, "velocity")
            positions.append([start, start + 1, start + 2])
        self._slot_positions = positions

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        row, column, v = slots
        step = step.astype(value.dtype)
        if self.relative_step and not self._is_scheduled():
            rate = jnp.minimum(rate, lax.rsqrt(step))
        square = jnp.square(gradient) + self.epsilon_1
        beta = 1 - jnp.power(step, self.beta_2_decay)
        if value.ndim >= 2:
            row = beta * row + (1 - beta) * jnp.mean(square, axis=-1)
            column = beta * column + (1 - beta) * jnp.mean(square, axis=-2)
            v = (row / jnp.mean(row, axis=-1, keepdims=True))[..., None] * column[..., None, :]
        else:
            v = beta * v + (1 - beta) * square
        u = gradient * lax.rsqrt(v)
        u = u / jnp.maximum(1.0, rms(u) / self.clip_threshold)
        return value - jnp.maximum(self.epsilon_2, rms(value)) * rate * u, (row, column, v)
