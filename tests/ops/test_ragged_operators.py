# SPDX-License-Identifier: Apache-2.0
"""Python's operators and element-wise operations on ragged tensors."""
import operator

import numpy as np
import pytest

import fitloom as tf

ROWS = tf.ragged.constant([[1, 2], [], [3]])
COLUMN = tf.constant([[10], [20], [30]])


def each(function, *others):
    """The rows of ROWS, computed one number at a time."""
    return [[function(x) for x in row] for row in ROWS.to_list()]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "le", "gt", "ge", "eq",
                                  "ne"])
def test_operators_work_on_each_number(name):
    function = getattr(operator, name)
    assert function(ROWS, 2).to_list() == each(lambda x: function(x, 2))
    assert function(2, ROWS).to_list() == each(lambda x: function(2, x))
    assert function(ROWS, ROWS).to_list() == each(lambda x: function(x, x))


def test_logic_and_signs():
    flags = ROWS > 1
    assert (flags & ~flags).to_list() == [[False, False], [], [False]]
    assert (flags | ~flags).to_list() == [[True, True], [], [True]]
    assert (flags ^ flags).to_list() == tf.logical_not(flags | True).to_list()
    assert abs(-ROWS).to_list() == ROWS.to_list()
    with pytest.raises(TypeError, match="truth value"):
        bool(flags)


def test_one_value_a_row_broadcasts():
    expected = [[11, 12], [], [33]]
    assert (ROWS + COLUMN).to_list() == (COLUMN + ROWS).to_list() == tf.add(COLUMN, ROWS).to_list() == expected
    assert (ROWS + tf.constant([[10]])).to_list() == [[11, 12], [], [13]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="different lengths"):
        ROWS + tf.ragged.constant([[1], [2, 3], []])
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not broadcast"):
        ROWS + tf.constant([[1, 2], [3, 4], [5, 6]])


def test_gradients_reach_the_values():
    values = tf.Variable([1.0, 2.0, 3.0])
    with tf.GradientTape() as tape:
        rows = tf.RaggedTensor.from_row_lengths(values, [2, 1])
        loss = tf.reduce_sum((rows * 2.0 + tf.constant([[1.0], [2.0]])) ** 2)
    assert tape.gradient(loss, values).numpy().tolist() == [12.0, 20.0, 32.0]


def test_where_size_one_hot_stack_and_text():
    assert tf.where(ROWS > 1).numpy().tolist() == [[0, 1], [2, 0]]
    assert tf.where(ROWS > 1, ROWS, -ROWS).to_list() == [[-1, 2], [], [3]]
    nested = tf.ragged.constant([[[1], [2, 3]], [[4]]])
    assert tf.where(nested > 1).numpy().tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert int(tf.size(ROWS)) == 3
    assert tf.one_hot(ROWS, 4).to_list() == [[[0, 1, 0, 0], [0, 0, 1, 0]], [], [[0, 0, 0, 1]]]
    assert tf.stack([ROWS, ROWS]).to_list() == [ROWS.to_list()] * 2
    words = tf.ragged.constant([["a", "b"], ["c"]])
    assert (words + "x").to_list() == [[b"ax", b"bx"], [b"cx"]]
    assert (words == "a").to_list() == [[True, False], [False]]


def test_reductions_over_inner_rows_and_of_booleans():
    nested = tf.ragged.constant([[[1], [2, 3]], [[4]]])
    assert tf.reduce_sum(nested, axis=2).to_list() == tf.reduce_sum(nested, axis=-1).to_list() == [[1, 5], [4]]
    assert tf.reduce_any(ROWS > 1, axis=1).numpy().tolist() == [True, False, True]
    assert tf.reduce_all(ROWS > 1, axis=1).numpy().tolist() == [False, True, True]
    np.testing.assert_array_equal(tf.reduce_mean(tf.cast(ROWS, tf.float32), axis=1), [1.5, np.nan, 3.0])
