# SPDX-License-Identifier: Apache-2.0
"""Names and order of logs for all ways to say losses and metrics; observed in Keras 3.15."""
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
X = np.random.default_rng(0).random((20, 4), np.float32)
LABELS = np.arange(20) % 3
Y = X.sum(1, keepdims=True)


def one(units=1, activation=None):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation=activation, name="out")])


def two(as_dict=False):
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(3, activation="softmax", name="cls")(inputs),
               keras.layers.Dense(1, name="reg")(inputs)]
    return keras.Model(inputs, dict(zip(("cls", "reg"), outputs)) if as_dict else outputs)


def logs(model, y, **settings):
    model.compile(optimizer="sgd", **settings)
    return list(model.fit(X, y, verbose=0, batch_size=8, validation_data=(X, y)).history)


def with_val(names):
    return sorted([*names, *["val_" + name for name in names]])


def own(y_true, y_pred):
    return tf.reduce_mean((y_true - y_pred) ** 2, axis=-1)


SPARSE = "sparse_categorical_crossentropy"


@pytest.mark.parametrize("model, y, settings, names", [
    (lambda: one(3, "softmax"), LABELS, dict(loss=SPARSE, metrics=["acc", "accuracy"]), ["acc", "accuracy", "loss"]),
    (one, Y, dict(loss="mse", metrics=["mse", "mae", "mse", keras.metrics.MeanSquaredError],
                  weighted_metrics=["mse", "MAE"]),
     ["MAE", "loss", "mae", "mean_squared_error", "mse", "mse_1", "weighted_mse"]),
    (one, Y, dict(loss=own, metrics=[own, keras.losses.mean_squared_error, lambda a, b: (a - b) ** 2]),
     ["lambda", "loss", "mean_squared_error", "own"]),
    (one, Y, dict(loss={"out": "mse"}, metrics={"out": ["mae"]}), ["loss", "mae"]),
    (one, Y, dict(loss=["mse"], metrics=[["mae", "mse"]]), ["loss", "mae", "mse"]),
    (two, [LABELS, Y], dict(loss=[SPARSE, "mse"], metrics=[["accuracy"], ["mae", "mse"]]),
     ["cls_accuracy", "cls_loss", "loss", "reg_loss", "reg_mae", "reg_mse"]),
    (two, [LABELS, Y], dict(loss=[SPARSE, "mse"], metrics=["accuracy", "mae"]),
     ["cls_accuracy", "cls_loss", "loss", "reg_loss", "reg_mae"]),
    (two, {"cls": LABELS, "reg": Y}, dict(loss={"cls": SPARSE, "reg": "mse"},
                                          metrics={"cls": "accuracy", "reg": ["mae"]},
                                          loss_weights={"cls": 2.0, "reg": 0.5}),
     ["cls_accuracy", "cls_loss", "loss", "reg_loss", "reg_mae"]),
    (lambda: two(True), {"cls": LABELS, "reg": Y},
     dict(loss={"cls": SPARSE, "reg": "mse"}, metrics={"cls": "accuracy", "reg": ["mae"]},
          weighted_metrics={"reg": ["mae", "mse"]}),
     ["cls_accuracy", "cls_loss", "loss", "reg_loss", "reg_mae", "reg_mse", "reg_weighted_mae"]),
    (lambda: two(True), {"cls": LABELS, "reg": Y}, dict(loss={"reg": "mse"}, metrics={"cls": "accuracy"}),
     ["cls_accuracy", "loss"]),
    (two, [LABELS, Y], dict(loss=[None, "mse"]), ["loss"]),
])
@pytest.mark.filterwarnings("ignore:No gradient for cls")
def test_log_names_and_order(model, y, settings, names):
    settings = {key: [one() if isinstance(one, type) else one for one in value] if key == "metrics"
                and isinstance(value, list) else value for key, value in settings.items()}
    assert logs(model(), y, **settings) == with_val(names)


