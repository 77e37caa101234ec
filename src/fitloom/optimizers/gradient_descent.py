# SPDX-License-Identifier: Apache-2.0
"""Stochastic gradient descent and sign descent."""
import jax.numpy as jnp

from fitloom.base import registry
from fitloom.optimizers.optimizer import Optimizer


@registry.builtin("keras.optimizers", "sgd")
class SGD(Optimizer):
    """w <- w - rate * g.

    With momentum m <- momentum * m - rate * g, and w <- w + m (nesterov: w + momentum * m - rate * g).

    Args:
        momentum: in [0, 1].
        nesterov: look ahead.

    Source: Sutskever et al. 2013.
    """

    settings = ("momentum", "nesterov")

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None, clipnorm=None,
                 clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None,
                 loss_scale_factor=None, gradient_accumulation_steps=None, name=None, **kwargs):
        if not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be a float between [0, 1]. Received: momentum={momentum}")
        self._construct(locals())

    def slot_groups(self):
        """A momentum where there is one."""
        return (("momentum",),) if self.momentum else ()

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        if not self.momentum:
            return value - rate * gradient, ()
        m = slots[0] * self.momentum - rate * gradient
        return value + (self.momentum * m - rate * gradient if self.nesterov else m), (m,)


@registry.builtin("keras.optimizers", "lion")
class Lion(Optimizer):
    """w <- w - rate * sign(beta_1 m + (1 - beta_1) g); m <- beta_2 m + (1 - beta_2) g.

    Source: Chen et al. 2023, https://arxiv.org/abs/2302.06675
    """

    settings = ("beta_1", "beta_2")
    slots = (("momentum",),)

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.99, weight_decay=None, clipnorm=None, clipvalue=None,
                 global_clipnorm=None, use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None,
                 loss_scale_factor=None, gradient_accumulation_steps=None, name=None, **kwargs):
        if not 0 < beta_1 <= 1:
            raise ValueError("Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to "
                             f"SignSGD. Received: beta_1={beta_1}.")
        self._construct(locals())

    def rule(self, gradient, value, slots, rate, step):
        """Update one variable."""
        m, = slots
        value = value - rate * jnp.sign(m * self.beta_1 + gradient * (1 - self.beta_1))
        return value, (m * self.beta_2 + gradient * (1 - self.beta_2),)
