# SPDX-License-Identifier: Apache-2.0
"""Muon: momentum made orthogonal."""
import re

import jax.numpy as jnp

from fitloom.base import registry
from fitloom.optimizers.arrays import debias
from fitloom.optimizers.optimizer import Optimizer


@registry.builtin("keras.optimizers", "muon")
class Muon(Optimizer):
    """For matrices: m <- momentum m + g; w <- w - rate * rms_rate * sqrt(max(shape)) * orthogonal(g + momentum m).

    `orthogonal` runs `ns_steps` Newton-Schulz steps X <- a X + (b A + c A^2) X with A = X X^T, which bring all
    singular values near 1. Every other variable (vectors, convolution kernels, embeddings, excluded layers) is updated
    by Adam with the rate times `adam_lr_ratio`.

    Args:
        exclude_layers: patterns; variables whose path matches one are updated by Adam.
        exclude_embeddings: so are variables whose path contains 'embedding'.
        muon_a, muon_b, muon_c: a, b, c.
        rms_rate: None leaves the orthogonal matrix unscaled.
        weight_decay: of Muon's variables; `adam_weight_decay` of Adam's.

    Source: Jordan 2024, https://kellerjordan.github.io/posts/muon/; Liu et al. 2025, https://arxiv.org/abs/2502.16982
    """

    settings = ("adam_beta_1", "adam_beta_2", "epsilon", "exclude_layers", "muon_a", "muon_b", "muon_c",
                "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "exclude_embeddings", "adam_weight_decay",
                "rms_rate")

    elementwise = False

    def __init__(self, learning_rate=0.001, adam_beta_1=0.9, adam_beta_2=0.999, adam_weight_decay=0.004, epsilon=1e-07,
                 weight_decay=0.004, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False,
                 ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, exclude_layers=None, exclude_embeddings=True,
                 muon_a=3.4445, muon_b=-4.775, muon_c=2.0315, adam_lr_ratio=1, momentum=0.95, ns_steps=5,
                 nesterov=True, rms_rate=0.2, **kwargs):
        exclude_layers = exclude_layers or []
        self._construct(locals())

    def _make_slots(self, variables):
        positions = []
        for variable in variables:
            names = ("momentum", "velocity") if self._by_adam(variable) else ("momentum",)
            positions.append([len(self._variables) + i for i in range(len(names))])
            for name in names:
                self.add_variable_from_reference(variable, name)
        self._slot_positions = positions

    def _by_adam(self, variable):
        path = getattr(variable, "path", None) or variable.name
        return (len(variable.shape) != 2 or self.exclude_embeddings and "embedding" in path.lower()
                or any(re.search(pattern, path) for pattern in self.exclude_layers))

    def decay_of(self, variable):
        """Return the weight decay of one variable."""
        return self.adam_weight_decay if self._by_adam(variable) else self.weight_decay

    def update_one(self, index, gradient, value, slots, rate, step):
        """Update one variable by Muon or by Adam."""
        rate = rate.astype(value.dtype)
        if len(slots) == 2:
            return self._adam(gradient, value, slots, rate * self.adam_lr_ratio, step)
        return self.rule(gradient, value, slots, rate, step)

    def rule(self, gradient, value, slots, rate, step):
        """Update one matrix."""
        m = slots[0] * self.momentum + gradient
        direction = self._orthogonal(gradient + self.momentum * m if self.nesterov else m)
        if self.rms_rate is not None:
            direction = direction * (self.rms_rate * max(value.shape) ** 0.5)
        return value - rate * direction, (m,)

    def _orthogonal(self, x):
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / (jnp.linalg.norm(x) + self.epsilon)
        for _ in range(self.ns_steps):
            a = x @ x.T
            x = self.muon_a * x + (self.muon_b * a + self.muon_c * (a @ a)) @ x
        return x.T if tall else x

    def _adam(self, gradient, value, slots, rate, step):
        m = slots[0] + (gradient - slots[0]) * (1 - self.adam_beta_1)
        v = slots[1] + (jnp.square(gradient) - slots[1]) * (1 - self.adam_beta_2)
        corrected = rate * jnp.sqrt(debias(self.adam_beta_2, step, value.dtype)) \
            / debias(self.adam_beta_1, step, value.dtype)
        return value - m * corrected / (jnp.sqrt(v) + self.epsilon), (m, v)
