# SPDX-License-Identifier: Apache-2.0
"""Names that say how values are combined and how inputs are read."""
import enum
from typing import NamedTuple


class ReduceOp(enum.Enum):
    """How the values of several replicas become one: SUM or MEAN."""

    SUM = "SUM"
    MEAN = "MEAN"


def reduce_op(value) -> ReduceOp:
    """Return a ReduceOp for itself or its name in any case.

    Raises:
        ValueError: neither.
    """
    if isinstance(value, ReduceOp):
        return value
    name = str(value).upper()
    if name not in ReduceOp.__members__:
        raise ValueError(f"A reduction is tf.distribute.ReduceOp.SUM or MEAN (or 'sum', 'mean'), but received "
                         f"{value!r}.")
    return ReduceOp[name]


class CrossDeviceOps:
    """Accepted for TensorFlow's sake: XLA chooses how devices exchange values (NCCL, ICI, or memory)."""

    def __init__(self, num_packs=1):
        if not isinstance(num_packs, int) or num_packs < 0:
            raise ValueError(f"num_packs must be an integer >= 0, but received {num_packs!r}.")
        self.num_packs = num_packs


class NcclAllReduce(CrossDeviceOps):
    """Accepted; on NVIDIA GPUs XLA uses NCCL anyway."""


class HierarchicalCopyAllReduce(CrossDeviceOps):
    """Accepted; XLA chooses the algorithm."""


class ReductionToOneDevice(CrossDeviceOps):
    """Accepted; XLA chooses the algorithm."""

    def __init__(self, reduce_to_device=None, accumulation_fn=None):
        super().__init__()
        self.reduce_to_device, self.accumulation_fn = reduce_to_device, accumulation_fn


def check_cross_device_ops(value):
    """Raise unless `value` is None or a CrossDeviceOps."""
    if value is not None and not isinstance(value, CrossDeviceOps):
        raise TypeError(f"cross_device_ops must be a tf.distribute.CrossDeviceOps or None, but received "
                        f"{type(value).__name__}.")


class CommunicationImplementation(enum.Enum):
    """Accepted; XLA uses Gloo on CPUs and NCCL on GPUs."""

    AUTO = "AUTO"
    RING = "RING"
    NCCL = "NCCL"


class CommunicationOptions(NamedTuple):
    """How workers talk. `timeout_seconds`: silence after which a worker counts as lost (default 60)."""

    bytes_per_pack: int = 0
    timeout_seconds: float | None = None
    implementation: CommunicationImplementation = CommunicationImplementation.AUTO


class InputReplicationMode(enum.Enum):
    """How often the function of `distribute_datasets_from_function` is called: once in each worker."""

    PER_WORKER = "PER_WORKER"
    PER_REPLICA = "PER_REPLICA"


class InputOptions(NamedTuple):
    """Accepted options of distributed inputs; batches are always fetched to the devices ahead of time."""

    experimental_fetch_to_device: bool | None = None
    experimental_replication_mode: InputReplicationMode = InputReplicationMode.PER_WORKER
    experimental_place_dataset_on_device: bool = False
    experimental_per_replica_buffer_size: int = 1


class RunOptions(NamedTuple):
    """Accepted options of `Strategy.run`."""

    experimental_enable_dynamic_batch_size: bool = True
    experimental_bucketizing_dynamic_shape: bool = False
    experimental_xla_options: object = None


class InputContext:
    """What a dataset function is told: which input pipeline of how many, and how many replicas there are.

    Args:
        num_input_pipelines: workers that read data.
        input_pipeline_id: number of this one.
        num_replicas_in_sync: replicas in all workers together.
    """

    def __init__(self, num_input_pipelines=1, input_pipeline_id=0, num_replicas_in_sync=1):
        self._pipelines, self._pipeline, self._replicas = num_input_pipelines, input_pipeline_id, num_replicas_in_sync

    num_input_pipelines = property(lambda self: self._pipelines, doc="Workers that read data.")
    input_pipeline_id = property(lambda self: self._pipeline, doc="Number of this worker.")
    num_replicas_in_sync = property(lambda self: self._replicas, doc="Replicas in all workers together.")

    def get_per_replica_batch_size(self, global_batch_size):
        """Return global_batch_size / num_replicas_in_sync.

        Raises:
            ValueError: it does not divide.
        """
        if global_batch_size % self._replicas:
            raise ValueError(f"The global batch size {global_batch_size} is not divisible by {self._replicas} "
                             "replicas.")
        return global_batch_size // self._replicas

    def __repr__(self):
        return f"tf.distribute.InputContext(input pipeline id {self._pipeline}, total: {self._pipelines})"


class ValueContext(NamedTuple):
    """What the function of `experimental_distribute_values_from_function` is told."""

    replica_id_in_sync_group: int = 0
    num_replicas_in_sync: int = 1
