# SPDX-License-Identifier: Apache-2.0
"""Twenty optimizer steps through every layer and every loss, beside Keras 3 on JAX, from the same starting weights.

The inputs of a layer are trained, too, so that layers without weights take part. Here the steps are the loop as a user
writes it (tape, `apply_gradients`); there they are one `lax.scan` over Keras's stateless calls.
"""
import inspect

import numpy as np
import pytest

import fitloom as tf
from parity.layer_cases import CASES, RECURRENT
from parity.test_layers import (
    ATTENTION,
    NESTED,
    _Spread,
    copy_weights,
    label,
    listed,
    make_input,
    numpy,
    symbolic,
)
from parity.test_losses import CLASSES, data
from tolerances import PARITY

keras = pytest.importorskip("keras")
import jax  # noqa: E402

# Keras's variables implement NumPy 1's __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS, RATE, MOMENTUM = 20, 0.05, 0.9
MASK = np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool)


def theirs_trained(call, trainable, fixed, optimizer):
    """Run the steps in one program: call(trainable, fixed) -> (loss, new fixed)."""
    optimizer.build([keras.Variable(v) for v in trainable])
    state = [numpy(v) for v in optimizer.variables]

    def step(carry, _):
        trainable, fixed, state = carry
        (loss, fixed), gradients = jax.value_and_grad(call, has_aux=True)(trainable, fixed)
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        return (list(trainable), list(fixed), list(state)), loss

    run = jax.jit(lambda *start: jax.lax.scan(step, start, length=STEPS))
    (trainable, fixed, _), losses = run(list(trainable), list(fixed), state)
    return [*losses, *trainable, *fixed]


def ours_trained(call, trainable, fixed):
    """Run the steps as an undecorated loop."""
    optimizer, losses = tf.keras.optimizers.SGD(RATE, momentum=MOMENTUM), []
    optimizer.build(trainable)
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            loss = call()
        gradients = tape.gradient(loss, trainable, unconnected_gradients="zero")
        optimizer.apply_gradients(zip(gradients, trainable))
        losses.append(loss)
    return [*losses, *trainable, *fixed]


def sgd():
    return keras.optimizers.SGD(RATE, momentum=MOMENTUM)


def assert_same(ours, theirs):
    scale = max(float(np.max(np.abs(numpy(v)), initial=0)) for v in theirs[STEPS:])
    for position, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
        what = f"loss of step {position + 1}" if position < STEPS else f"value {position - STEPS}"
        np.testing.assert_allclose(mine.numpy(), np.asarray(reference), rtol=PARITY["rtol"],
                                   atol=PARITY["atol"] * max(1.0, scale), err_msg=what)


def train_both(theirs, ours, x, call, rng):
    """Train two layers of the same class and compare every loss, weight, state and input."""
    inputs = listed(x)
    join = (lambda values: list(values)) if isinstance(x, list) else (lambda values: values[0])
    theirs(join([symbolic(v) for v in inputs]), **call)
    outputs = listed(ours(join(inputs), **call))    # of Keras's shape, as test_layers.py compares
    copy_weights(theirs, ours, rng)
    targets = [rng.normal(size=tuple(y.shape)).astype("float32") for y in outputs]
    floats = [i for i, v in enumerate(inputs) if v.dtype.kind == "f"]
    count = len(theirs.trainable_variables)
    # random seeds do not matter here: nothing that is called with training=True draws
    kept = [i for i, v in enumerate(theirs.non_trainable_variables) if np.issubdtype(v.dtype, np.floating)]

    def their_call(trainable, fixed):
        given = list(inputs)
        for i, value in zip(floats, trainable[count:]):
            given[i] = value
        found, fixed = theirs.stateless_call(trainable[:count], fixed, join(given), **call)
        loss = sum(((y - t) ** 2).mean() for y, t in zip(listed(found), targets, strict=True))
        return loss, fixed

    expected = theirs_trained(
        their_call, [numpy(v) for v in theirs.trainable_variables] + [inputs[i] for i in floats],
        [numpy(v) for v in theirs.non_trainable_variables], sgd())
    last = len(expected) - len(theirs.non_trainable_variables)
    expected = expected[:last] + [expected[last + i] for i in kept]

    given = [tf.constant(v) for v in inputs]
    for i in floats:
        given[i] = tf.Variable(inputs[i])
    constants = [tf.constant(t) for t in targets]

    def our_call():
        values = [tf.convert_to_tensor(v) for v in given]
        return sum(tf.reduce_mean((y - t) ** 2.0) for y, t in zip(listed(ours(join(values), **call)), constants))

    state = [v for v in ours.non_trainable_variables if v.dtype.startswith("float")]
    assert_same(ours_trained(our_call, [*ours.trainable_variables, *[given[i] for i in floats]], state), expected)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_layer_trains_as_in_keras(case, rng):
    name, arguments, shape, call = case
    train_both(getattr(keras.layers, name)(**arguments), getattr(tf.keras.layers, name)(**arguments),
               make_input(shape, rng), call, rng)


