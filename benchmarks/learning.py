# SPDX-License-Identifier: Apache-2.0
"""What the libraries learn in the benchmarks, and the questions about it: how fast are fit, evaluate and predict?"""

import dataclasses
from collections.abc import Callable

import numpy as np

import harness

KERAS_TWINS = (harness.OURS, "keras_jax", "tf_keras", "tf_keras_nojit")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A model and its data, the same for every library.

    Args:
        name: one word.
        about: the question that its training answers.
        arrays: () -> (x, y); x is an array or a list of them, y holds class numbers.
        batch_size: rows.
        build_keras: keras -> model with logits.
        build_torch: torch -> module with logits; classes are on the last axis.
    """

    name: str
    about: str
    arrays: Callable
    batch_size: int
    build_keras: Callable
    build_torch: Callable


def compiled_model(problem, twin):
    """Return a Keras model made and compiled by every library's usual means: Adam, cross-entropy, accuracy."""
    keras = harness.load_keras(twin)
    keras.utils.set_random_seed(0)
    model = problem.build_keras(keras)
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False if twin == "tf_keras_nojit" else "auto",
    )
    return model


def torch_model(problem):
    """Return (torch, module, list of inputs, targets), laid out as PyTorch is fastest."""
    import torch

    torch.manual_seed(0)
    # Adam's averages fade into denormal numbers, a hundred times slower; XLA and TensorFlow flush them too.
    torch.set_flush_denormal(True)
    x, y = problem.arrays()
    inputs = [torch.from_numpy(array) for array in (x if isinstance(x, list) else [x])]
    model = problem.build_torch(torch)
    if inputs[0].ndim == 4:  # images come as NHWC; oneDNN likes PyTorch's name for the same layout
        inputs = [array.permute(0, 3, 1, 2) for array in inputs]
        model = model.to(memory_format=torch.channels_last)
    return torch, model, inputs, torch.from_numpy(y).long()


def _workload(kind, problem, keras_epochs, torch_epochs):
    """A workload in examples a second; `keras_epochs(model, x, y)` and `torch_epochs(...)` give `run(epochs)`."""

    def keras_twin(twin):
        def prepare():
            x, y = problem.arrays()
            model = compiled_model(problem, twin)
            return harness.examples_per_second(keras_epochs(model, x, y), len(y))

        return prepare

    def torch_twin():
        torch, model, inputs, targets = torch_model(problem)
        return harness.examples_per_second(torch_epochs(torch, model, inputs, targets), len(targets))

    twins = {twin: keras_twin(twin) for twin in KERAS_TWINS}
    return harness.Workload(f"{kind}_{problem.name}", problem.about, "examples/s", {**twins, "torch": torch_twin})


def fit(problem):
    """Training through `model.fit`, shuffled."""

    def keras_epochs(model, x, y):
        return lambda epochs: model.fit(x, y, batch_size=problem.batch_size, epochs=epochs, verbose=0)

    def torch_epochs(*given):
        return torch_training(*given, problem.batch_size)

    return _workload("fit", problem, keras_epochs, torch_epochs)


def evaluate(problem):
    """Loss and accuracy of all the data through `model.evaluate`."""

    def keras_epochs(model, x, y):
        return lambda epochs: [model.evaluate(x, y, batch_size=problem.batch_size, verbose=0) for _ in range(epochs)]

    def torch_epochs(torch, model, inputs, targets):
        model.eval()
        loss_of = torch.nn.CrossEntropyLoss()

        def run(epochs):
            for _ in range(epochs):
                loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
                with torch.inference_mode():
                    for start in range(0, len(targets), problem.batch_size):
                        rows = slice(start, start + problem.batch_size)
                        labels = targets[rows]
                        logits = model(*[array[rows] for array in inputs])
                        loss_sum += loss_of(logits.flatten(0, -2), labels.flatten()) * len(labels)
                        correct += (logits.argmax(dim=-1) == labels).sum()
                loss_sum.item(), correct.item()

        return run

    return _workload("evaluate", problem, keras_epochs, torch_epochs)


def predict(problem):
    """The logits of all the data as one NumPy array, through `model.predict`."""

    def keras_epochs(model, x, y):
        return lambda epochs: [model.predict(x, batch_size=problem.batch_size, verbose=0) for _ in range(epochs)]

    def torch_epochs(torch, model, inputs, targets):
        model.eval()

        def run(epochs):
            for _ in range(epochs):
                with torch.inference_mode():
                    parts = [
                        model(*[array[start : start + problem.batch_size] for array in inputs])
                        for start in range(0, len(targets), problem.batch_size)
                    ]
                    torch.cat(parts).numpy()

        return run

    return _workload("predict", problem, keras_epochs, torch_epochs)


def torch_training(torch, model, inputs, targets, batch_size):
    """The loop a PyTorch user writes: shuffle, step, running loss and accuracy."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    loss_of = torch.nn.CrossEntropyLoss()

    def run(epochs):
        model.train()
        for _ in range(epochs):
            order = torch.randperm(len(targets))
            loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
            for start in range(0, len(targets), batch_size):
                rows = order[start : start + batch_size]
                labels = targets[rows]
                optimizer.zero_grad(set_to_none=True)
                logits = model(*[array[rows] for array in inputs])
                loss = loss_of(logits.flatten(0, -2), labels.flatten())
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach() * len(labels)
                correct += (logits.detach().argmax(dim=-1) == labels).sum()
            loss_sum.item(), correct.item()

    return run


def class_numbers(rng, shape, classes):
    """Return targets."""
    return rng.integers(0, classes, shape).astype("int32")


def normal(rng, *shape):
    """Return float32 inputs."""
    return rng.normal(size=shape).astype(np.float32)
