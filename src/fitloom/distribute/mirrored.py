# SPDX-License-Identifier: Apache-2.0
"""Strategies of one process: OneDeviceStrategy, MirroredStrategy, TPUStrategy, and those that do not exist here."""
import jax
import numpy as np

from fitloom.distribute.operations import check_cross_device_ops
from fitloom.distribute.strategy import Strategy, StrategyExtended
from fitloom.engine import devices as devices_of_engine
from fitloom.engine.placement import Placement


def find_devices(names):
    """Return jax devices for TensorFlow's names; None means all visible ones of the best kind.

    Raises:
        ValueError: a device that does not exist, or is named twice.
    """
    if names is None:
        for kind in ("TPU", "GPU", "CPU"):
            found = devices_of_engine.list_logical_devices(kind)
            if found:
                return [devices_of_engine.jax_device(device.name) for device in found]
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError("A strategy needs at least one device, but received an empty list. Use devices=None for all "
                         "visible devices.")
    found = [name if isinstance(name, jax.Device) else devices_of_engine.jax_device(getattr(name, "name", name))
             for name in names]
    if len(set(found)) != len(found):
        raise ValueError(f"A device is named twice: {', '.join(map(str, names))}.")
    if len({device.platform for device in found}) > 1:
        raise ValueError(f"The devices of a strategy must be of one kind, but received {', '.join(map(str, names))}.")
    return found


def placement_on(devices, layout=None):
    """Return the placement that splits batches over devices; None for one device that is the default anyway."""
    if len(devices) == 1:
        return None
    return Placement(jax.sharding.Mesh(np.array(devices), ("replica",)), layout=layout)


def name_of(device):
    """Return TensorFlow's name of a jax device."""
    kind = {"gpu": "GPU", "cuda": "GPU", "rocm": "GPU"}.get(device.platform, device.platform.upper())
    same = list(jax.local_devices(backend=device.platform))
    return f"/job:localhost/replica:0/task:0/device:{kind}:{same.index(device) if device in same else device.id}"


class OneDeviceStrategy(Strategy):
    """Everything on one device: for code that is written with a strategy.

    Args:
        device: its name, such as '/gpu:0'.

    Example:
        >>> import fitloom as tf
        >>> strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        >>> with strategy.scope():
        ...     v = tf.Variable(1.0)
        >>> float(strategy.run(lambda x: x + v, args=(2.0,)))
        3.0
    """

    def __init__(self, device):
        self._device = devices_of_engine.jax_device(device)
        super().__init__(StrategyExtended(self, [name_of(self._device)]))


class MirroredStrategy(Strategy):
    """One copy of each variable on every device, each batch split over the devices.

    A batch is the global batch, and every sum and mean goes over all of it: losses, metrics, batch normalization and
    weights are those of one device within rounding, also for a last batch that does not divide. XLA's partitioner
    puts the exchange of gradients into the program.

    Args:
        devices: names such as ['/gpu:0', '/gpu:1']; None for all visible devices of the best kind.
        cross_device_ops: accepted; XLA chooses.
        shard_optimizer: split the optimizer's state over the devices instead of copying it to each (ZeRO stage 1):
            memory for it divided by their number.

    Raises:
        ValueError: a device that does not exist.
    """

    def __init__(self, devices=None, cross_device_ops=None, shard_optimizer=False):
        check_cross_device_ops(cross_device_ops)
        found = find_devices(devices)
        super().__init__(StrategyExtended(self, [name_of(d) for d in found], placement_on(found)))
        self.shard_optimizer = bool(shard_optimizer)
        if self.shard_optimizer and self.extended.placement is not None:
            self.extended.placement.split_slots()


class TPUStrategy(Strategy):
    """All cores of a TPU, each batch split over them.

    Args:
        tpu_cluster_resolver: a TPUClusterResolver, or None for the TPU of this machine.
        experimental_device_assignment: must be None: XLA assigns the cores.
        experimental_spmd_xla_partitioning: accepted; programs are always partitioned by XLA.

    Raises:
        RuntimeError: there is no TPU.
    """

    def __init__(self, tpu_cluster_resolver=None, experimental_device_assignment=None,
                 experimental_spmd_xla_partitioning=False):
        if experimental_device_assignment is not None:
            raise ValueError("experimental_device_assignment is not supported: XLA assigns the cores of a TPU.")
        self._resolver, found = tpu_cluster_resolver, tpu_devices()
        super().__init__(StrategyExtended(self, [f"/device:TPU:{d.id}" for d in found], placement_on(found)))

    @property
    def cluster_resolver(self):
        """The resolver given."""
        return self._resolver


def connect_to_cluster(cluster_spec_or_resolver=None, job_name="localhost", task_index=0, protocol=None,
                       make_master_device_default=True, cluster_device_filters=None):
    """Do nothing: a strategy connects by itself (`tf.config.experimental_connect_to_cluster`)."""


def initialize_tpu_system(cluster_resolver=None):
    """Check that there is a TPU; jax initializes it.

    Raises:
        RuntimeError: there is none.
    """
    tpu_devices()


def shutdown_tpu_system(cluster_resolver=None):
    """Do nothing: the TPU is given back when the process ends."""


def tpu_devices():
    """Return the TPU's devices.

    Raises:
        RuntimeError: there is none; the message names the alternatives.
    """
    try:
        return jax.devices("tpu")
    except RuntimeError as error:
        kinds = sorted({d.device_type for d in devices_of_engine.list_physical_devices()})
        raise RuntimeError(
            f"There is no TPU on this machine (devices here: {', '.join(kinds)}). Use tf.distribute.MirroredStrategy() "
            "for the devices of this machine, or tf.distribute.MultiWorkerMirroredStrategy() for several machines; the "
            "model's code stays the same.") from error


class ParameterServerStrategy(Strategy):
    """Refused: there are no parameter servers here; the error names the alternative."""

    def __init__(self, cluster_resolver=None, variable_partitioner=None):
        raise NotImplementedError(
            "ParameterServerStrategy trains asynchronously with parameter servers, which do not exist here. Use "
            "tf.distribute.MultiWorkerMirroredStrategy(): all workers in step, no servers, the same model code; for a "
            "model that does not fit on one device, tf.keras.distribution.ModelParallel.")


class ClusterCoordinator:
    """Refused: it drives parameter servers; the error names the alternative."""

    def __init__(self, strategy):
        raise NotImplementedError(
            "ClusterCoordinator schedules steps on workers with parameter servers, which do not exist here. Use "
            "tf.distribute.MultiWorkerMirroredStrategy(): every worker runs the script itself.")


class Server:
    """Refused: workers talk without TensorFlow's servers; the error names the alternative."""

    def __init__(self, server_or_cluster_def, job_name=None, task_index=None, protocol=None, config=None, start=True):
        raise NotImplementedError(
            "There are no servers to start: a tf.distribute.MultiWorkerMirroredStrategy() in each worker is enough. An "
            "evaluator runs as a plain process.")


class CentralStorageStrategy(Strategy):
    """Refused: variables are not kept on the host; the error names the alternative."""

    def __init__(self, compute_devices=None, parameter_device=None):
        raise NotImplementedError(
            "CentralStorageStrategy keeps variables on the host and copies them each step, which does not exist here. "
            "Use tf.distribute.MirroredStrategy(); MirroredStrategy(shard_optimizer=True) saves memory.")
