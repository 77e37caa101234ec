# SPDX-License-Identifier: Apache-2.0
"""Losses: shapes, masks, weights, terms, configuration, names."""
import numpy as np
import pytest

import fitloom as tf
from fitloom import engine, losses

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("name", ["mean_absolute_percentage_error", "binary_crossentropy", "huber", "kl_divergence",
                                  "poisson"])
def test_footgun_shapes_that_would_broadcast(name):
    with pytest.raises(ValueError, match=r"\(32, 3\).*\(32, 1\)"):
        getattr(tf.keras.losses, name)(np.ones((32, 3), "float32"), np.ones((32, 1), "float32"))
    with pytest.raises(ValueError, match=r"\(3,\).*\(3, 3\)"):
        getattr(tf.keras.losses, name)(np.ones(3, "float32"), np.ones((3, 3), "float32"))


def test_one_target_for_several_outputs_is_a_warning_in_plain_regression():
    y_true, y_pred = np.arange(3.0, dtype="float32"), numbers(3, 3)
    with pytest.warns(UserWarning, match="one target a row.*all 3 outputs"):
        found = tf.keras.losses.mean_squared_error(y_true, y_pred)
    np.testing.assert_allclose(found, np.square(y_true[:, None] - y_pred).mean(-1), rtol=1e-6)
    with pytest.raises(ValueError, match=r"\(32, 3\).*\(32, 1\)"):
        tf.keras.losses.mean_squared_error(np.ones((32, 3), "float32"), np.ones((32, 1), "float32"))


def test_footgun_column_against_vector():
    # (4,) against (4, 1) is one number a row in both, never a (4, 4) table
    loss = tf.keras.losses.MeanSquaredError(reduction="none")(np.arange(4.0), np.zeros((4, 1), "float32"))
    assert loss.numpy().tolist() == [0.0, 1.0, 4.0, 9.0]


def test_one_hot_against_a_sparse_loss():
    with pytest.raises(ValueError, match="categorical_crossentropy"):
        tf.keras.losses.SparseCategoricalCrossentropy()(np.eye(3, dtype="float32"), np.ones((3, 3), "float32"))


def test_labels_against_a_one_hot_loss():
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        tf.keras.losses.CategoricalCrossentropy()(np.arange(3), np.ones((3, 3), "float32"))


def test_check_labels():
    losses.check_labels(np.array([0, 9]), 10)
    with pytest.raises(ValueError, match=r"0 to 9.*y\[1\] is 10.*11 or more"):
        losses.check_labels(np.array([0, 10]), 10)
    with pytest.raises(ValueError, match=r"y\[0\] is -1"):
        losses.check_labels(np.array([-1, 3]), 10)
    losses.check_labels(np.array([-1, 3]), 10, ignore_class=-1)
    with pytest.raises(ValueError, match="whole numbers"):
        losses.check_labels(np.array([[0.0], [1.5]]), 10)
    with pytest.raises(ValueError, match="whole numbers"):
        losses.check_labels(np.array([np.nan]), 10)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_terms_add_up_over_batches_of_any_size(reduction, weighted):
    y_true, y_pred, weights = numbers(10, 3), numbers(10, 3), RNG.uniform(size=10).astype("float32")
    weights = weights if weighted else None
    loss = tf.keras.losses.MeanSquaredError(reduction=reduction)
    whole = float(loss(y_true, y_pred, weights))
    total = count = 0.0
    for rows in (slice(0, 3), slice(3, 4), slice(4, 10)):
        s, n = loss.terms(y_true[rows], y_pred[rows], None if weights is None else weights[rows])
        total, count = total + float(s), count + float(n)
    assert np.isclose(whole, total if reduction == "sum" else total / count, rtol=1e-6)


def test_masked_rows_do_not_count():
    y_true, y_pred = numbers(6, 4), numbers(6, 4)
    mask = np.array([1, 1, 1, 1, 0, 0])
    loss = tf.keras.losses.MeanSquaredError()
    total, count = loss.terms(y_true, y_pred, None, mask)
    assert np.isclose(float(total) / float(count), float(loss(y_true[:4], y_pred[:4])), rtol=1e-6)
    assert float(count) == 4.0
    y_pred[4:] = np.nan     # a padded row may hold anything
    assert np.isfinite(float(loss.terms(y_true, y_pred, None, mask)[0]))


def test_mask_of_the_outputs():
    y_true, y_pred = numbers(2, 3, 4), numbers(2, 3, 4)
    mask = np.array([[True, True, False], [True, False, False]])
    tensor = tf.constant(y_pred)
    engine.set_mask(tensor, tf.constant(mask))
    expected = ((y_true - y_pred) ** 2).mean(-1)[mask].mean()
    assert np.isclose(float(tf.keras.losses.MeanSquaredError()(y_true, tensor)), expected, rtol=1e-6)


