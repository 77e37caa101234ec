# SPDX-License-Identifier: Apache-2.0
"""Adam and its relatives: running means of the gradient and of its square."""
import jax.numpy as jnp

from fitloom.base import registry
from fitloom.ops.kernels import adam as kernels
from fitloom.optimizers.arrays import debias, norm, powers
from fitloom.optimizers.optimizer import Optimizer


class Moments(Optimizer):
    """Base of optimizers with first and second moments; final classes below."""

    settings: tuple = ("beta_1", "beta_2", "epsilon")
    slots: tuple = (("momentum", "velocity"),)

    def moments(self, gradient, slots):
        """Return the updated running means of g and of g^2."""
        m = slots[0] + (gradient - slots[0]) * (1 - self.beta_1)
        v = slots[1] + (jnp.square(gradient) - slots[1]) * (1 - self.beta_2)
        return m, v


@registry.builtin("keras.optimizers", "adam")
class Adam(Moments):
    """m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - rate sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + e).

    Args:
        beta_1, beta_2: b1, b2, decay of the running means.
        epsilon: e (the paper's "epsilon hat").
        amsgrad: divide by the largest v so far.

    Source: Kingma and Ba 2014, https://arxiv.org/abs/1412.6980; Reddi et al. 2018 for amsgrad.
    """

    settings = ("beta_1", "beta_2", "epsilon", "amsgrad")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False,
                 weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False,
                 ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        self._construct(locals())

    def slot_groups(self):
        """Both moments, and with amsgrad the largest second moment."""
        return (*self.slots, ("velocity_hat",)) if self.amsgrad else self.slots

    def rule_of_many(self, gradients, values, slots, rate, step):
        """Update several variables by the native pass, unless a subclass has another rule."""
        plain = all(getattr(type(self), name) is getattr(Adam, name) for name in ("rule", "moments", "update_one"))
        settings = self.beta_1, self.beta_2, self.epsilon
        if self.amsgrad or not plain or not all(isinstance(setting, (int, float)) for setting in settings):
            return None
        corrected = self._corrected(rate, step, jnp.float32)
        new, *slots = kernels.adam(gradients, values, *slots, corrected, *settings)
        return new, slots

    def _corrected(self, rate, step, dtype):
        """Return the rate with the correction of both moments."""
        return rate * jnp.sqrt(debias(self.beta_2, step, dtype)) / debias(self.beta_1, step, dtype)

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        m, v = self.moments(gradient, slots)
        corrected = self._corrected(rate, step, value.dtype)
        if not self.amsgrad:
            return value - m * corrected / (jnp.sqrt(v) + self.epsilon), (m, v)
        highest = jnp.maximum(slots[2], v)
        return value - m * corrected / (jnp.sqrt(highest) + self.epsilon), (m, v, highest)


@registry.builtin("keras.optimizers", "adamw")
class AdamW(Adam):
    """Adam with weight decay that is not part of the gradient: first w <- w - rate * weight_decay * w.

    Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101
    """

    def __init__(self, learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-07,
                 amsgrad=False, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False,
                 ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        if weight_decay is None:
            raise ValueError("Argument `weight_decay` must be a float. Received: weight_decay=None. Use Adam for none.")
        self._construct(locals())


@registry.builtin("keras.optimizers", "adamax")
class Adamax(Optimizer):
    """m <- b1 m + (1 - b1) g; u <- max(b2 u, |g|); w <- w - rate / (1 - b1^t) * m / (u + e).

    Source: Kingma and Ba 2014, section 7, https://arxiv.org/abs/1412.6980
    """

    settings = ("beta_1", "beta_2", "epsilon")
    slots = (("momentum", "norm"),)

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
                 ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None,
                 name=None, **kwargs):
        self._construct(locals())

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        m = slots[0] + (gradient - slots[0]) * (1 - self.beta_1)
        u = jnp.maximum(self.beta_2 * slots[1], jnp.abs(gradient))
        correction = debias(self.beta_1, step, value.dtype)
        return value - rate * m / (correction * (u + self.epsilon)), (m, u)


