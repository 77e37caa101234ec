# SPDX-License-Identifier: Apache-2.0
import numpy as np

from fitloom.datasets import digits


def test_shapes_and_types():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert x_train.shape == (1442, 8, 8) and y_train.shape == (1442,)
    assert x_test.shape == (355, 8, 8) and y_test.shape == (355,)
    assert all(array.dtype == np.uint8 for array in (x_train, y_train, x_test, y_test))
    assert x_train.min() == 0 and x_train.max() == 16
    assert set(y_train) == set(range(10))


def test_split_is_the_same_every_time_and_stratified():
    first, second = digits.load_data(), digits.load_data()
    for one, other in zip(sum(first, ()), sum(second, ())):
        np.testing.assert_array_equal(one, other)
    (_, y_train), (_, y_test) = first
    counts = np.bincount(y_train) + np.bincount(y_test)
    np.testing.assert_array_equal(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    np.testing.assert_array_equal(np.bincount(y_test), counts // 5)


def test_same_scans_as_scikit_learn_distributes():
    # Sums over the published data (sklearn.datasets.load_digits), so that scikit-learn is not needed here.
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    assert int(x.sum(dtype=np.int64)) == 561718
    assert int(y.sum(dtype=np.int64)) == 8070
    np.testing.assert_array_equal(x_train[0, 0], [0, 0, 5, 13, 9, 1, 0, 0])


def test_arrays_belong_to_the_caller():
    (x_train, _), _ = digits.load_data()
    x_train[:] = 0
    (again, _), _ = digits.load_data()
    assert again.any()
