# SPDX-License-Identifier: Apache-2.0
"""Devices by TensorFlow's names: 'CPU:0', '/GPU:1', '/device:TPU:0'."""
import contextlib
import re
from typing import NamedTuple

import jax
from jax.extend.backend import clear_backends

from fitloom.engine.settings import backend_started


class PhysicalDevice(NamedTuple):
    """A device of this machine."""

    name: str
    device_type: str


class LogicalDevice(NamedTuple):
    """A device that programs can use."""

    name: str
    device_type: str


_KINDS = {"cpu": "CPU", "gpu": "GPU", "cuda": "GPU", "rocm": "GPU", "tpu": "TPU"}


class LogicalDeviceConfiguration(NamedTuple):
    """One of the logical devices that a physical one is divided into; `memory_limit` is for GPUs (MB)."""

    memory_limit: float | None = None
    experimental_priority: int | None = None
    experimental_device_ordinal: int | None = None


class _Visible:
    chosen: dict = {}          # device type -> names, where the user restricted it
    divided: dict = {}         # name -> configurations, where the user divided a device


def _devices():
    found = list(jax.local_devices())
    if all(d.platform != "cpu" for d in found):
        found = jax.local_devices(backend="cpu") + found
    return found


def start_again():
    """Let jax start its backends anew, for settings that it reads only then.

    Raises:
        RuntimeError: values have been computed already.
    """
    if backend_started():
        if jax.live_arrays():
            raise RuntimeError("This setting must be made before the devices are first used: put it at the beginning "
                               "of the program.")
        clear_backends()


def set_logical_device_configuration(device, logical_devices):
    """Divide a device into logical ones, at the beginning of a program: several CPU devices to try strategies on.

    Args:
        device: a physical device.
        logical_devices: a LogicalDeviceConfiguration for each.

    Raises:
        RuntimeError: values have been computed already.
        NotImplementedError: a GPU, or a memory limit.
    """
    configurations = list(logical_devices or [])
    if device.device_type != "CPU":
        raise NotImplementedError(f"{device.name} cannot be divided: XLA runs a GPU as one device. To limit its memory "
                                  "set the environment variable XLA_PYTHON_CLIENT_MEM_FRACTION.")
    if not configurations or any(each.memory_limit for each in configurations):
        raise ValueError("A CPU is divided by a list of LogicalDeviceConfiguration() without memory_limit, one for "
                         f"each logical device, but received {logical_devices!r}.")
    start_again()
    jax.config.update("jax_num_cpu_devices", len(configurations))
    _Visible.divided[device.name] = configurations


def get_logical_device_configuration(device):
    """Return the LogicalDeviceConfigurations of a device, None if it is not divided."""
    return _Visible.divided.get(device.name)


def get_device_details(device):
    """Return what is known of a physical device as a dict: 'device_name' and, for GPUs, 'compute_capability'."""
    found = jax_device(device.name)
    details = {"device_name": found.device_kind} if device.device_type != "CPU" else {}
    capability = getattr(found, "compute_capability", None)
    if capability is not None and device.device_type == "GPU":
        details["compute_capability"] = tuple(int(part) for part in str(capability).split("."))
    return details


def get_memory_info(device):
    """Return the memory in use on a device in bytes: {'current': ..., 'peak': ...}.

    Raises:
        ValueError: the device does not tell (CPUs).
    """
    found = jax_device(device).memory_stats()
    if not found:
        raise ValueError(f"The device '{device}' does not tell how much memory it uses.")
    return {"current": found["bytes_in_use"], "peak": found["peak_bytes_in_use"]}


def list_physical_devices(device_type=None):
    """Return the devices of this machine, of one type if given ('CPU', 'GPU', 'TPU')."""
    counts, found = {}, []
    for device in _devices():
        kind = _KINDS.get(device.platform, device.platform.upper())
        index = counts[kind] = counts.get(kind, -1) + 1
        if kind == "CPU" and index and _Visible.divided:
            continue
        if device_type is None or kind == device_type.upper():
            found.append(PhysicalDevice(f"/physical_device:{kind}:{index}", kind))
    return found


def list_logical_devices(device_type=None):
    """Return the visible devices as programs see them."""
    found = []
    for device in get_visible_devices(device_type):
        name = device.name.replace("physical_device", "device")
        parts = len(_Visible.divided.get(device.name, ())) or 1
        found += [LogicalDevice(name if parts == 1 else f"{name.rpartition(':')[0]}:{i}", device.device_type)
                  for i in range(parts)]
    return found


def set_visible_devices(devices, device_type=None):
    """Use only these devices (strategies and `device` look at this list)."""
    devices = list(devices) if isinstance(devices, (list, tuple)) else [devices]
    kinds = [device_type] if device_type else sorted({d.device_type for d in devices}) or ["GPU"]
    known = {d.name for d in list_physical_devices()}
    for device in devices:
        if device.name not in known:
            raise ValueError(f"There is no device '{device.name}'. Devices: {', '.join(sorted(known))}.")
    for kind in kinds:
        _Visible.chosen[kind] = [d.name for d in devices if d.device_type == kind]


def get_visible_devices(device_type=None):
    """Return the physical devices in use."""
    return [d for d in list_physical_devices(device_type)
            if d.device_type not in _Visible.chosen or d.name in _Visible.chosen[d.device_type]]


def jax_device(name):
    """Return the jax device that a TensorFlow device name stands for.

    Raises:
        ValueError: there is no such device.
    """
    match = re.search(r"(cpu|gpu|tpu|xla_gpu)(?::(\d+|\*))?$", str(name).lower())
    if match is None:
        raise ValueError(f"Cannot read the device name '{name}'. Use for example '/CPU:0' or '/GPU:0'.")
    kind, index = match.group(1).replace("xla_", ""), match.group(2)
    same = [d for d in _devices() if _KINDS.get(d.platform) == kind.upper()]
    position = 0 if index in (None, "*") else int(index)
    if position >= len(same):
        raise ValueError(f"There is no device '{name}': this machine has {len(same)} of type {kind.upper()}. "
                         f"Devices: {', '.join(d.name for d in list_physical_devices())}.")
    return same[position]


@contextlib.contextmanager
def device(name):
    """Context in which values are placed on a device; None changes nothing."""
    if name is None:
        yield
        return
    if callable(name):
        raise ValueError("A device function belongs to TensorFlow 1 graphs; pass a name such as '/GPU:0'.")
    with jax.default_device(jax_device(name)):
        yield


def is_gpu_available(cuda_only=False, min_cuda_compute_capability=None):
    """Whether this machine has a GPU that jax can use."""
    return bool(list_physical_devices("GPU"))
