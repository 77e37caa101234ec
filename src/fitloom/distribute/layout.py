# SPDX-License-Identifier: Apache-2.0
"""`keras.distribution`: meshes of devices, and layouts of variables and data on them."""
import collections.abc
import math
import os
import re

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fitloom import engine
from fitloom.distribute.multi_worker import join_cluster
from fitloom.distribute.strategy import Strategy, StrategyExtended, experimental_set_strategy, get_strategy
from fitloom.engine import devices as devices_of_engine
from fitloom.engine.placement import Placement


def list_devices(device_type=None):
    """Return the names of all devices of the cluster, such as ['cpu:0', 'cpu:1']; of one type if given."""
    kinds = {"gpu": "gpu", "cuda": "gpu", "rocm": "gpu"}
    if device_type is not None and device_type.lower() == "cpu":
        found = jax.devices("cpu")
    else:
        found = jax.devices()
        if device_type is not None:
            found = [d for d in found if kinds.get(d.platform, d.platform) == device_type.lower()]
    return [f"{kinds.get(d.platform, d.platform)}:{d.id}" for d in found]


def get_device_count(device_type=None):
    """Return the number of devices of the cluster, of one type if given."""
    return len(list_devices(device_type))


def initialize(job_addresses=None, num_processes=None, process_id=None):
    """Join a cluster of processes; arguments not given come from KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES, ...

    Args:
        job_addresses: 'host:port' of all processes, joined by commas, or of the first alone.
        num_processes: how many there are.
        process_id: number of this one, from 0.
    """
    environment = os.environ.get
    job_addresses = job_addresses or environment("KERAS_DISTRIBUTION_JOB_ADDRESSES")
    num_processes = num_processes or environment("KERAS_DISTRIBUTION_NUM_PROCESSES")
    process_id = environment("KERAS_DISTRIBUTION_PROCESS_ID") if process_id is None else process_id
    if not job_addresses:
        raise ValueError("initialize() needs the address of the first process: job_addresses='host:port'.")
    addresses = [part.strip() for part in job_addresses.split(",")]
    count = int(num_processes or len(addresses))
    if len(addresses) == 1:
        host = addresses[0].rpartition(":")[0]
        addresses += [f"{host}:{i}" for i in range(1, count)]           # names only: nobody connects there
    if len(addresses) != count:
        raise ValueError(f"job_addresses lists {len(addresses)} processes, but num_processes is {count}.")
    if process_id is None:
        raise ValueError("initialize() needs the number of this process: process_id=0 to num_processes - 1.")
    if count > 1:
        join_cluster(addresses, int(process_id))


class DeviceMesh:
    """Devices arranged in a grid whose axes have names.

    Args:
        shape: sizes of the axes.
        axis_names: their names, such as ['batch', 'model'].
        devices: names such as 'cpu:0', as many as the grid has places; None for all devices.

    Raises:
        ValueError: sizes, names and devices do not fit together.
    """

    def __init__(self, shape, axis_names, devices=None):
        if not shape or not axis_names:
            raise ValueError(f"Shape and axis_names cannot be empty. Received: shape={shape}, axis_names={axis_names}")
        if len(shape) != len(axis_names):
            raise ValueError("Shape and axis_names should have same size. "
                             f"Received: shape={shape}, axis_names={axis_names}")
        devices = list_devices() if devices is None else devices
        devices = np.array(devices).flatten()
        if math.prod(shape) != len(devices):
            raise ValueError(f"Shape does not match the number of devices. Received: shape={tuple(shape)}; "
                             f"{len(devices)} devices: {', '.join(map(str, devices[:8]))}.")
        self._shape, self._axis_names, self._devices = tuple(shape), list(axis_names), devices.reshape(shape)

    shape = property(lambda self: self._shape, doc="Sizes of the axes.")
    axis_names = property(lambda self: self._axis_names, doc="Names of the axes.")
    devices = property(lambda self: self._devices, doc="Array of device names in the mesh's shape.")

    @property
    def backend_mesh(self):
        """The jax.sharding.Mesh."""
        if "_mesh" not in self.__dict__:
            known = dict(zip(list_devices(), jax.devices()))
            found = [name if isinstance(name, jax.Device) else known.get(str(name).lower())
                     or devices_of_engine.jax_device(name) for name in self._devices.flat]
            self._mesh = Mesh(np.array(found, object).reshape(self._shape), tuple(self._axis_names))
        return self._mesh

    def __repr__(self):
        return f"<DeviceMesh shape={self.shape}, axis_names={self.axis_names}>"


