# SPDX-License-Identifier: Apache-2.0
"""Nested structures of lists, tuples, named tuples, dicts (by sorted key) and attrs-like mappings: `tf.nest`."""
import collections.abc as abc
from collections import deque


class Composite:
    """Base of the values that nest as their parts do (`tf.experimental.ExtensionType`)."""

    def parts(self) -> list:
        """Return what stands inside, in order."""
        raise NotImplementedError

    def with_parts(self, parts):
        """Return the value with other things inside."""
        raise NotImplementedError

    def kind(self):
        """Return what must be equal, beside the number of parts, for two values to nest alike: hashable."""
        return type(self)


def is_nested(structure) -> bool:
    """Whether `structure` is a list, tuple, deque or mapping (or a Composite) rather than a leaf."""
    return isinstance(structure, (list, tuple, Composite, abc.Mapping, deque))


def _is_namedtuple(structure):
    return isinstance(structure, tuple) and hasattr(structure, "_fields")


def sorted_keys(mapping):
    """Return a mapping's keys in the order in which its values are flattened."""
    try:
        return sorted(mapping)
    except TypeError:
        return list(mapping)


def _children(structure):
    if isinstance(structure, abc.Mapping):
        return [structure[k] for k in sorted_keys(structure)]
    return structure.parts() if isinstance(structure, Composite) else list(structure)


def rebuild(structure, children):
    """Return a value that nests like `structure`, one level deep, over `children` in flattened order."""
    if isinstance(structure, Composite):
        return structure.with_parts(children)
    if isinstance(structure, abc.Mapping):
        by_key = dict(zip(sorted_keys(structure), children))
        ordered = [(k, by_key[k]) for k in structure]
        if type(structure) is dict:
            return dict(ordered)
        if hasattr(structure, "default_factory"):
            return type(structure)(structure.default_factory, ordered)
        return type(structure)(ordered) if not hasattr(structure, "_plain_type") else dict(ordered)
    if _is_namedtuple(structure):
        return type(structure)(*children)
    if isinstance(structure, tuple):
        return tuple(children)
    return deque(children, structure.maxlen) if isinstance(structure, deque) else list(children)


def flatten(structure, expand_composites=False) -> list:
    """Return the leaves in order; a leaf alone gives a list of one.

    With `expand_composites`, ragged and sparse tensors and slices are the tensors that they are made of.
    """
    leaves: list = []
    if is_nested(structure):
        _flatten(structure, leaves)
    else:
        leaves.append(structure)
    if not expand_composites:
        return leaves
    return [part for leaf in leaves for part in (leaf.component_tensors() if is_composite(leaf) else [leaf])]


def is_composite(leaf) -> bool:
    """Whether a leaf is made of tensors: a ragged or sparse tensor, or slices."""
    return hasattr(leaf, "component_tensors") and not isinstance(leaf, type)


def _flatten(structure, leaves):
    for child in _children(structure):
        if is_nested(child):
            _flatten(child, leaves)
        else:
            leaves.append(child)


def pack_sequence_as(structure, flat_sequence, expand_composites=False):
    """Return `structure` with its leaves replaced, in order, by the items of `flat_sequence`."""
    flat = list(flat_sequence)
    if expand_composites:
        items, leaves = iter(flat), flatten(structure)
        if len(flatten(structure, expand_composites=True)) != len(flat):
            raise ValueError(f"The structure has {len(flatten(structure, expand_composites=True))} leaves, but "
                             f"{len(flat)} values were given.")
        flat = [leaf.with_component_tensors([next(items) for _ in leaf.component_tensors()]) if is_composite(leaf)
                else next(items) for leaf in leaves]
    if not is_nested(structure):
        if len(flat) != 1:
            raise ValueError(f"The structure is a leaf, but {len(flat)} values were given.")
        return flat[0]
    wanted = len(flatten(structure))
    if wanted != len(flat):
        raise ValueError(f"The structure has {wanted} leaves, but {len(flat)} values were given.")
    return _pack(structure, iter(flat))


def _pack(structure, values):
    return rebuild(structure, [_pack(c, values) if is_nested(c) else next(values) for c in _children(structure)])


def map_structure(func, *structures, **kwargs):
    """Apply `func` to corresponding leaves; the result has the structure of the first argument."""
    kwargs.pop("check_types", None)
    if kwargs.pop("expand_composites", False):
        flats = [flatten(structure, expand_composites=True) for structure in structures]
        return pack_sequence_as(structures[0], [func(*leaves, **kwargs) for leaves in zip(*flats, strict=True)],
                                expand_composites=True)
    first = structures[0]
    for other in structures[1:]:
        assert_same_structure(first, other, check_types=False)
    return _map(func, structures, kwargs)


def _map(func, structures, kwargs):
    first = structures[0]
    if not is_nested(first):
        return func(*structures, **kwargs)
    columns = zip(*[_children(s) for s in structures])
    return rebuild(first, [_map(func, column, kwargs) for column in columns])


