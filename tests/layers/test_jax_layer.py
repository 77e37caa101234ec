# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest

import fitloom as tf

JaxLayer = tf.keras.layers.JaxLayer


def test_params_are_trained():
    layer = JaxLayer(lambda params, inputs: inputs @ params["w"], params={"w": np.zeros((3, 1), "float32")})
    model = tf.keras.Sequential([tf.keras.Input((3,)), layer])
    model.compile(tf.keras.optimizers.SGD(0.1), "mse")
    model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=30, verbose=0)
    assert model.predict(np.ones((1, 3)), verbose=0)[0, 0] == pytest.approx(1, abs=0.05)
    assert [w.name for w in layer.trainable_weights] == ["params"]


def test_state_moves_on():
    layer = JaxLayer(lambda params, state, inputs: (inputs * params + state["n"], {"n": state["n"] + 1}),
                     params=np.ones((), "float32"), state={"n": np.zeros((), "float32")})
    assert [float(layer(np.ones((1, 1), "float32")).numpy()[0, 0]) for _ in range(3)] == [1, 2, 3]


def test_init_fn_rng_and_training():
    def init(rng, inputs):
        return {"w": jax.random.normal(rng, (inputs.shape[-1], 2))}

    def call(params, rng, inputs, training):
        outputs = inputs @ params["w"]
        return outputs * jax.random.uniform(rng) if training else outputs
    layer = JaxLayer(call, init_fn=init)
    x = np.ones((2, 3), "float32")
    rest = layer(x, training=False).numpy()
    assert rest.shape == (2, 2) and rest.dtype == np.float32
    assert (layer(x, training=False).numpy() == rest).all()
    assert (layer(x, training=True).numpy() != layer(x, training=True).numpy()).any()


def test_unknown_arguments():
    with pytest.raises(ValueError, match="call_fn"):
        JaxLayer(lambda params, x: x)
    with pytest.raises(ValueError, match="init_fn"):
        JaxLayer(lambda params, inputs: inputs)(np.ones((1, 1), "float32"))
