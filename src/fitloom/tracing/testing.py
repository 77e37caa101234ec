# SPDX-License-Identifier: Apache-2.0
"""`tf.test`: a TestCase that compares tensors, gradients beside difference quotients, questions about devices."""

import os
import tempfile
import unittest

import jax
import numpy as np

from fitloom import engine
from fitloom.autodiff import GradientTape
from fitloom.base import nest
from fitloom.ops import reshape
from fitloom.tracing.assertions import Assertions


def is_gpu_available(cuda_only=False, min_cuda_compute_capability=None):
    """Return whether a GPU can be used."""
    return any(d.platform == "gpu" for d in jax.devices())


def gpu_device_name():
    """Return '/device:GPU:0', or '' without a GPU."""
    return "/device:GPU:0" if is_gpu_available() else ""


def is_built_with_cuda():
    """Return whether the installed jaxlib can use CUDA devices."""
    return is_gpu_available()


def is_built_with_gpu_support():
    """Return whether the installed jaxlib can use GPUs."""
    return is_gpu_available()


def is_built_with_rocm():
    """Return False."""
    return False


def is_built_with_xla():
    """Return True: everything runs through XLA."""
    return True


def get_temp_dir():
    """Return a folder for a test's files, the same one throughout the process."""
    if not _Folder.path:
        _Folder.path = tempfile.mkdtemp(prefix="fitloom_test_")
    return _Folder.path


class _Folder:
    path = ""


def main(argv=None):
    """Run the tests of the calling module."""
    unittest.main(argv=argv)


def compute_gradient(f, x, delta=None):
    """Return (Jacobians by the tape, Jacobians by difference quotients) of f at x, as lists of NumPy matrices."""
    x = [engine.convert_to_tensor(v) for v in x]
    step = delta or 1.0 / 1024
    theoretical, numerical = [], []
    for position, value in enumerate(x):
        with GradientTape(persistent=True) as tape:
            tape.watch(value)
            y = reshape(f(*x), [-1])
            parts = [y[i] for i in range(y.shape[0])]
        rows = [tape.gradient(part, value) for part in parts]
        size = int(np.prod(value.shape))
        theoretical.append(np.stack([np.zeros(size) if r is None else np.asarray(r).ravel() for r in rows]))
        columns = []
        for i in range(size):
            moved = []
            for sign in (1, -1):
                array = np.array(value)
                array.reshape(-1)[i] += sign * step
                arguments = [*x[:position], engine.convert_to_tensor(array), *x[position + 1:]]
                moved.append(np.asarray(f(*arguments)).ravel().astype(np.float64))
            columns.append((moved[0] - moved[1]) / (2 * step))
        numerical.append(np.stack(columns, 1))
    return theoretical, numerical


def _arrays(value):
    return nest.map_structure(lambda v: np.asarray(v) if engine.is_tensor(v) else v, value)


class TestCase(Assertions, unittest.TestCase):
    """unittest.TestCase with comparisons of tensors."""

    def evaluate(self, tensors):
        """Return the NumPy values of tensors."""
        return _arrays(tensors)

    def get_temp_dir(self):
        """Return a folder for this process's test files."""
        return get_temp_dir()

    def create_tempfile(self, name="file", content=None):
        """Return the path of a new file."""
        path = os.path.join(get_temp_dir(), name)
        with open(path, "w" if not isinstance(content, bytes) else "wb") as file:
            file.write(content or "")
        return path

    def assertAllEqual(self, a, b, msg=None):
        """Fail unless all elements are equal."""
        np.testing.assert_array_equal(np.asarray(_arrays(a)), np.asarray(_arrays(b)), err_msg=msg or "")

    def assertAllClose(self, a, b, rtol=1e-6, atol=1e-6, msg=None):
        """Fail unless corresponding leaves are close."""
        a, b = _arrays(a), _arrays(b)
        if isinstance(a, dict):
            self.assertEqual(set(a), set(b), msg)
            for key in a:
                self.assertAllClose(a[key], b[key], rtol, atol, msg)
        elif isinstance(a, (list, tuple)) and any(isinstance(v, (list, tuple, np.ndarray, dict)) for v in a):
            self.assertEqual(len(a), len(b), msg)
            for x, y in zip(a, b, strict=True):
                self.assertAllClose(x, y, rtol, atol, msg)
        else:
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=atol, err_msg=msg or "")

    assertAllCloseAccordingToType = assertAllClose

    def assertNotAllClose(self, a, b, rtol=1e-6, atol=1e-6, msg=None):
        """Fail if all elements are close."""
        with self.assertRaises(AssertionError, msg=msg):
            self.assertAllClose(a, b, rtol, atol)

    def assertNotAllEqual(self, a, b, msg=None):
        """Fail if all elements are equal."""
        with self.assertRaises(AssertionError, msg=msg):
            self.assertAllEqual(a, b)

    def assertShapeEqual(self, input_a, input_b, msg=None):
        """Fail unless the shapes are equal."""
        self.assertEqual(tuple(input_a.shape), tuple(input_b.shape), msg)

    def assertDTypeEqual(self, target, expected_dtype):
        """Fail unless the dtype is as expected."""
        self.assertEqual(np.asarray(target).dtype, np.dtype(expected_dtype))

    def assertAllInRange(self, target, lower_bound, upper_bound, open_lower_bound=False, open_upper_bound=False):
        """Fail unless all elements lie in an interval."""
        x = np.asarray(target)
        self.assertTrue(np.all(x > lower_bound if open_lower_bound else x >= lower_bound))
        self.assertTrue(np.all(x < upper_bound if open_upper_bound else x <= upper_bound))

    def assertAllGreater(self, a, comparison_target):
        """Fail unless all elements are greater."""
        self.assertTrue(np.all(np.asarray(a) > comparison_target))

    def assertAllLess(self, a, comparison_target):
        """Fail unless all elements are less."""
        self.assertTrue(np.all(np.asarray(a) < comparison_target))