class TensorLayout:
    """Along which mesh axis each axis of a tensor is split; None for not split.

    Args:
        axes: one mesh axis name (or None) for each axis of the tensor.
        device_mesh: the mesh; a LayoutMap fills it in.

    Raises:
        ValueError: an axis that the mesh does not have.
    """

    def __init__(self, axes, device_mesh=None):
        self._axes, self._device_mesh = tuple(axes), device_mesh
        self._check()

    def _check(self):
        if self._device_mesh is not None:
            unknown = sorted({a for a in self._axes if a} - set(self._device_mesh.axis_names))
            if unknown:
                raise ValueError("Invalid axis names for Layout. Valid axis names: "
                                 f"{self._device_mesh.axis_names}, Got {unknown}")

    axes = property(lambda self: self._axes, doc="Mesh axis for each axis of the tensor.")

    @property
    def device_mesh(self):
        """The mesh."""
        return self._device_mesh

    @device_mesh.setter
    def device_mesh(self, device_mesh):
        if self._device_mesh is not None:
            raise ValueError(f"Cannot override device mesh value. Existing value is {self._device_mesh}")
        self._device_mesh = device_mesh
        self._check()

    @property
    def backend_layout(self):
        """The jax NamedSharding."""
        if self._device_mesh is None:
            raise ValueError("Cannot create sharding when device mesh is not set for TensorLayout.")
        return NamedSharding(self._device_mesh.backend_mesh, PartitionSpec(*self._axes))

    def __repr__(self):
        return f"<TensorLayout axes={self.axes}, device_mesh={self.device_mesh}>"


class LayoutMap(collections.abc.MutableMapping):
    """Layouts by variable path: a key is a path or a regular expression found in it.

    Args:
        device_mesh: the mesh of all layouts.

    Example:
        >>> import fitloom as tf
        >>> mesh = tf.keras.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
        >>> layouts = tf.keras.distribution.LayoutMap(mesh)
        >>> layouts["dense.*kernel"] = (None, "model")
        >>> layouts["dense_1/kernel"].axes
        (None, 'model')
    """

    def __init__(self, device_mesh):
        self._map, self._device_mesh = {}, device_mesh

    def __getitem__(self, key):
        if key in self._map:
            return self._map[key]
        found = [pattern for pattern in self._map if re.search(pattern, key)]
        if len(found) > 1:
            raise ValueError(f"Path '{key}' matches multiple layout specification keys: {found}. Please make sure each "
                             "tensor/variable path only matches at most one layout specification key in the LayoutMap.")
        return self._map[found[0]] if found else None

    def __setitem__(self, key, layout):
        if key in self._map:
            raise ValueError(f"{key} already exist in the LayoutMap with value {self._map[key]}. Please make sure to "
                             "not use duplicated keys.")
        if isinstance(layout, tuple):
            layout = TensorLayout(axes=layout)
        if not isinstance(layout, TensorLayout):
            raise ValueError(f"{layout} should be a TensorLayout type, got {type(layout)}")
        if layout.device_mesh is None and self._device_mesh is not None:
            layout.device_mesh = self._device_mesh
        self._map[key] = layout

    def __delitem__(self, key):
        del self._map[key]

    def __len__(self):
        return len(self._map)

    def __iter__(self):
        return iter(self._map)

    @property
    def device_mesh(self):
        """The mesh of all layouts."""
        return self._device_mesh


class Distribution(Strategy):
    """Base of DataParallel and ModelParallel: where variables and data lie.

    Args:
        device_mesh: the mesh.
        batch_dim_name: its axis along which batches are split.
        auto_shard_dataset: whether each process of a cluster takes its part of a dataset by itself.
    """

    def __init__(self, device_mesh, batch_dim_name=None, auto_shard_dataset=True):
        self._device_mesh = device_mesh
        self.batch_dim_name = batch_dim_name or device_mesh.axis_names[0]
        if self.batch_dim_name not in device_mesh.axis_names:
            raise ValueError(f"batch_dim_name '{self.batch_dim_name}' is no axis of the mesh: "
                             f"{device_mesh.axis_names}.")
        self._auto_shard_dataset = auto_shard_dataset
        mesh = device_mesh.backend_mesh
        placement = Placement(mesh, self.batch_dim_name, self._layout_of) if mesh.size > 1 else None
        if placement is not None and placement.across:
            Placement.cluster = placement
        super().__init__(StrategyExtended(self, [str(d) for d in device_mesh.devices.flat], placement))

    device_mesh = property(lambda self: self._device_mesh, doc="The mesh.")
    auto_shard_dataset = property(lambda self: self._auto_shard_dataset,
                                  doc="Whether processes split datasets by themselves.")

    def _layout_of(self, variable, shape):
        """Return a variable's PartitionSpec, or None for whole copies."""
        if not getattr(variable, "path", None):
            return None
        layout = self.get_variable_layout(variable)
        if layout is None or not any(layout.axes):
            return None
        return PartitionSpec(*layout.axes)

    def get_data_layout(self, data_shape):
        """Return the TensorLayout of a batch of a shape."""
        return TensorLayout([self.batch_dim_name] + [None] * (len(data_shape) - 1), self._device_mesh)

    def get_variable_layout(self, variable):
        """Return a variable's TensorLayout."""
        return TensorLayout([None] * len(variable.shape), self._device_mesh)

    def get_tensor_layout(self, path):
        """Return the layout of a layer's output, or None: XLA's partitioner decides."""
        return

    def distribute_dataset(self, dataset):
        """Return what this process reads of a dataset; `fit` does this by itself."""
        from fitloom.distribute import inputs

        return inputs.between_workers(self, dataset) if self._auto_shard_dataset else dataset

    distribute_tf_dataset = distribute_dataset


