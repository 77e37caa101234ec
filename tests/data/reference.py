# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious specification of the transformations, on Python lists of elements."""
import numpy as np


def stack(elements):
    if isinstance(elements[0], tuple):
        return tuple(stack([e[i] for e in elements]) for i in range(len(elements[0])))
    return np.stack([np.asarray(e) for e in elements])


def batch(elements, size, drop_remainder=False):
    groups = [elements[i:i + size] for i in range(0, len(elements), size)]
    return [stack(g) for g in groups if len(g) == size or not drop_remainder]


def unbatch(elements):
    out = []
    for element in elements:
        if isinstance(element, tuple):
            out += [tuple(c[i] for c in element) for i in range(len(element[0]))]
        else:
            out += list(element)
    return out


def interleave(elements, function, cycle, block):
    """TensorFlow's order: `cycle` open sequences, `block` elements from each in turn, refilled in place."""
    waiting, slots, out, current, given = list(elements), [None] * cycle, [], 0, 0
    while True:
        if slots[current] is None and waiting:
            slots[current] = list(function(waiting.pop(0)))
            continue
        if slots[current]:
            out.append(slots[current].pop(0))
            given += 1
            if given < block:
                continue
        elif slots[current] is not None:
            slots[current] = None
        current, given = (current + 1) % cycle, 0
        if not waiting and all(s is None for s in slots):
            return out


def window(elements, size, shift, stride, drop_remainder):
    out, start = [], 0
    while start < len(elements):
        found = elements[start:start + (size - 1) * stride + 1:stride]
        if len(found) == size or not drop_remainder:
            out.append(found)
        start += shift
    return out


def same(left, right):
    """Whether two elements are equal in structure, dtype and value."""
    if isinstance(left, tuple) or isinstance(right, tuple):
        return isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right) and all(
            map(same, left, right))
    left, right = np.asarray(left), np.asarray(right)
    return left.dtype == right.dtype and left.shape == right.shape and np.array_equal(left, right)


def assert_same(found, expected):
    assert len(found) == len(expected), (len(found), len(expected), found, expected)
    for position, (a, b) in enumerate(zip(found, expected)):
        assert same(a, b), (position, a, b)
