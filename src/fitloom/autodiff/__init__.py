# SPDX-License-Identifier: Apache-2.0
"""Derivatives: `tf.GradientTape`, `tf.autodiff.ForwardAccumulator`, `tf.custom_gradient`, `tf.recompute_grad`."""
from fitloom.autodiff.custom import (
    custom_gradient as custom_gradient,
    grad_pass_through as grad_pass_through,
    gradients as gradients,
    hessians as hessians,
    no_gradient as no_gradient,
    recompute_grad as recompute_grad,
    stop_gradient as stop_gradient,
)
from fitloom.autodiff.forward import ForwardAccumulator as ForwardAccumulator
from fitloom.autodiff.tape import GradientTape as GradientTape, UnconnectedGradients as UnconnectedGradients
