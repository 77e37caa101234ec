# SPDX-License-Identifier: Apache-2.0
"""Distillation: what the student is trained on, and the saved distiller."""
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
distillation = keras.distillation
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 4)).astype("float32"), RNG.integers(0, 3, 16)


def model(units):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation="relu", name="hidden"),
                             keras.layers.Dense(3, name="out")])


def test_the_losses_are_weighted_and_the_teacher_stays():
    teacher, student = model(8), model(8)
    features = distillation.FeatureDistillation("mse", "hidden", "hidden")
    distiller = distillation.Distiller(teacher, student, [distillation.LogitsDistillation(2.0), features], [1.0, 0.5],
                                       student_loss_weight=0.25)
    distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    logs = distiller.evaluate(X, Y, verbose=0, return_dict=True)
    own = float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(Y, student(X)))
    soft = [tf.nn.softmax(each(X) / 2.0) for each in (teacher, student)]
    hidden = [each.get_layer("hidden")(X) for each in (teacher, student)]
    expected = 4.0 * float(keras.losses.KLDivergence()(*soft)) + 0.5 * float(tf.reduce_mean((hidden[0] - hidden[1]) ** 2))
    np.testing.assert_allclose(logs["student_loss"], own, rtol=1e-5)
    np.testing.assert_allclose(logs["distillation_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], 0.25 * own + 0.75 * expected, rtol=1e-5)
    before, start = teacher.get_weights(), student.get_weights()
    history = distiller.fit(X, Y, epochs=3, verbose=0).history
    assert history["total_loss"][-1] < history["total_loss"][0]
    for a, b in zip(before, teacher.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert np.abs(start[0] - student.get_weights()[0]).max() > 0
    np.testing.assert_array_equal(distiller.predict(X, verbose=0), student.predict(X, verbose=0))


def test_it_is_saved_with_both_models(tmp_path):
    distiller = distillation.Distiller(model(8), model(2), distillation.LogitsDistillation(temperature=5.0))
    distiller.compile("sgd", "sparse_categorical_crossentropy")
    distiller.fit(X, Y, verbose=0)
    distiller.save(tmp_path / "d.keras")
    again = keras.models.load_model(tmp_path / "d.keras")
    assert again.distillation_losses[0].temperature == 5.0 and not again.teacher.trainable
    np.testing.assert_array_equal(again.predict(X, verbose=0), distiller.predict(X, verbose=0))


@pytest.mark.parametrize(("make", "match"), [
    (lambda: distillation.LogitsDistillation(temperature=0.0), "positive"),
    (lambda: distillation.FeatureDistillation(loss=None), "at least one loss"),
    (lambda: distillation.Distiller(1, model(2), distillation.LogitsDistillation()), "Teacher must be"),
    (lambda: distillation.Distiller(model(2), model(2), None), "cannot be `None`"),
    (lambda: distillation.Distiller(model(2), model(2), distillation.LogitsDistillation(), student_loss_weight=2.0),
     "between"),
    (lambda: distillation.Distiller(model(2), model(2), distillation.FeatureDistillation("mse", "typo")), "typo"),
])
def test_what_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