@registry.builtin("keras.optimizers", "nadam")
class Nadam(Moments):
    """Adam with Nesterov momentum, whose momentum follows mu_t = b1 (1 - 0.96^t / 2).

    m_hat = mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t); w <- w - rate * m_hat / (sqrt(v / (1 - b2^t)) + e),
    where P_t is the product of mu_1 ... mu_t.

    Source: Dozat 2015.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
                 ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None,
                 name=None, **kwargs):
        self._construct(locals())

    def _make_slots(self, variables):
        super()._make_slots(variables)
        self._u_product = self._new_variable(1.0, variables[0].dtype if variables else "float32", "u_product")
        self._slot_positions = [[*places, len(self._variables) - 1] for places in self._slot_positions]

    def update_all(self, gradients, values, state, indices, rate, step):
        """Update all variables; the product of the momentum schedule is theirs together."""
        before = list(state)
        place = len(state) - 1
        values, state = super().update_all(gradients, values, [*state], indices, rate, step)
        state[place] = before[place] * self._schedule(step, before[place].dtype)
        return values, state

    def update_one(self, index, gradient, value, slots, rate, step):
        """Update one variable; the last slot is the shared product, left as it is."""
        m, v, product = slots
        value, (m, v) = self.rule(gradient, value, (m, v, product * self._schedule(step, product.dtype)),
                                  rate.astype(value.dtype), step)
        return value, (m, v, product)

    def _schedule(self, step, dtype):
        return self.beta_1 * (1.0 - 0.5 * powers(0.96, step, dtype))

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        m, v = self.moments(gradient, slots)
        product = slots[2].astype(value.dtype)
        now, following = self._schedule(step, value.dtype), self._schedule(step + 1, value.dtype)
        m_hat = following * m / (1 - product * following) + (1 - now) * gradient / (1 - product)
        v_hat = v / debias(self.beta_2, step, value.dtype)
        return value - m_hat * rate / (jnp.sqrt(v_hat) + self.epsilon), (m, v)


@registry.builtin("keras.optimizers", "lamb")
class Lamb(Moments):
    """Adam's direction u, scaled for each variable by |w| / |u|: w <- w - rate * |w| / |u| * u.

    Source: You et al. 2019, https://arxiv.org/abs/1904.00962
    """

    elementwise = False

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
                 ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None,
                 name=None, **kwargs):
        self._construct(locals())

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        m, v = self.moments(gradient, slots)
        m_hat = m / debias(self.beta_1, step, value.dtype)
        v_hat = v / debias(self.beta_2, step, value.dtype)
        direction = m_hat / (jnp.sqrt(v_hat) + self.epsilon)
        size, length = norm(value), norm(direction)
        ratio = jnp.where((size > 0) & (length > 0), size / length, jnp.ones_like(size))
        return value - ratio * rate * direction, (m, v)


@registry.builtin("keras.optimizers", "schedulefreeadamw")
class ScheduleFreeAdamW(Moments):
    """Adam that needs no decay of the rate: gradients are taken at y, between the iterate z and the average x.

    z <- z - rate_t g / (sqrt(v / (1 - b2^t)) + e); x <- (1 - 1/t) x + z / t; the variable holds
    y = (1 - b1) z + b1 x, the slot 'momentum' holds z.

    Args:
        beta_1: b1, how near y is to the average.
        warmup_steps: the rate rises linearly over so many steps.

    Source: Defazio et al. 2024, https://arxiv.org/abs/2405.15682
    """

    settings = ("beta_1", "beta_2", "epsilon", "warmup_steps")

    def __init__(self, learning_rate=0.0025, beta_1=0.9, beta_2=0.999, epsilon=1e-08, warmup_steps=0,
                 weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False,
                 ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        self._construct(locals())

    def _make_slots(self, variables):
        super()._make_slots(variables)
        for variable, places in zip(variables, self._slot_positions):
            self._variables[places[0]].assign(variable)

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        z, v = slots
        t = step.astype(value.dtype)
        if self.warmup_steps > 0:
            rate = rate * jnp.minimum(t / self.warmup_steps, 1.0)
        x = (value - (1 - self.beta_1) * z) / self.beta_1 if self.beta_1 > 0 else z
        v = v + (jnp.square(gradient) - v) * (1 - self.beta_2)
        v_hat = v / debias(self.beta_2, step, value.dtype)
        z = z - rate * gradient / (jnp.sqrt(v_hat) + self.epsilon)
        x = (1 - 1 / t) * x + z / t
        return (1 - self.beta_1) * z + self.beta_1 * x, (z, v)
