# SPDX-License-Identifier: Apache-2.0
"""Elements of a dataset: nests of tuples and dicts over components, flat and NumPy inside the pipeline.

Unlike `tf.nest`, a list is a component here (it becomes one array), as in tf.data.
"""
import collections.abc as abc

import numpy as np

from fitloom import engine, ops
from fitloom.base import dtypes
from fitloom.base.nest import Composite
from fitloom.base.shapes import TensorShape
from fitloom.engine import TensorSpec

STRING = np.dtype(object)


class Opaque:
    """Base of the components that are not arrays: nested datasets, ragged and sparse tensors carry their own spec."""


class NoneTensorSpec:
    """Spec of a component that is None in every element."""

    shape, dtype = TensorShape(None), None

    def _batch(self, dimension):
        return self

    def __eq__(self, other):
        return isinstance(other, NoneTensorSpec)

    def __hash__(self):
        return hash(NoneTensorSpec)

    def __repr__(self):
        return "NoneTensorSpec()"


class _Absent(Opaque):
    """The component None."""

    _type_spec = NoneTensorSpec()

    def _as_user_value(self):
        return None


ABSENT = _Absent()


def is_nested(value) -> bool:
    """Whether `value` is a tuple or mapping rather than one component."""
    return isinstance(value, (tuple, Composite, abc.Mapping))


def _keys(mapping):
    try:
        return sorted(mapping)
    except TypeError:
        return list(mapping)