class DataParallel(Distribution):
    """Whole copies of all variables, batches split over all devices.

    Args:
        device_mesh: a mesh of one axis; or
        devices: names of devices; by default all.
        auto_shard_dataset: as in Distribution.
    """

    def __init__(self, device_mesh=None, devices=None, auto_shard_dataset=True):
        if device_mesh is None:
            found = np.array(list_devices() if devices is None else devices).flatten()
            device_mesh = DeviceMesh((len(found),), ["batch"], found)
        elif len(device_mesh.shape) != 1:
            raise ValueError(f"DataParallel needs a mesh of one axis, but received {device_mesh}. For two, use "
                             "ModelParallel.")
        super().__init__(device_mesh, None, auto_shard_dataset)


class ModelParallel(Distribution):
    """Variables split as a LayoutMap says, batches along one axis of the mesh.

    Args:
        layout_map: the LayoutMap; variables it does not name are whole on every device.
        batch_dim_name: axis of the mesh for batches; by default the first.
        auto_shard_dataset: as in Distribution.
    """

    def __init__(self, *, layout_map=None, batch_dim_name=None, auto_shard_dataset=True, **kwargs):
        kwargs.pop("device_mesh", None)
        if kwargs:
            raise TypeError(f"ModelParallel got unknown arguments: {', '.join(kwargs)}.")
        if not isinstance(layout_map, LayoutMap):
            raise ValueError(f"ModelParallel needs a LayoutMap, but received layout_map={layout_map!r}.")
        self._layout_map = layout_map
        super().__init__(layout_map.device_mesh, batch_dim_name, auto_shard_dataset)

    def get_variable_layout(self, variable):
        """Return a variable's TensorLayout: what the map has for its path, else not split."""
        layout = self._layout_map[variable.path]
        if layout is None:
            return super().get_variable_layout(variable)
        sizes = dict(zip(self._device_mesh.axis_names, self._device_mesh.shape))
        if len(layout.axes) != len(variable.shape):
            raise ValueError(f"The layout {layout.axes} has {len(layout.axes)} axes, but variable '{variable.path}' "
                             f"has shape {tuple(variable.shape)}.")
        for axis, name in enumerate(layout.axes):
            if name is not None and variable.shape[axis] % sizes[name]:
                raise ValueError(f"Variable '{variable.path}' of shape {tuple(variable.shape)} cannot be split along "
                                 f"axis {axis} over the {sizes[name]} devices of mesh axis '{name}'.")
        return layout

    def get_tensor_layout(self, path):
        """Return what the map has for a path, or None."""
        return self._layout_map[path]


def distribute_tensor(tensor, layout):
    """Return a tensor laid out as a TensorLayout says; inside a program as a hint to XLA's partitioner."""
    sharding = layout.backend_layout if isinstance(layout, TensorLayout) else layout
    tensor = engine.convert_to_tensor(tensor)
    if tensor.is_symbolic:
        return engine.Tensor(jax.lax.with_sharding_constraint(tensor.array, sharding))
    return engine.Tensor(jax.device_put(tensor.array, sharding))


def distribution():
    """Return the distribution in effect, or None."""
    found = get_strategy()
    return found if isinstance(found, Distribution) else None


def set_distribution(value):
    """Put a distribution in effect for the rest of the program; None for one device."""
    if value is not None and not isinstance(value, Distribution):
        raise ValueError(f"set_distribution needs a DataParallel, a ModelParallel or None, but received "
                         f"{type(value).__name__}.")
    experimental_set_strategy(value)
