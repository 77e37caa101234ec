# SPDX-License-Identifier: Apache-2.0
"""`keras.tree`: what stands where in nested structures."""
from collections import deque, namedtuple

import pytest

import fitloom as tf

tree = tf.keras.tree


def test_traverse_visits_parents_before_or_after_what_is_in_them():
    structure = [(1, 2), {"a": 4}]
    for top_down, expected in ((True, [structure, (1, 2), 1, 2, {"a": 4}, 4]),
                               (False, [1, 2, (1, 2), 4, {"a": 4}, structure])):
        seen = []
        assert tree.traverse(seen.append, structure, top_down=top_down) == structure
        assert seen == expected
    assert tree.traverse(lambda x: tree.MAP_TO_NONE if x == 2 else None, structure) == [(1, None), {"a": 4}]
    with pytest.raises(TypeError, match="function"):
        tree.traverse(1, structure)


def test_deques_nest_and_keep_their_kind():
    found = tree.map_structure(lambda x: x + 1, deque([1, [2]], maxlen=5))
    assert found == deque([2, [3]]) and found.maxlen == 5
    assert tree.flatten([deque([]), 1]) == [1]


def test_same_paths_and_same_structure():
    Point = namedtuple("Point", "x y")
    tree.assert_same_paths([0, 1], Point(2, 3))
    with pytest.raises(ValueError, match="same paths"):
        tree.assert_same_paths([0, 1], [0, [1]])
    with pytest.raises(ValueError, match="types"):
        tree.assert_same_structure(a=[0], b=(0,))
    with pytest.warns(DeprecationWarning, match="check_types"):
        tree.assert_same_structure([0], [1], check_types=True)
