# SPDX-License-Identifier: Apache-2.0
"""Process settings that TensorFlow scripts make before they begin (`tf.config`)."""
import os
import warnings

import jax

from fitloom.engine.context import SETTINGS


class _Settings:
    soft_placement = True
    log_placement = False
    memory_growth: dict = {}


def backend_started():
    """Whether jax has started a backend."""
    return bool(getattr(jax._src.xla_bridge, "_backends", {}))


def set_memory_growth(device, enable):
    """Let jax allocate GPU memory as it is needed (True) or all at once (False); before the first computation."""
    wanted = bool(enable)
    if getattr(device, "device_type", "GPU") == "GPU":
        value = "false" if wanted else "true"
        if os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true") != value and backend_started():
            raise RuntimeError("set_memory_growth must be called before the devices are first used; or set the "
                               f"environment variable XLA_PYTHON_CLIENT_PREALLOCATE={value}.")
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = value
    _Settings.memory_growth[getattr(device, "name", device)] = wanted


def get_memory_growth(device):
    """Return what `set_memory_growth` set (False by default)."""
    return _Settings.memory_growth.get(getattr(device, "name", device), False)


def set_soft_device_placement(enabled):
    """Only True is possible: jax places operations on the device that holds their inputs."""
    if not enabled:
        raise NotImplementedError("Hard device placement is not supported: place values with tf.device.")


def get_soft_device_placement():
    """Return True."""
    return _Settings.soft_placement


def set_log_device_placement(enabled):
    """Tell on standard error where programs run: once, as all operations run where their inputs lie."""
    _Settings.log_placement = bool(enabled)
    if enabled:
        import sys

        sys.stderr.write(f"Operations run on the device of their inputs, else on {jax.devices()[0]}.\n")


def get_log_device_placement():
    """Return whether `set_log_device_placement(True)` was called."""
    return _Settings.log_placement


def enable_op_determinism():
    """Compute the same bits in every run, at the price of speed. Before the first computation.

    What was recorded is always compiled: otherwise measured times decide whether a shape that a loop meets for the
    first time is, and the last bits may differ. On GPU XLA is asked for deterministic kernels.

    Raises:
        RuntimeError: the GPU was used before.
    """
    SETTINGS.deterministic = True
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        if backend_started() and jax.default_backend() == "gpu":
            raise RuntimeError("enable_op_determinism must be called before the GPU is first used.")
        os.environ["XLA_FLAGS"] = (flags + " --xla_gpu_deterministic_ops=true").strip() if _has_gpu() else flags


def _has_gpu():
    return backend_started() and jax.default_backend() == "gpu" or os.path.exists("/dev/nvidia0")


def intra_op_threads():
    """Return 0: XLA decides."""
    return 0


def inter_op_threads():
    """Return 0: XLA decides."""
    return 0


def set_intra_op_threads(num_threads):
    """Only 0 (let XLA decide) is possible; limit the threads with `taskset` or XLA_FLAGS."""
    if num_threads:
        warnings.warn("XLA's thread pool has one size for the process: start the process with "
                      f"`taskset -c 0-{int(num_threads) - 1} python ...` to use {int(num_threads)} threads.",
                      stacklevel=2)


def set_inter_op_threads(num_threads):
    """Only 0 is possible: XLA runs one program at a time on each device."""
    if num_threads:
        warnings.warn("XLA runs one program at a time on each device; this setting changes nothing.",
                      stacklevel=2)


def build_info():
    """Return what XLA was built for (`tf.sysconfig.get_build_info`)."""
    gpu = os.path.exists("/dev/nvidia0")
    return {"is_cuda_build": gpu, "is_rocm_build": False, "is_tensorrt_build": False, "jax_version": jax.__version__}


_optimizer_options: dict = {}


def set_jit(enabled):
    """Accept 'autoclustering', True or False: everything is compiled by XLA."""
    if enabled not in (True, False, "autoclustering"):
        raise ValueError(f"set_jit expected True, False or 'autoclustering', but received {enabled!r}.")


def set_optimizer_options(options):
    """Accept options of TensorFlow's graph optimizer; XLA has its own passes, so they change nothing."""
    _optimizer_options.update(options)


def get_optimizer_options():
    """Return the options that were set."""
    return dict(_optimizer_options)