def test_several_outputs_add_up():
    model = two()
    model.compile(optimizer="sgd", loss=[SPARSE, "mse"], loss_weights=[2.0, 0.5], metrics=[["accuracy"], ["mae"]])
    result = model.evaluate(X, [LABELS, Y], verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(2 * result["cls_loss"] + 0.5 * result["reg_loss"], rel=1e-5)
    values = model.evaluate(X, [LABELS, Y], verbose=0)
    assert values == [result[name] for name in ("loss", "cls_loss", "reg_loss", "cls_accuracy", "reg_mae")]
    assert model.metrics_names == ["loss", "compile_metrics", "cls_loss", "reg_loss"]


def test_subclassed_models_with_tuples_and_dicts():
    class Tuple(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = keras.layers.Dense(1), keras.layers.Dense(1)

        def call(self, x):
            return self.a(x), self.b(x)

    class Dict(Tuple):
        def call(self, x):
            return {"a": self.a(x), "b": self.b(x)}

    assert logs(Tuple(), (Y, Y), loss=["mse", "mae"], metrics=[["mae"], ["mse"]]) == with_val(
        ["loss", "mae", "mae_loss", "mse", "mse_loss"])
    assert logs(Dict(), {"a": Y, "b": Y}, loss={"a": "mse", "b": "mae"}, metrics={"a": ["mae"], "b": ["mse"]}) \
        == with_val(["a_loss", "a_mae", "b_loss", "b_mse", "loss"])
    assert logs(Dict(), {"a": Y, "b": Y}, loss="mse") == with_val(["a_loss", "b_loss", "loss"])


@pytest.mark.parametrize("units, y, kind", [
    (1, Y > 1, "BinaryAccuracy"), (3, LABELS, "SparseCategoricalAccuracy"),
    (3, np.eye(3)[LABELS], "CategoricalAccuracy")])
def test_accuracy_is_resolved_by_shapes(units, y, kind):
    model = one(units, "sigmoid")
    model.compile(loss="mse" if units == 1 else "categorical_crossentropy" if y.ndim == 2 else SPARSE,
                  metrics=["accuracy"])
    model.evaluate(X, y.astype("float32"), verbose=0)
    metric, = model.metrics[1].metrics
    assert type(metric).__name__ == kind and metric.name == "accuracy"


@pytest.mark.parametrize("settings, message", [
    (dict(loss="sparse_categorical_crossentropyy"), "sparse_categorical_crossentropy"),
    (dict(metrics=["accurcy"]), "accurcy"),
    (dict(optimizer="adan"), "adam"),
    (dict(steps_per_execution=0), "steps_per_execution must be an integer >= 1"),
    (dict(jit_compile="yes"), "jit_compile"),
])
def test_compile_refuses_at_once(settings, message):
    with pytest.raises(ValueError, match=f"(?i){message}"):
        one().compile(**settings)


def test_unknown_output_names_its_neighbours():
    model = two()
    model.compile(loss={"clz": SPARSE, "reg": "mse"})
    with pytest.raises(ValueError, match="'clz' does not exist.*Did you mean 'cls'"):
        model.fit(X, [LABELS, Y], verbose=0)
    model.compile(loss=["mse"])
    with pytest.raises(ValueError, match=r"2 outputs \(cls, reg\), but loss is a list of 1"):
        model.fit(X, [LABELS, Y], verbose=0)


def test_compile_config_round_trip():
    model = one()
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse", metrics=["mae"])
    config = model.get_compile_config()
    other = one()
    other.compile_from_config(config)
    assert float(other.optimizer.learning_rate) == 0.5 and other.loss == "mse"
    assert other.get_compile_config()["metrics"] == ["mae"]


def test_metrics_in_the_place_of_loss_weights_are_refused():
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="third argument by position is loss_weights"):
        model.compile("adam", "mse", ["mae"])


def test_a_loss_that_answers_calls_itself_is_called():
    class Total(tf.keras.losses.Loss):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return tf.reduce_sum(y_pred)

    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", Total())
    assert model.evaluate(np.ones((3, 2), "float32"), np.zeros((3, 1), "float32"), verbose=0) == 6.0
    model.fit(np.ones((5, 2), "float32"), np.zeros((5, 1), "float32"), batch_size=2, verbose=0)
