# SPDX-License-Identifier: Apache-2.0
"""tf.test.TestCase: what test suites written for TensorFlow call."""
import collections

import pytest

import fitloom as tf


class Case(tf.test.TestCase):
    def runTest(self):
        pass


def test_assertions_hold_and_fail():
    case = Case()
    pairs = [("assertAllGreaterEqual", (tf.constant([1, 2]), 1), (tf.constant([1, 2]), 2)),
             ("assertAllLessEqual", (tf.constant([1, 2]), 2), (tf.constant([1, 2]), 1)),
             ("assertAllInSet", (tf.constant([1, 2]), {1, 2, 3}), (tf.constant([1, 4]), {1, 2})),
             ("assertNear", (1.0, 1.01, 0.1), (1.0, 1.2, 0.1)),
             ("assertArrayNear", ([1.0, 2.0], [1.0, 2.01], 0.1), ([1.0], [2.0], 0.1)),
             ("assertNDArrayNear", ([1.0, 2.0], [1.0, 2.01], 0.1), ([1.0], [2.0], 0.1)),
             ("assertBetween", (1, 0, 2), (3, 0, 2)),
             ("assertLen", ([1], 1), ([1], 2)), ("assertEmpty", ([],), ([1],)), ("assertNotEmpty", ([1],), ([],)),
             ("assertStartsWith", ("abc", "ab"), ("abc", "b")), ("assertEndsWith", ("abc", "bc"), ("abc", "b")),
             ("assertSameElements", ([1, 2, 2], [2, 1]), ([1], [2])),
             ("assertContainsSubset", ([1], [1, 2]), ([3], [1, 2])),
             ("assertNoCommonElements", ([1], [2]), ([1], [1, 2])),
             ("assertSameStructure", ([1, (2,)], [1, (2,)]), ([1, (2,)], [1, (3,)]))]
    for name, right, wrong in pairs:
        getattr(case, name)(*right)
        with pytest.raises(AssertionError):
            getattr(case, name)(*wrong)
    with case.assertRaisesOpError("inner sizes"):
        tf.matmul(tf.ones([2, 3]), tf.ones([2, 3]))
    with pytest.raises(AssertionError, match="not raised"), case.assertRaisesOpError("anything"):
        pass
    with case.cached_session() as session:
        assert session.run(tf.constant(3)) == 3


def test_every_test_starts_from_the_same_random_numbers():
    drawn = []
    for _ in range(2):
        Case().setUp()
        drawn.append(tf.random.uniform([3]).numpy().tolist())
    assert drawn[0] == drawn[1]


def test_named_tuples_beside_dicts():
    pair = collections.namedtuple("pair", "a b")(1, 2)
    tf.nest.assert_same_structure(pair, {"a": 1, "b": 2}, check_types=False)
    with pytest.raises(TypeError):
        tf.nest.assert_same_structure(pair, {"a": 1, "b": 2})
    with pytest.raises(ValueError):
        tf.nest.assert_same_structure(pair, {"a": 1, "c": 2}, check_types=False)
