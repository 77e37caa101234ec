# SPDX-License-Identifier: Apache-2.0
"""fit(nan=...): a bad step is undone, and named."""
import numpy as np
import pytest

import fitloom as tf

keras = tf.keras
BAD = 5                                                   # the batch that holds a NaN


def arrays(bad=True):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    if bad:
        x[BAD * 8 + 3, 1] = np.nan
    return x, rng.normal(size=(64, 1)).astype("float32")


def model(**settings):
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first"),
                             keras.layers.Dense(1, name="last")])
    made.compile(keras.optimizers.Adam(0.01), "mse", **settings)
    return made


def streamed(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).map(lambda a, b: (a, b)).batch(8)


FORMS = {"arrays": lambda x, y: dict(x=x, y=y, batch_size=8, shuffle=False), "stream": lambda x, y: dict(x=streamed(x, y)),
         "planned": lambda x, y: dict(x=tf.data.Dataset.from_tensor_slices((x, y)).batch(8))}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_raise_leaves_the_weights_before_the_bad_step(form):
    made, good = model(), model()
    with pytest.raises(FloatingPointError, match=f"batch {BAD} of epoch 1"):
        made.fit(**FORMS[form](*arrays()), epochs=2, verbose=0, nan="raise")
    x, y = arrays(False)
    good.fit(x[:BAD * 8], y[:BAD * 8], batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(made.get_weights(), good.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert int(made.optimizer.iterations) == BAD


@pytest.mark.parametrize("form", sorted(FORMS))
def test_skip_trains_on_the_others(form):
    made, good = model(), model()
    with pytest.warns(UserWarning, match="left out 1 of 8 batches of epoch 1"):
        history = made.fit(**FORMS[form](*arrays()), epochs=1, verbose=0, nan="skip").history
    keep = np.r_[:BAD * 8, (BAD + 1) * 8:64]
    x, y = arrays(False)
    expected = good.fit(x[keep], y[keep], batch_size=8, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    for a, b in zip(made.get_weights(), good.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_stop(capsys):
    made = model()
    history = made.fit(*arrays(), batch_size=8, shuffle=False, epochs=3, verbose=0, nan="stop")
    assert history.epoch == [0] and "batch 5 of epoch 1" in capsys.readouterr().out
    assert all(np.isfinite(weight).all() for weight in made.get_weights())


def test_healthy_training_is_the_same():
    made, good = model(metrics=["mae"]), model(metrics=["mae"])
    x, y = arrays(False)
    a = made.fit(x, y, batch_size=8, epochs=2, verbose=0, nan="raise", shuffle=False).history
    b = good.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False).history
    for name in b:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-6)


def test_diagnose_names_bad_data():
    with pytest.raises(FloatingPointError, match=r"x holds NaN in 1 of 8 samples of the batch \(first: 3\)"):
        model().fit(*arrays(), batch_size=8, shuffle=False, verbose=0, nan="diagnose")


@pytest.mark.parametrize("eagerly", [False, True])
def test_diagnose_names_the_layer_and_the_operation(eagerly):
    class Root(keras.layers.Layer):
        def call(self, x):
            return tf.sqrt(x)

    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first"), Root(name="root"),
                             keras.layers.Dense(1, name="last")])
    made.compile("sgd", "mse", run_eagerly=eagerly)
    with pytest.raises(FloatingPointError) as error:
        made.fit(*arrays(False), batch_size=8, shuffle=False, verbose=0, nan="diagnose")
    text = str(error.value)
    assert "layer 'root' (Root)" in text and "'sqrt' gives NaN" in text and "of 8 samples" in text


def test_diagnose_names_the_gradient():
    class Edge(keras.layers.Layer):
        def call(self, x):
            return tf.sqrt(x * 0.0)                       # 0, with an infinite slope

    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first"), Edge()])
    made.compile("sgd", "mse")
    with pytest.raises(FloatingPointError, match="the gradient of '.*first/kernel' holds NaN"):
        made.fit(arrays(False)[0], np.ones((64, 3)), batch_size=8, verbose=0, nan="diagnose")


def test_unknown_value():
    with pytest.raises(ValueError, match="Did you mean 'raise'"):
        model().fit(*arrays(False), verbose=0, nan="raises")