def map_structure_up_to(shallow, func, *structures, **kwargs):
    """Like `map_structure`, but go only as deep as `shallow` does."""
    if not is_nested(shallow):
        return func(*structures, **kwargs)
    columns = zip(_children(shallow), *[_children(s) for s in structures])
    return rebuild(shallow, [map_structure_up_to(c[0], func, *c[1:], **kwargs) for c in columns])


def flatten_up_to(shallow, structure):
    """Return the parts of `structure` that stand where `shallow` has leaves."""
    if not is_nested(shallow):
        return [structure]
    if not is_nested(structure) or len(_children(shallow)) != len(_children(structure)):
        raise ValueError(f"The structures do not match: {_outline(shallow)} and {_outline(structure)}.")
    return [x for a, b in zip(_children(shallow), _children(structure)) for x in flatten_up_to(a, b)]


def flatten_with_paths(structure, prefix=()):
    """Return (path, leaf) pairs; a path is a tuple of keys and positions."""
    if not is_nested(structure):
        return [(prefix, structure)]
    if isinstance(structure, abc.Mapping):
        items = [(k, structure[k]) for k in sorted_keys(structure)]
    elif _is_namedtuple(structure):
        items = list(zip(structure._fields, structure))
    else:
        items = list(enumerate(_children(structure)))
    return [pair for key, child in items for pair in flatten_with_paths(child, prefix + (key,))]


def assert_same_structure(nest1, nest2, check_types=True, expand_composites=False):
    """Raise ValueError (or TypeError for differing sequence types) unless both nest alike."""
    a, b = nest1, nest2
    if is_nested(a) != is_nested(b):
        raise ValueError(f"The two structures do not nest alike: {_outline(a)} and {_outline(b)}.")
    if not is_nested(a):
        return
    if not check_types and _is_namedtuple(a) != _is_namedtuple(b) and (
            isinstance(a, abc.Mapping) or isinstance(b, abc.Mapping)):
        a, b = (each._asdict() if _is_namedtuple(each) else each for each in (a, b))      # names count, not the kind
    if isinstance(a, abc.Mapping) != isinstance(b, abc.Mapping) or (
            check_types and not isinstance(a, abc.Mapping) and type(a) is not type(b)):
        raise TypeError(f"The two structures have different types: {_outline(a)} and {_outline(b)}.")
    if isinstance(a, abc.Mapping) and set(a) != set(b):
        raise ValueError(f"The two structures have different keys: {sorted_keys(a)} and {sorted_keys(b)}.")
    ours, theirs = _children(a), _children(b)
    if len(ours) != len(theirs):
        raise ValueError(f"The two structures have different lengths: {_outline(a)} and {_outline(b)}.")
    for x, y in zip(ours, theirs):
        assert_same_structure(x, y, check_types)


MAP_TO_NONE = type("MapToNone", (), {"__repr__": lambda self: "MAP_TO_NONE"})()     # `traverse` puts None there


def traverse(func, structure, top_down=True):
    """Visit every part of `structure`, itself included, depth first, and return what stands there afterwards.

    Args:
        func: is given each part. None leaves it; MAP_TO_NONE puts None in its place; anything else takes its place.
        top_down: parts before what is in them (which is visited only where `func` returned None), or after.

    Example:
        >>> traverse(lambda x: sum(x) if isinstance(x, tuple) else None, [(1, 2), 3])
        [3, 3]
    """
    if not callable(func):
        raise TypeError(f"traverse(func, structure) expected a function first. Received: func={func!r}")
    if top_down:
        found = func(structure)
        if found is not None:
            return None if found is MAP_TO_NONE else found
    if is_nested(structure):
        structure = rebuild(structure, [traverse(func, child, top_down) for child in _children(structure)])
    if top_down:
        return structure
    found = func(structure)
    return structure if found is None else None if found is MAP_TO_NONE else found


def assert_same_paths(a, b):
    """Raise ValueError unless both have leaves at the same keys and positions; kinds of containers may differ."""
    ours, theirs = (_positions(each, ()) for each in (a, b))
    if ours != theirs:
        raise ValueError("The two structures don't have the same paths: "
                         f"only the first has {sorted(map(repr, ours - theirs))}, "
                         f"only the second has {sorted(map(repr, theirs - ours))}.")


def _positions(structure, prefix):
    """The set of the paths of leaves; a named tuple counts by position."""
    if not is_nested(structure):
        return {prefix}
    keys = sorted_keys(structure) if isinstance(structure, abc.Mapping) else range(len(_children(structure)))
    return {path for key, child in zip(keys, _children(structure)) for path in _positions(child, (*prefix, key))}


def _outline(structure):
    """A structure with its leaves replaced by dots, for error messages."""
    text = str(_map(lambda _: "*", (structure,), {})).replace("'*'", ".")
    return text if len(text) < 200 else text[:200] + "..."
