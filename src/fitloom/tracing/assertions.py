# SPDX-License-Identifier: Apache-2.0
"""The assertions of `tf.test.TestCase` about numbers, collections and errors."""
import contextlib
import random
import re

import numpy as np

from fitloom import engine
from fitloom.base import nest
from fitloom.base.errors import OpError

_SEED = 87654321        # TensorFlow's


class Assertions:
    """Mixed into `tf.test.TestCase`."""

    def setUp(self):
        """Start the random numbers of every test anew."""
        super().setUp()
        random.seed(_SEED)
        np.random.seed(_SEED)
        engine.set_seed(_SEED)

    @contextlib.contextmanager
    def cached_session(self, *_, **__):
        """Give something with `run(tensors)`, as TensorFlow does where values can be read."""
        yield _Values(self)

    session = cached_session

    def assertAllGreaterEqual(self, a, comparison_target):
        """Fail unless all elements are at least `comparison_target`."""
        self.assertTrue(np.all(np.asarray(a) >= comparison_target), f"{np.asarray(a)} >= {comparison_target}")

    def assertAllLessEqual(self, a, comparison_target):
        """Fail unless all elements are at most `comparison_target`."""
        self.assertTrue(np.all(np.asarray(a) <= comparison_target), f"{np.asarray(a)} <= {comparison_target}")

    def assertAllInSet(self, target, expected_set):
        """Fail unless all elements are in a set."""
        others = set(np.asarray(target).ravel().tolist()) - set(expected_set)
        self.assertFalse(others, f"{len(others)} values are not in the set: {sorted(others)[:5]}")

    def assertNear(self, f1, f2, err, msg=None):
        """Fail unless |f1 - f2| <= err."""
        self.assertTrue(f1 == f2 or abs(f1 - f2) <= err, msg or f"{f1} and {f2} differ by more than {err}")

    def assertArrayNear(self, farray1, farray2, err, msg=None):
        """Fail unless corresponding elements differ by at most err."""
        self.assertEqual(len(farray1), len(farray2), msg)
        for x, y in zip(farray1, farray2, strict=True):
            self.assertNear(float(x), float(y), err, msg)

    def assertNDArrayNear(self, ndarray1, ndarray2, err, msg=None):
        """Fail unless the norm of the difference is below err."""
        self.assertLess(np.linalg.norm(np.asarray(ndarray1) - np.asarray(ndarray2)), err, msg)

    def assertBetween(self, value, minv, maxv, msg=None):
        """Fail unless minv <= value <= maxv."""
        self.assertTrue(minv <= value <= maxv, msg or f"{value} is not between {minv} and {maxv}")

    def assertLen(self, container, expected_len, msg=None):
        """Fail unless the length is as expected."""
        self.assertEqual(len(container), expected_len, msg)

    def assertEmpty(self, container, msg=None):
        """Fail unless there is nothing inside."""
        self.assertEqual(len(container), 0, msg)

    def assertNotEmpty(self, container, msg=None):
        """Fail if there is nothing inside."""
        self.assertNotEqual(len(container), 0, msg)

    def assertStartsWith(self, actual, expected_start, msg=None):
        """Fail unless a text begins so."""
        self.assertTrue(actual.startswith(expected_start), msg or f"{actual!r} does not begin with {expected_start!r}")

    def assertEndsWith(self, actual, expected_end, msg=None):
        """Fail unless a text ends so."""
        self.assertTrue(actual.endswith(expected_end), msg or f"{actual!r} does not end with {expected_end!r}")

    def assertSameElements(self, expected_seq, actual_seq, msg=None):
        """Fail unless both hold the same values, in any order and number."""
        self.assertEqual(set(expected_seq), set(actual_seq), msg)

    def assertContainsSubset(self, expected_subset, actual_set, msg=None):
        """Fail unless all expected values are inside."""
        self.assertFalse(set(expected_subset) - set(actual_set), msg)

    def assertNoCommonElements(self, expected_seq, actual_seq, msg=None):
        """Fail if a value is in both."""
        self.assertFalse(set(expected_seq) & set(actual_seq), msg)

    def assertSameStructure(self, a, b, aname="a", bname="b", msg=None):
        """Fail unless two values nest alike and have equal leaves."""
        nest.assert_same_structure(a, b)
        self.assertEqual(nest.flatten(a), nest.flatten(b), msg)

    @contextlib.contextmanager
    def assertRaisesWithPredicateMatch(self, exception_type, expected_err_re_or_predicate):
        """Fail unless the block raises an error whose message matches a pattern, or that a function accepts."""
        try:
            yield
        except exception_type as error:
            wanted = expected_err_re_or_predicate
            matches = wanted(error) if callable(wanted) else re.search(wanted, str(error))
            self.assertTrue(matches, f"{type(error).__name__} does not match: {error}")
        else:
            self.fail(f"{exception_type.__name__} was not raised")

    def assertRaisesOpError(self, expected_err_re_or_predicate):
        """Fail unless the block raises an OpError that matches."""
        return self.assertRaisesWithPredicateMatch(OpError, expected_err_re_or_predicate)


class _Values:
    def __init__(self, case):
        self.run = case.evaluate
