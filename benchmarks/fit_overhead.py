# SPDX-License-Identifier: Apache-2.0
"""What does a step of `fit` cost in Python? Microseconds a step of the tiny model, against the bare jitted step.

`fitloom` is `fit` as it comes; `fitloom_hooks` has a callback with a batch hook, which asks for one dispatch a step;
`jitted` is the hand-written, donated step over the same batches. The difference to `jitted` is the overhead.
"""

import numpy as np

import fit_tiny
import harness

BATCH_SIZE = 32
EXAMPLES = 8192


def per_step(run_epochs):
    """Turn examples/s into microseconds a step."""
    examples_per_second = harness.examples_per_second(run_epochs, EXAMPLES)
    return lambda seconds: BATCH_SIZE / examples_per_second(seconds) * 1e6


def keras_twin(twin, with_hook):
    def prepare():
        keras = harness.load_keras(twin)

        class Hook(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                pass

        x, y = fit_tiny.arrays()
        model = fit_tiny.build_keras(keras)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        callbacks = [Hook()] if with_hook else []
        return per_step(
            lambda epochs: model.fit(
                x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks
            )
        )

    return prepare


def jitted():
    import functools

    import jax
    import jax.numpy as jnp

    x, y = fit_tiny.arrays()
    batches = [(x[n : n + BATCH_SIZE], y[n : n + BATCH_SIZE]) for n in range(0, EXAMPLES, BATCH_SIZE)]
    rng = np.random.default_rng(1)
    weights = [jnp.asarray(rng.normal(size=s) * 0.1, jnp.float32) for s in ((20, 64), (64,), (64, 3), (3,))]

    def loss_of(weights, x, y):
        w1, b1, w2, b2 = weights
        logits = jax.nn.relu(x @ w1 + b1) @ w2 + b2
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, x, y):
        weights, first, second, count, loss_sum = state
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        count = count + 1
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients)]
        weights = [w - rate * m / (jnp.sqrt(v) + 1e-7) for w, m, v in zip(weights, first, second)]
        return weights, first, second, count, loss_sum + loss

    zeros = [jnp.zeros_like(w) for w in weights]
    cell = [(weights, zeros, [jnp.copy(z) for z in zeros], jnp.zeros((), jnp.float32), jnp.zeros(()))]

    def run_epochs(epochs):
        state = cell[0]
        for _ in range(epochs):
            for inputs, labels in batches:
                state = step(state, inputs, labels)
            float(state[-1])
        cell[0] = state

    return per_step(run_epochs)


WORKLOAD = harness.Workload(
    "fit_overhead",
    __doc__,
    "us",
    {
        "jitted": jitted,
        "fitloom": keras_twin("fitloom", with_hook=False),
        "fitloom_hooks": keras_twin("fitloom", with_hook=True),
        "keras_jax": keras_twin("keras_jax", with_hook=True),
        "tf_keras": keras_twin("tf_keras", with_hook=True),
    },
    baseline="jitted",
)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
