# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.tree`: nested structures of lists, tuples and dicts (by sorted key)."""
import warnings

from fitloom.base import nest as _nest
from fitloom.base.nest import MAP_TO_NONE as MAP_TO_NONE
from fitloom.base.nest import assert_same_paths as assert_same_paths
from fitloom.base.nest import flatten as flatten
from fitloom.base.nest import flatten_with_paths as flatten_with_path
from fitloom.base.nest import is_nested as is_nested
from fitloom.base.nest import map_structure as map_structure
from fitloom.base.nest import map_structure_up_to as map_structure_up_to
from fitloom.base.nest import pack_sequence_as as pack_sequence_as
from fitloom.base.nest import traverse as traverse

__all__ = ["MAP_TO_NONE", "assert_same_paths", "assert_same_structure", "flatten", "flatten_with_path", "is_nested",
           "lists_to_tuples", "map_shape_structure", "map_structure", "map_structure_up_to", "pack_sequence_as",
           "traverse"]


def assert_same_structure(a, b, check_types=None):
    """Raise ValueError unless both nest alike, in containers of the same kinds (every kind of dict is one)."""
    if check_types is not None:
        warnings.warn("`check_types` of keras.tree.assert_same_structure has no effect; for a looser check use "
                      "keras.tree.assert_same_paths.", DeprecationWarning, stacklevel=2)
    try:
        _nest.assert_same_structure(a, b)
    except TypeError as error:
        raise ValueError(str(error)) from None


def lists_to_tuples(structure):
    """Return `structure` with every list turned into a tuple."""
    if isinstance(structure, dict):
        return {key: lists_to_tuples(value) for key, value in structure.items()}
    return tuple(lists_to_tuples(x) for x in structure) if isinstance(structure, (list, tuple)) else structure


def map_shape_structure(func, structure):
    """Apply `func` to each shape in a structure of shapes."""
    from fitloom.layers.call_signature import map_shapes

    return map_shapes(func, structure)
