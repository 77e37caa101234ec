# SPDX-License-Identifier: Apache-2.0
"""`tf.config`."""
import types as _types

from fitloom.distribute.mirrored import (
    connect_to_cluster as experimental_connect_to_cluster,
    connect_to_cluster as experimental_connect_to_host,
)
from fitloom.engine.context import (
    functions_run_eagerly as functions_run_eagerly,
    run_functions_eagerly as run_functions_eagerly,
)
from fitloom.engine.devices import (
    LogicalDevice as LogicalDevice,
    LogicalDeviceConfiguration as LogicalDeviceConfiguration,
    PhysicalDevice as PhysicalDevice,
    get_device_details as _get_device_details,
    get_logical_device_configuration as get_logical_device_configuration,
    get_memory_info as _get_memory_info,
    get_visible_devices as get_visible_devices,
    list_logical_devices as list_logical_devices,
    list_physical_devices as list_physical_devices,
    set_logical_device_configuration as set_logical_device_configuration,
    set_visible_devices as set_visible_devices,
)
from fitloom.engine.settings import (
    get_optimizer_options as _get_xla_options,
    set_jit as _set_jit,
    set_optimizer_options as _set_xla_options,
    enable_op_determinism as _enable_op_determinism,
    get_memory_growth as _get_memory_growth,
    get_soft_device_placement as get_soft_device_placement,
    inter_op_threads as _inter_op_threads,
    intra_op_threads as _intra_op_threads,
    set_inter_op_threads as _set_inter_op_threads,
    set_intra_op_threads as _set_intra_op_threads,
    set_memory_growth as _set_memory_growth,
    set_soft_device_placement as set_soft_device_placement,
)

experimental = _types.SimpleNamespace(
    enable_op_determinism=_enable_op_determinism, get_memory_growth=_get_memory_growth,
    set_memory_growth=_set_memory_growth, list_physical_devices=list_physical_devices,
    list_logical_devices=list_logical_devices, set_visible_devices=set_visible_devices,
    get_visible_devices=get_visible_devices, get_device_details=_get_device_details, get_memory_info=_get_memory_info,
    VirtualDeviceConfiguration=LogicalDeviceConfiguration,
    get_virtual_device_configuration=get_logical_device_configuration,
    set_virtual_device_configuration=set_logical_device_configuration)
threading = _types.SimpleNamespace(
    get_inter_op_parallelism_threads=_inter_op_threads, get_intra_op_parallelism_threads=_intra_op_threads,
    set_inter_op_parallelism_threads=_set_inter_op_threads, set_intra_op_parallelism_threads=_set_intra_op_threads)
optimizer = _types.SimpleNamespace(
    get_experimental_options=_get_xla_options, get_jit=lambda: "autoclustering",
    set_experimental_options=_set_xla_options, set_jit=_set_jit)
experimental_run_functions_eagerly, experimental_functions_run_eagerly = run_functions_eagerly, functions_run_eagerly