@pytest.mark.parametrize("case", [c for c in RECURRENT if not c[1].get("stateful")],
                         ids=lambda c: c[0] + "".join(f"-{k}={v}" for k, v in c[1].items()))
def test_recurrent_layer_trains_as_in_keras(case, rng):
    name, arguments = case
    train_both(getattr(keras.layers, name)(**arguments), getattr(tf.keras.layers, name)(**arguments),
               make_input((2, 5, 4), rng), {"mask": MASK}, rng)


@pytest.mark.parametrize("name", NESTED)
def test_nested_layer_trains_as_in_keras(name, rng):
    make, shape, call = NESTED[name]
    train_both(make(keras.layers), make(tf.keras.layers), make_input(shape, rng), call, rng)


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_trains_as_in_keras(name, rng):
    make, shape, call = ATTENTION[name]
    train_both(_Spread(make(keras.layers)), _Spread(make(tf.keras.layers)), make_input(shape, rng), call, rng)


# Layers of Keras that no case trains, and why.
ELSEWHERE = {
    "Layer", "Wrapper", "InputLayer", "Input", "InputSpec", "Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer",
    "TorchModuleWrapper",                                        # what others are made of
    "RNN", "StackedRNNCells", "SimpleRNNCell", "LSTMCell", "GRUCell", "Bidirectional", "TimeDistributed",
    "SpectralNormalization", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Attention", "AdditiveAttention",
    "MultiHeadAttention", "GroupedQueryAttention", "SimpleRNN", "LSTM", "GRU",     # in the tests of their own above
}


def test_every_layer_of_keras_is_trained_or_prepares_data():
    theirs = {cls.__name__ for cls in vars(keras.layers).values()      # by class: many have several names
              if inspect.isclass(cls) and issubclass(cls, keras.layers.Layer)}
    trained = {name for name, *_ in CASES + RECURRENT}
    # what prepares data has no gradient and is compared in tests/layers
    preparing = {name for name in theirs - trained - ELSEWHERE
                 if "preprocessing" in getattr(keras.layers, name, keras.layers.Layer).__module__}
    assert theirs - trained - ELSEWHERE - preparing == set()


def loss_data(name, rng):
    if name == "Circle":
        return np.array([0, 1, 0, 1, 2, 2]), rng.normal(size=(6, 3)).astype("float32") * 3
    if name == "CTC":
        return np.array([[1, 2, 2], [1, 3, 0]]), rng.normal(size=(2, 7, 5)).astype("float32")
    return data(CLASSES[name])


def test_every_loss_of_keras_is_trained():
    theirs = {cls.__name__ for cls in vars(keras.losses).values()
              if inspect.isclass(cls) and issubclass(cls, keras.losses.Loss)}
    assert theirs - {"Loss"} == {*CLASSES, "Circle", "CTC"}


@pytest.mark.parametrize("name", sorted([*CLASSES, "Circle", "CTC"]))
def test_loss_trains_as_in_keras(name, rng):
    y_true, scores = loss_data(name, rng)
    probabilities = name != "Circle" and scores.min() >= 0 and scores.max() <= 1
    x, start = rng.normal(size=(len(scores), 4)).astype("float32"), rng.normal(size=(4, scores.shape[-1]))
    start = start.astype("float32") * 0.3
    if name == "CTC":
        x = rng.normal(size=(*scores.shape[:-1], 4)).astype("float32")
    theirs, ours = getattr(keras.losses, name)(), getattr(tf.keras.losses, name)()

    def their_call(trainable, fixed):
        y = x @ trainable[0] + scores
        if name == "Circle":
            y = y / (y * y).sum(1, keepdims=True) ** 0.5
        return theirs(y_true, jax.nn.sigmoid(y) if probabilities else y), fixed

    w = tf.Variable(start)

    def our_call():
        y = tf.constant(x) @ w + scores
        if name == "Circle":
            y = y / tf.reduce_sum(y * y, 1, keepdims=True) ** 0.5
        return ours(y_true, tf.sigmoid(y) if probabilities else y)

    assert_same(ours_trained(our_call, [w], []), theirs_trained(their_call, [start], [], sgd()))
