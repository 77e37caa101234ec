# SPDX-License-Identifier: Apache-2.0
"""What does one small call cost? Microseconds, NumPy arrays in and out; Dense 64 on 20 features.

`jitted` is the bare jitted forward function, `torch` the bare module (and for `train` the bare step): neither has what
`predict`, `fit` and their kin look after.
"""

import numpy as np

import fit_tiny
import harness
import learning


def rows(count):
    x, y = fit_tiny.arrays()
    return x[:count], y[:count]


def keras_twin(twin, call, count):
    def prepare():
        model = learning.compiled_model(fit_tiny.PROBLEM, twin)
        x, y = rows(count)
        return harness.microseconds_per_call(lambda: call(model, x, y))

    return prepare


def jitted(count):
    def prepare():
        import jax
        import jax.numpy as jnp

        rng = np.random.default_rng(1)
        shapes = (20, 64), (64,), (64, 3), (3,)
        weights = tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)

        @jax.jit
        def forward(weights, x):
            w1, b1, w2, b2 = weights
            return jax.nn.relu(x @ w1 + b1) @ w2 + b2

        x, _ = rows(count)
        return harness.microseconds_per_call(lambda: np.asarray(forward(weights, x)))

    return prepare


def torch_forward(count):
    def prepare():
        torch, model, (x,), _ = learning.torch_model(fit_tiny.PROBLEM)
        model.eval()
        x = x[:count].numpy()

        def call():
            with torch.inference_mode():
                return model(torch.from_numpy(x)).numpy()

        return harness.microseconds_per_call(call)

    return prepare


def torch_step(count):
    def prepare():
        torch, model, (x,), y = learning.torch_model(fit_tiny.PROBLEM)
        x, y = x[:count].numpy(), y[:count].numpy()
        optimizer, loss_of = torch.optim.Adam(model.parameters(), fused=True), torch.nn.CrossEntropyLoss()

        def call():
            optimizer.zero_grad(set_to_none=True)
            labels = torch.from_numpy(y)
            logits = model(torch.from_numpy(x))
            loss = loss_of(logits, labels)
            loss.backward()
            optimizer.step()
            return loss.item(), (logits.detach().argmax(dim=-1) == labels).float().mean().item()

        return harness.microseconds_per_call(call)

    return prepare


def workload(name, call, count, **others):
    keras = {twin: keras_twin(twin, call, count) for twin in learning.KERAS_TWINS}
    return harness.Workload(f"call_{name}", __doc__.splitlines()[0], "us", {**keras, **others})


def forward(name, call, count):
    return workload(name, call, count, jitted=jitted(count), torch=torch_forward(count))


WORKLOADS = {
    "predict": forward("predict", lambda model, x, y: model.predict(x, verbose=0), 1),
    "predict32": forward("predict32", lambda model, x, y: model.predict(x, verbose=0), 32),
    "predict_on_batch": forward("predict_on_batch", lambda model, x, y: model.predict_on_batch(x), 1),
    "model": forward("model", lambda model, x, y: np.asarray(model(x, training=False)), 1),
    "evaluate": workload("evaluate", lambda model, x, y: model.evaluate(x, y, verbose=0), 32),
    "test": workload("test", lambda model, x, y: model.test_on_batch(x, y), 32),
    "train": workload("train", lambda model, x, y: model.train_on_batch(x, y), 32, torch=torch_step(32)),
}

if __name__ == "__main__":
    harness.main(WORKLOADS, __file__)
