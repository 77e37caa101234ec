# SPDX-License-Identifier: Apache-2.0
"""Pure functions of JAX arrays that run fast forwards and backwards.

Each computes what the operation of the same name does in Keras; what differs is the
formulation: gradients written so that XLA fuses them well, and native code on the CPU where
XLA is slow. They know nothing of tensors, layers or tapes: the op table wraps them.

Common rules: the output dtype is the input dtype (statistics and sums of float16 and bfloat16
are kept in float32), `jit`, `vmap`, `jvp`, `vjp` and higher derivatives all work, and nothing
promotes to 64 bits when `jax_enable_x64` is on.
"""
