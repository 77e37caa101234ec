# SPDX-License-Identifier: Apache-2.0
"""What does one small `predict` call cost above the bare jitted function? Dense 64 on 20 features, 32 rows."""

import numpy as np

import harness

ROWS = 32


def rows():
    return np.random.default_rng(0).normal(size=(ROWS, 20)).astype("float32")


def keras_twin(twin):
    def prepare():
        keras = harness.load_keras(twin)
        layers = keras.layers
        model = keras.Sequential([keras.Input((20,)), layers.Dense(64, activation="relu"), layers.Dense(3)])
        model.compile(jit_compile=False if twin == "tf_keras_nojit" else "auto")
        x = rows()
        return harness.microseconds_per_call(lambda: model.predict(x, verbose=0))

    return prepare


def jitted():
    """A NumPy array in, a NumPy array out, as with `predict`."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(1)
    shapes = (20, 64), (64,), (64, 3), (3,)
    weights = tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)

    @jax.jit
    def forward(weights, x):
        w1, b1, w2, b2 = weights
        return jax.nn.relu(x @ w1 + b1) @ w2 + b2

    x = rows()
    return harness.microseconds_per_call(lambda: np.asarray(forward(weights, x)))


def torch_twin():
    import torch

    nn = torch.nn
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3)).eval()
    x = rows()

    def call():
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return harness.microseconds_per_call(call)


KERAS_TWINS = {twin: keras_twin(twin) for twin in ("fitloom", "keras_jax", "tf_keras", "tf_keras_nojit")}
WORKLOAD = harness.Workload(
    "predict_small", __doc__, "us", {"jitted": jitted, **KERAS_TWINS, "torch": torch_twin}, baseline="jitted"
)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
