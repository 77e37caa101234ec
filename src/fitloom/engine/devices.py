# SPDX-License-Identifier: Apache-2.0
"""Devices by TensorFlow's names: 'CPU:0', '/GPU:1', '/device:TPU:0'."""
import contextlib
import re
from typing import NamedTuple

import jax


class PhysicalDevice(NamedTuple):
    """A device of this machine."""

    name: str
    device_type: str


class LogicalDevice(NamedTuple):
    """A device that programs can use."""

    name: str
    device_type: str


_KINDS = {"cpu": "CPU", "gpu": "GPU", "cuda": "GPU", "rocm": "GPU", "tpu": "TPU"}


class _Visible:
    chosen: dict = {}          # device type -> names, where the user restricted it


def _devices():
    found = list(jax.local_devices())
    if all(d.platform != "cpu" for d in found):
        found = jax.local_devices(backend="cpu") + found
    return found


def list_physical_devices(device_type=None):
    """Return the devices of this machine, of one type if given ('CPU', 'GPU', 'TPU')."""
    counts, found = {}, []
    for device in _devices():
        kind = _KINDS.get(device.platform, device.platform.upper())
        index = counts[kind] = counts.get(kind, -1) + 1
        if device_type is None or kind == device_type.upper():
            found.append(PhysicalDevice(f"/physical_device:{kind}:{index}", kind))
    return found


def list_logical_devices(device_type=None):
    """Return the visible devices as programs see them."""
    return [LogicalDevice(d.name.replace("physical_device", "device"), d.device_type)
            for d in get_visible_devices(device_type)]


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
