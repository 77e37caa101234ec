# SPDX-License-Identifier: Apache-2.0
"""`tf.distribute`: one program from one device to many machines."""
import types as _types

from fitloom.distribute import (
    cluster_resolver as cluster_resolver,
)
from fitloom.distribute.inputs import (
    DistributedDataset as DistributedDataset,
    DistributedIterator as DistributedIterator,
)
from fitloom.distribute.mirrored import (
    CentralStorageStrategy as _CentralStorageStrategy,
    ClusterCoordinator as _ClusterCoordinator,
    MirroredStrategy as MirroredStrategy,
    OneDeviceStrategy as OneDeviceStrategy,
    ParameterServerStrategy as ParameterServerStrategy,
    Server as Server,
    TPUStrategy as TPUStrategy,
)
from fitloom.distribute.multi_worker import MultiWorkerMirroredStrategy as MultiWorkerMirroredStrategy
from fitloom.distribute.operations import (
    CommunicationImplementation as _CommunicationImplementation,
    CommunicationOptions as _CommunicationOptions,
    CrossDeviceOps as CrossDeviceOps,
    HierarchicalCopyAllReduce as HierarchicalCopyAllReduce,
    InputContext as InputContext,
    InputOptions as InputOptions,
    InputReplicationMode as InputReplicationMode,
    NcclAllReduce as NcclAllReduce,
    ReduceOp as ReduceOp,
    ReductionToOneDevice as ReductionToOneDevice,
    RunOptions as RunOptions,
    ValueContext as _ValueContext,
)
from fitloom.distribute.replicas import ReplicaContext as ReplicaContext
from fitloom.distribute.strategy import (
    Strategy as Strategy,
    StrategyExtended as StrategyExtended,
    experimental_set_strategy as experimental_set_strategy,
    get_replica_context as get_replica_context,
    get_strategy as get_strategy,
    has_strategy as has_strategy,
    in_cross_replica_context as in_cross_replica_context,
    is_chief as is_chief,
)
from fitloom.distribute.values import (
    DistributedValues as DistributedValues,
    PerReplica as PerReplica,
)

coordinator = _types.SimpleNamespace(ClusterCoordinator=_ClusterCoordinator)
experimental = _types.SimpleNamespace(
    coordinator=coordinator,
    CentralStorageStrategy=_CentralStorageStrategy, CollectiveCommunication=_CommunicationImplementation,
    CommunicationImplementation=_CommunicationImplementation, CommunicationOptions=_CommunicationOptions,
    MultiWorkerMirroredStrategy=MultiWorkerMirroredStrategy, ParameterServerStrategy=ParameterServerStrategy,
    TPUStrategy=TPUStrategy, ValueContext=_ValueContext)

__all__ = [
    "CrossDeviceOps", "DistributedDataset", "DistributedIterator", "DistributedValues",
    "HierarchicalCopyAllReduce", "InputContext", "InputOptions", "InputReplicationMode", "MirroredStrategy",
    "MultiWorkerMirroredStrategy", "NcclAllReduce", "OneDeviceStrategy", "ParameterServerStrategy",
    "PerReplica", "ReduceOp", "ReductionToOneDevice", "ReplicaContext", "RunOptions", "Server", "Strategy",
    "StrategyExtended", "TPUStrategy", "cluster_resolver", "coordinator", "experimental",
    "experimental_set_strategy", "get_replica_context", "get_strategy", "has_strategy",
    "in_cross_replica_context", "is_chief",
]