def flatten(structure) -> list:
    """Return the components in order; dicts by sorted key."""
    if isinstance(structure, tuple):
        if not any(is_nested(c) for c in structure):
            return list(structure)
        return [leaf for child in structure for leaf in flatten(child)]
    if isinstance(structure, abc.Mapping):
        return [leaf for key in _keys(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, Composite):
        return [leaf for part in structure.parts() for leaf in flatten(part)]
    return [structure]


def pack(structure, flat):
    """Return `structure` with its components replaced, in order, by the items of `flat`."""
    return packer(structure)(flat)


def packer(structure):
    """Return a function flat -> structure; made once, called for each element."""
    if not is_nested(structure):
        return lambda flat: flat[0]
    if type(structure) is tuple and not any(is_nested(c) for c in structure):
        return tuple
    return lambda flat: _pack(structure, iter(flat))


def _pack(structure, values):
    if isinstance(structure, Composite):
        return structure.with_parts([_pack(part, values) for part in structure.parts()])
    if isinstance(structure, abc.Mapping):
        by_key = {key: _pack(structure[key], values) for key in _keys(structure)}
        ordered = [(key, by_key[key]) for key in structure]
        return dict(ordered) if type(structure) is dict else _mapping(structure, ordered)
    if isinstance(structure, tuple):
        children = [_pack(child, values) for child in structure]
        return type(structure)(*children) if hasattr(structure, "_fields") else tuple(children)
    return next(values)


def _mapping(structure, items):
    if hasattr(structure, "default_factory"):
        return type(structure)(structure.default_factory, items)
    try:
        return type(structure)(items)
    except TypeError:
        return dict(items)


def map_structure(function, *structures):
    """Apply `function` to corresponding components; the result nests like the first argument."""
    flats = [flatten(s) for s in structures]
    first = len(flats[0])
    for flat in flats[1:]:
        if len(flat) != first:
            raise ValueError(f"The structures do not nest alike: {outline(structures[0])} and "
                             f"{outline(structures[1])}.")
    return pack(structures[0], [function(*leaves) for leaves in zip(*flats)])


def outline(structure) -> str:
    """Describe a structure for an error message, components as their spec."""
    text = str(map_structure(lambda leaf: leaf if isinstance(leaf, (TensorSpec, type)) else "*", structure))
    return text if len(text) < 300 else text[:300] + "..."


# ---------------------------------------------------------------- components
def to_numpy(value, dtype=None):
    """Return one component as NumPy (opaque ones as they are), with tf.constant's dtypes; strings as bytes objects.

    NumPy arrays are not copied. `dtype` (NumPy's) is what a Python value becomes and an array must have.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind not in "USOVM" and not isinstance(value, np.ma.MaskedArray):
        return value if dtype is None or value.dtype == dtype else _cast(value, dtype)
    if value is None:
        return ABSENT
    if is_opaque(value):
        return value
    if isinstance(value, engine.Tensor):
        value = np.asarray(value.array)
        return value if dtype is None or value.dtype == dtype else _cast(value, dtype)
    if isinstance(value, np.generic) and value.dtype.kind not in "USO":
        return value if dtype is None or value.dtype == dtype else _cast(value, dtype)
    if hasattr(value, "is_variable") and isinstance(value, engine.Variable):
        return to_numpy(value.numpy(), dtype)
    if isinstance(value, list) and any(engine.is_tensor(item) for item in value):
        return np.stack([to_numpy(item, dtype) for item in value])
    if hasattr(value, "iloc"):                              # pandas
        value = value.to_numpy()
        return to_numpy(value if value.dtype.kind != "O" else engine.host_array(value), dtype)
    return engine.host_array(value, None if dtype is None else dtypes.as_dtype(dtype))


def _cast(array, dtype):
    if dtype == STRING or array.dtype.kind == "O" or (array.dtype.kind in "fc" and dtype.kind in "iub"):
        raise TypeError(f"Cannot use values of dtype {dtypes.name_of(array.dtype)} where "
                        f"{dtypes.name_of(dtype)} was declared.")
    return np.asarray(array).astype(dtype)


def strings(values) -> np.ndarray:
    """Return an object array of bytes from str or bytes objects."""
    return engine.host_array(np.asarray(values, dtype=object), dtypes.string)


def is_opaque(value) -> bool:
    """Whether a component is no plain array: a nested dataset, a ragged or a sparse tensor."""
    return isinstance(value, (Opaque, ops.RaggedTensor, ops.SparseTensor)) or hasattr(value, "_type_spec")


def to_tensor(component):
    """Wrap one component for the user."""
    if isinstance(component, (np.ndarray, np.generic)):
        return engine.Tensor(component)
    if isinstance(component, Opaque) and hasattr(component, "_as_user_value"):
        return component._as_user_value()
    return component


def result_of(value):
    """Return what a user function gave: a list is a tuple there, as in TensorFlow; lists inside become components."""
    return listed(tuple(value) if isinstance(value, list) else value)


def listed(value):
    """Return what a user function gave with its lists as components: [a, b] is one stacked tensor, as in TensorFlow."""
    if isinstance(value, list):
        if any(is_opaque(item) for item in value):
            return tuple(value)
        return to_numpy(value) if not any(engine.is_tensor(item) for item in value) else _stacked(value)
    if is_nested(value) and any(isinstance(leaf, list) for leaf in flatten(value)):
        return map_structure(listed, value)
    return value


def _stacked(value):
    return engine.convert_to_tensor(value)


def split(value):
    """Return (structure, flat NumPy components) of anything a user function or source gives."""
    if not is_nested(value):
        return value, (to_numpy(value),)
    return value, tuple([to_numpy(leaf) for leaf in flatten(value)])


def skeleton(value):
    """Return the nesting of a value with its components dropped, to compare and to pack again."""
    return map_structure(lambda _: None, value) if is_nested(value) else None


# ---------------------------------------------------------------- specs
def spec_of(component):
    """Return the spec of one component."""
    if isinstance(component, ops.RaggedTensor):
        return ops.RaggedTensorSpec(component.shape, component.dtype, component.ragged_rank, component.row_splits.dtype)
    if isinstance(component, ops.SparseTensor):
        return ops.SparseTensorSpec(component.shape, component.dtype)
    found = getattr(component, "_type_spec", None)
    if found is not None:
        return found
    array = component if isinstance(component, (np.ndarray, np.generic)) else np.asarray(component)
    return TensorSpec(array.shape, dtypes.as_dtype(array.dtype))


def unify(first, second):
    """Return the most specific spec that both components fit."""
    if first is None or second is None:
        return first if second is None else second
    if not isinstance(first, TensorSpec) or not isinstance(second, TensorSpec):
        return first
    if first.dtype != second.dtype:
        raise TypeError(f"Components differ in dtype: {first.dtype.name} and {second.dtype.name}.")
    return TensorSpec(first.shape.most_specific_compatible_shape(second.shape), first.dtype)


def with_leading(spec, dimension):
    """Return the spec of a batch of `spec` with `dimension` (None: unknown) rows."""
    if isinstance(spec, TensorSpec):
        if spec.shape.rank is None:
            return TensorSpec(None, spec.dtype)
        return TensorSpec(TensorShape([dimension]).concatenate(spec.shape), spec.dtype)
    if isinstance(spec, ops.RaggedTensorSpec):
        return ops.RaggedTensorSpec(TensorShape([dimension]).concatenate(spec.shape), spec.dtype, spec.ragged_rank + 1,
                                    spec.row_splits_dtype)
    if isinstance(spec, ops.SparseTensorSpec):
        return ops.SparseTensorSpec(TensorShape([dimension]).concatenate(spec.shape), spec.dtype)
    batched = getattr(spec, "_batch", None)
    if batched is None:
        raise TypeError(f"Components of type {type(spec).__name__} cannot be batched.")
    return batched(dimension)


def without_leading(spec):
    """Return the spec of one row of `spec`."""
    if isinstance(spec, TensorSpec):
        if spec.shape.rank is None:
            return spec
        if spec.shape.rank == 0:
            raise ValueError("Cannot unbatch a scalar: every component needs a leading axis.")
        return TensorSpec(spec.shape[1:], spec.dtype)
    if isinstance(spec, ops.RaggedTensorSpec):
        return ops.RaggedTensorSpec(spec.shape[1:], spec.dtype, spec.ragged_rank - 1, spec.row_splits_dtype)
    if isinstance(spec, ops.SparseTensorSpec):
        return ops.SparseTensorSpec(spec.shape[1:], spec.dtype)
    raise TypeError(f"Components of type {type(spec).__name__} cannot be unbatched.")


def leading(spec):
    """Return the size of a spec's first axis, or None."""
    if isinstance(spec, TensorSpec):
        return spec.shape[0] if spec.shape.rank else None
    return None


def check(component, spec, who):
    """Raise unless `component` fits `spec`."""
    if not isinstance(spec, TensorSpec) or not isinstance(component, (np.ndarray, np.generic)):
        return
    if not spec.shape.is_compatible_with(component.shape):
        raise ValueError(f"{who} has shape {tuple(component.shape)}, but shape {spec.shape} was declared.")
