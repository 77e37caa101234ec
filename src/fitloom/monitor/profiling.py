# SPDX-License-Identifier: Apache-2.0
"""Profiler traces that TensorBoard's profile plugin and Perfetto read."""
import jax


def start(log_dir):
    """Begin a trace under `log_dir`/plugins/profile."""
    jax.profiler.start_trace(str(log_dir))


def stop():
    """End the trace and write it."""
    jax.profiler.stop_trace()
