# SPDX-License-Identifier: Apache-2.0
"""fit and evaluate against Keras 3 on JAX: the same starting weights and order give the same history."""
import keras as reference
import numpy as np
import pytest

import fitloom as tf

ours = tf.keras
RNG = np.random.default_rng(0)
X = RNG.random((22, 4), np.float32)
Y = X.sum(1, keepdims=True)
LABELS = np.arange(22) % 3
WEIGHTS = RNG.random(22).astype("float32")


def regression(k):
    return k.Sequential([k.Input((4,)), k.layers.Dense(8, activation="tanh"), k.layers.Dense(1)])


def regularized(k):
    return k.Sequential([k.Input((4,)), k.layers.Dense(8, kernel_regularizer="l2", activity_regularizer="l1"),
                         k.layers.Dense(1)])


def classifier(k):
    return k.Sequential([k.Input((4,)), k.layers.Dense(8, activation="relu"), k.layers.Dense(3, activation="softmax")])


def normalized(k):
    return k.Sequential([k.Input((4,)), k.layers.Dense(8), k.layers.BatchNormalization(), k.layers.Dense(1)])


def two_outputs(k):
    inputs = k.Input((4,))
    hidden = k.layers.Dense(6, activation="tanh")(inputs)
    return k.Model(inputs, {"cls": k.layers.Dense(3, activation="softmax", name="cls")(hidden),
                            "reg": k.layers.Dense(1, name="reg")(hidden)})


def binary(k):
    return k.Sequential([k.Input((4,)), k.layers.Dense(1, activation="sigmoid")])


SPARSE = "sparse_categorical_crossentropy"
CASES = {
    "regression": (regression, Y, dict(loss="mse", metrics=["mae", "mse"]), {}),
    # At a rate of 0.05 the sums make this diverge (a loss of 83,000 in epoch 3 for some starting weights), and the last
    # bit of float32 grows to 3e-5 of it. At 0.01 it converges and both agree to 2e-7.
    "sum": (regression, Y, dict(loss=lambda k: k.losses.MeanSquaredError(reduction="sum"), metrics=["mae"], rate=0.01),
            {}),
    "weighted_mean": (regression, Y, dict(loss=lambda k: k.losses.MeanSquaredError("mean_with_sample_weight")),
                      dict(sample_weight=WEIGHTS)),
    "regularized": (regularized, Y, dict(loss="mse"), {}),
    "sparse": (classifier, LABELS, dict(loss=SPARSE, metrics=["accuracy"]), {}),
    "one_hot": (classifier, np.eye(3, dtype="float32")[LABELS],
                dict(loss="categorical_crossentropy", metrics=["accuracy", "auc", "precision", "recall"]), {}),
    "binary": (binary, (Y > 2).astype("float32"), dict(loss="binary_crossentropy", metrics=["accuracy", "auc"]), {}),
    "sample_weight": (classifier, LABELS, dict(loss=SPARSE, metrics=["accuracy"], weighted_metrics=["accuracy"]),
                      dict(sample_weight=WEIGHTS)),
    "class_weight": (classifier, LABELS, dict(loss=SPARSE, weighted_metrics=["accuracy"]),
                     dict(class_weight={0: 1.0, 1: 2.0, 2: 0.5})),
    "batch_normalization": (normalized, Y, dict(loss="mse"), {}),
    "two_outputs": (two_outputs, {"cls": LABELS, "reg": Y},
                    dict(loss={"cls": SPARSE, "reg": "mse"}, loss_weights={"cls": 2.0, "reg": 0.5},
                         metrics={"cls": ["accuracy"], "reg": ["mae"]}), {}),
    "huber": (regression, Y, dict(loss="huber", metrics=["cosine_similarity", "mae"]), {}),
}


def run(k, build, y, settings, arguments, weights=None):
    model = build(k)
    settings = {key: value(k) if callable(value) else value for key, value in settings.items()}
    model.compile(optimizer=k.optimizers.SGD(settings.pop("rate", 0.05)), **settings)
    if weights is not None:
        model.set_weights(weights)
    start = model.get_weights()
    history = model.fit(X, y, batch_size=5, epochs=3, shuffle=False, verbose=0, validation_data=(X[:9], _first(y, 9)),
                        validation_batch_size=4, **arguments).history
    return start, history, model.evaluate(X, y, batch_size=6, verbose=0, return_dict=True), model


def _first(y, n):
    return {key: value[:n] for key, value in y.items()} if isinstance(y, dict) else y[:n]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")     # Keras' own variables
@pytest.mark.parametrize("name", CASES)
def test_history_agrees(name):
    start, expected, evaluated, theirs = run(reference, *CASES[name])
    _, history, result, model = run(ours, *CASES[name], weights=start)
    assert list(history) == list(expected) and list(result) == list(evaluated)
    if name == "weighted_mean":      # ours is sum(w * v) / sum(w) over the epoch, theirs a mean of the batches' means
        expected, evaluated = {}, {}
    for key in expected:
        np.testing.assert_allclose(history[key], expected[key], rtol=2e-5, atol=1e-6, err_msg=key)
    for key in evaluated:
        np.testing.assert_allclose(result[key], evaluated[key], rtol=2e-5, atol=1e-6, err_msg=key)
    for left, right in zip(model.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)


def test_sum_in_float64_is_numpys():
    """The same run by hand in NumPy: what float32 loses above is rounding, not another formula."""
    ours.utils.set_random_seed(0)
    policy = ours.config.dtype_policy()
    ours.config.set_floatx("float64")
    ours.config.set_dtype_policy("float64")
    try:
        model = regression(ours)
        w, b, v, c = model.get_weights()
        model.compile(ours.optimizers.SGD(1 / 64), loss=ours.losses.MeanSquaredError(reduction="sum"))
        model.fit(X.astype("float64"), Y.astype("float64"), batch_size=5, epochs=3, shuffle=False, verbose=0)
    finally:
        ours.config.set_floatx("float32")
        ours.config.set_dtype_policy(policy)
    for _ in range(3):
        for start in range(0, 22, 5):
            x, y = X[start:start + 5].astype("float64"), Y[start:start + 5].astype("float64")
            hidden = np.tanh(x @ w + b)
            upstream = 2 * (hidden @ v + c - y)
            inner = upstream @ v.T * (1 - hidden ** 2)
            v, c = v - hidden.T @ upstream / 64, c - upstream.sum(0) / 64
            w, b = w - x.T @ inner / 64, b - inner.sum(0) / 64
    for mine, expected in zip(model.get_weights(), (w, b, v, c)):
        np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-14)