def test_one_weight_for_each_row_of_a_sequence():
    y_true, y_pred, weights = numbers(3, 3, 4), numbers(3, 3, 4), np.array([1.0, 0.0, 2.0], "float32")
    expected = (((y_true - y_pred) ** 2).mean(-1) * weights[:, None]).mean()
    assert np.isclose(float(tf.keras.losses.MeanSquaredError()(y_true, y_pred, weights)), expected, rtol=1e-6)


def test_float64_numpy_data_is_computed_in_floatx():
    assert tf.keras.losses.mean_squared_error(np.zeros((2, 2)), np.ones((2, 2))).dtype == "float32"
    assert tf.keras.losses.MeanSquaredError(dtype="float64")(np.zeros((2, 2)), np.ones((2, 2))).dtype == "float64"


def test_labels_above_256_survive_bfloat16():
    scores = np.full((1, 1000), -10.0, "float32")
    scores[0, 259] = 10.0
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="bfloat16")
    assert float(loss(np.array([259]), scores)) < 0.1


def test_large_logits_are_exact():
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    assert float(loss([[1.0, 0.0]], [[-200.0, 200.0]])) == 200.0


def test_crossentropy_of_large_and_infinite_logits():
    for name, target in (("SparseCategoricalCrossentropy", np.array([0])),
                         ("CategoricalCrossentropy", np.array([[1.0, 0.0]], "float32"))):
        loss = getattr(tf.keras.losses, name)(from_logits=True)
        assert np.isclose(float(loss(target, [[1e6, 1e6 + 1]])), 1.3132616, rtol=1e-6)
    assert float(tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)([0], [[3.0, -np.inf]])) == 0.0


def test_labels_that_are_no_class_give_nan():
    for settings in ({}, {"from_logits": True}):
        values = tf.keras.losses.sparse_categorical_crossentropy([0, 3, -1], [[0.5, 0.2, 0.3]] * 3, **settings).numpy()
        assert np.isnan(values).tolist() == [False, True, True]


def test_built_in_losses_are_one_instruction_and_share_programs():
    x, y = tf.constant(numbers(4, 2)), tf.constant(numbers(4, 2))
    float(tf.keras.losses.Huber(0.5)(y, x))
    before = engine.STATISTICS["programs"]
    float(tf.keras.losses.Huber(0.5)(y, x))
    assert engine.STATISTICS["programs"] == before
    changed = tf.keras.losses.Huber(0.5)
    changed.reduction = "sum"
    assert np.isclose(float(changed(y, x)), 4 * float(tf.keras.losses.Huber(0.5)(y, x)), rtol=1e-6)


def test_custom_loss_and_structures():
    class Both(tf.keras.losses.Loss):
        def call(self, y_true, y_pred):
            return tf.reduce_mean(tf.abs(y_true["a"] - y_pred["a"]) + tf.abs(y_true["b"] - y_pred["b"]), axis=-1)

    loss = Both(name="both")
    value = loss({"a": np.zeros((2, 1)), "b": np.ones((2, 1))}, {"a": np.ones((2, 1)), "b": np.ones((2, 1))})
    assert float(value) == 1.0
    assert loss.name == "both"
    with pytest.raises(NotImplementedError, match="call"):
        tf.keras.losses.Loss()(np.zeros(1), np.zeros(1))


def test_inside_tf_function_and_with_a_gradient():
    x, y = tf.constant(numbers(4, 3)), tf.constant(numbers(4, 3))
    loss = tf.keras.losses.MeanSquaredError()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(y, x)
        return tape.gradient(value, x)

    np.testing.assert_allclose(step(x, y).numpy(), 2 * (x.numpy() - y.numpy()) / 12, rtol=1e-5, atol=1e-7)


def test_get():
    assert tf.keras.losses.get("mse") is tf.keras.losses.mean_squared_error
    assert tf.keras.losses.get("MSE") is tf.keras.losses.MSE
    assert isinstance(tf.keras.losses.get("MeanSquaredError"), tf.keras.losses.MeanSquaredError)
    assert tf.keras.losses.get(None) is None
    with pytest.raises(ValueError, match="'mse'"):
        tf.keras.losses.get("mes")
    with pytest.raises(ValueError):
        tf.keras.losses.get(3)


def test_reductions():
    with pytest.raises(ValueError, match="`reduction`.*sum_over_batch_size"):
        tf.keras.losses.MeanSquaredError(reduction="avg")
    assert tf.keras.losses.MeanSquaredError(reduction=tf.keras.losses.Reduction.SUM).reduction == "sum"


def test_per_example():
    assert tf.keras.losses.MeanSquaredError().per_example
    assert not tf.keras.losses.Dice().per_example       # the overlap of the whole batch
    assert tf.keras.losses.Dice(axis=(1, 2)).per_example
    assert not tf.keras.losses.Circle().per_example
