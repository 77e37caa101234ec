# SPDX-License-Identifier: Apache-2.0
"""Every layer against Keras on JAX: the same weights, inputs and arguments give the same outputs and gradients."""
import numpy as np
import pytest

import fitloom as tf
from parity.layer_cases import CASES, RECURRENT

keras = pytest.importorskip("keras")
import jax  # noqa: E402

# Keras's variables implement NumPy 1's __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
# float32: sums in another order. The gradient of a key's bias is 0 up to rounding, a few 1e-6 of its terms.
RELATIVE, ABSOLUTE = 1e-5, 5e-6


def make_input(shape, rng):
    """Random input(s) for a case's shapes."""
    if isinstance(shape, list):
        return [make_input(s, rng) for s in shape]
    if shape[0] == "int":
        return rng.integers(0, shape[1], shape[2]).astype("int32")
    return rng.normal(size=shape).astype("float32")


def label(case):
    """Readable name of a case."""
    name, arguments, shape, call = case
    return "-".join([name, *(f"{k}={v}" for k, v in {**arguments, **call}.items())]).replace(" ", "")


def numpy(x):
    """A Keras variable or array as a NumPy array."""
    return np.array(np.asarray(getattr(x, "value", x)))


def listed(x):
    """One array or several, as a list."""
    return list(x) if isinstance(x, (list, tuple)) else [x]


def close(ours, theirs, what):
    """Assert equality within float32's rounding, relative to the largest value."""
    ours, theirs = np.asarray(ours), numpy(theirs)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} and {theirs.shape}"
    scale = max(1.0, float(np.max(np.abs(theirs), initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE, atol=ABSOLUTE * scale, err_msg=what)


def same_names(ours, theirs):
    """Assert that weights have the same names, shapes, dtypes and order; automatic numbers may differ."""
    def outline(weights):
        return [(w.path.split("/")[-1], tuple(w.shape), getattr(w.dtype, "name", w.dtype), w.trainable)
                for w in weights]
    assert outline(ours.weights) == outline(theirs.weights)
    assert outline(ours.trainable_weights) == outline(theirs.trainable_weights)


def copy_weights(theirs, ours, rng):
    """Give both layers the same, moved, weights."""
    values = []
    for w in theirs.weights:
        value = numpy(w)
        noise = rng.uniform(0.1, 0.5, size=value.shape).astype(value.dtype) if value.dtype.kind == "f" else 0
        values.append((value + noise).astype(value.dtype))
    theirs.set_weights(values)
    ours.set_weights(values)


def symbolic(x):
    """Keras's symbolic input(s) for a case's input(s): a call on them builds a layer and computes nothing."""
    return [symbolic(v) for v in x] if isinstance(x, list) else keras.KerasTensor(x.shape, str(x.dtype))


def their_results(layer, inputs, join, call, rng, gradients):
    """Keras's outputs, its state afterwards, and the gradients of sum(weights * outputs) for trainable weights and
    float inputs, with these weights: one compiled program, because Keras's single operations are many small ones.
    Without gradients it is a plain call: the states of a stateful layer are not among a stateless call's results."""
    if not gradients:
        return listed(layer(join(inputs), **call)), (), ()
    floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    fixed, weights = [numpy(v) for v in layer.non_trainable_variables], []

    def run(trainable, moving):
        given = list(inputs)
        for i, x in zip(floats, moving):
            given[i] = x
        outputs, state = layer.stateless_call(trainable, fixed, join(given), **call)
        outputs = listed(outputs)
        weights[:] = [rng.normal(size=y.shape).astype("float32") for y in outputs]
        return sum((w * y).sum() for w, y in zip(weights, outputs)), (outputs, state)

    start = [numpy(v) for v in layer.trainable_variables], [inputs[i] for i in floats]
    (_, (outputs, state)), found = jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True))(*start)
    for variable, value in zip(layer.non_trainable_variables, state):
        variable.assign(value)
    return outputs, weights, [*found[0], *found[1]]


def compare(ours, theirs, x, call, rng, gradients=True):
    """Compare outputs, state and gradients of two built layers."""
    inputs = listed(x)
    join = (lambda xs: list(xs)) if isinstance(x, list) else (lambda xs: xs[0])
    before = [numpy(w) for w in theirs.weights]
    expected, weights, their_gradients = their_results(theirs, inputs, join, call, rng, gradients)
    found = listed(ours(join(inputs), **call))
    assert len(found) == len(expected)
    for mine, reference in zip(found, expected):
        assert mine.dtype.name == str(reference.dtype)
        close(mine, reference, "output")
    for mine, reference in zip(ours.weights, theirs.weights):
        close(mine.numpy(), reference, mine.path)
    if not gradients:
        return
    ours.set_weights(before)
    tensors = [tf.constant(v) for v in inputs]
    floats = [t for t in tensors if t.dtype.is_floating]
    with tf.GradientTape() as tape:
        for t in floats:
            tape.watch(t)
        outputs = listed(ours(join(tensors), **call))
        loss = sum(tf.reduce_sum(tf.constant(w) * y) for w, y in zip(weights, outputs))
    mine = tape.gradient(loss, [*ours.trainable_weights, *floats], unconnected_gradients="zero")
    for variable, gradient, reference in zip(
            [w.path for w in ours.trainable_weights] + ["inputs"] * len(floats), mine, their_gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient)
        close(gradient, reference, f"gradient of {variable}")


def plain(config):
    """A configuration with tuples as lists, without automatic names, in comparable form."""
    if isinstance(config, dict):
        return {k: plain(v) for k, v in config.items() if k not in ("name", "registered_name", "build_config")
                and not (k == "activity_regularizer" and v is None)}   # some of Keras's layers say it, some do not
    if isinstance(config, (list, tuple)):
        return [plain(v) for v in config]
    return config


@pytest.mark.parametrize("case", CASES, ids=label)
def test_layer_equals_keras(case, rng):
    name, arguments, shape, call = case
    x = make_input(shape, rng)
    theirs, ours = getattr(keras.layers, name)(**arguments), getattr(tf.keras.layers, name)(**arguments)
    theirs(symbolic(x), **call)
    ours(x, **call)
    same_names(ours, theirs)
    assert plain(ours.get_config()) == plain(theirs.get_config())
    copy_weights(theirs, ours, rng)
    compare(ours, theirs, x, call, rng)
    shapes = [tuple(v.shape) for v in x] if isinstance(x, list) else tuple(x.shape)
    if name != "ReversibleEmbedding":
        expected = theirs.compute_output_shape(shapes)   # sizes that Keras leaves open we may know
        found = ours.compute_output_shape(shapes)
        assert [m if n is None else n for m, n in zip(found, expected)] == list(found)
    assert ours.supports_masking == theirs.supports_masking


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("case", RECURRENT, ids=lambda c: c[0] + "".join(f"-{k}={v}" for k, v in c[1].items()))
def test_recurrent_layer_equals_keras(case, masked, rng):
    name, arguments = case
    x = make_input((2, 5, 4), rng)
    call = {"mask": np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool)} if masked else {}
    theirs, ours = getattr(keras.layers, name)(**arguments), getattr(tf.keras.layers, name)(**arguments)
    theirs(symbolic(x), **call)
    ours(x, **call)
    theirs.reset_state()
    ours.reset_state()
    same_names(ours, theirs)
    mine, reference = plain(ours.get_config()), plain(theirs.get_config())
    assert {k: v for k, v in mine.items() if k != "seed"} == {k: v for k, v in reference.items() if k != "seed"}
    copy_weights(theirs, ours, rng)
    compare(ours, theirs, x, call, rng, gradients=not arguments.get("stateful"))
    if arguments.get("stateful"):
        compare(ours, theirs, x, call, rng, gradients=False)   # the second batch starts from the first's states
    assert ours.compute_output_shape((2, 5, 4)) == theirs.compute_output_shape((2, 5, 4))
    assert ours.compute_output_shape((None, None, 4)) == theirs.compute_output_shape((None, None, 4))


NESTED = {
    "bidirectional": (lambda L: L.Bidirectional(L.LSTM(3)), (2, 5, 4), {}),
    "bidirectional-sum": (lambda L: L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="sum"), (2, 5, 4), {}),
    "bidirectional-states": (lambda L: L.Bidirectional(L.LSTM(3, return_state=True), merge_mode="ave"), (2, 5, 4), {}),
    "bidirectional-none": (lambda L: L.Bidirectional(L.SimpleRNN(3, return_sequences=True), merge_mode=None),
                           (2, 5, 4), {}),
    "bidirectional-masked": (lambda L: L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="mul"), (2, 5, 4),
                             {"mask": np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool)}),
    "stacked": (lambda L: L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True), (2, 5, 4), {}),
    "cell": (lambda L: L.RNN(L.SimpleRNNCell(3), go_backwards=True), (2, 5, 4),
             {"mask": np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool)}),
    "time-distributed": (lambda L: L.TimeDistributed(L.Dense(3)), (2, 5, 4), {}),
    "time-distributed-conv": (lambda L: L.TimeDistributed(L.Conv2D(3, 2)), (2, 3, 4, 4, 2), {}),
    "conv-lstm-1d": (lambda L: L.ConvLSTM1D(3, 2, padding="same", return_sequences=True), (2, 3, 5, 4), {}),
    "conv-lstm-2d": (lambda L: L.ConvLSTM2D(3, 2, return_state=True, data_format="channels_first"), (2, 3, 4, 5, 5),
                     {}),
    "conv-lstm-3d": (lambda L: L.ConvLSTM3D(2, 2, strides=2), (1, 2, 4, 4, 4, 2), {}),
    "spectral": (lambda L: L.SpectralNormalization(L.Dense(3)), (2, 4), {"training": False}),
    "attention": (lambda L: L.Attention(use_scale=True), [(2, 5, 4), (2, 3, 4)], {}),
    "attention-concat": (lambda L: L.Attention(score_mode="concat"), [(2, 5, 4), (2, 3, 6), (2, 3, 4)],
                         {"return_attention_scores": True}),
    "attention-causal": (lambda L: L.Attention(), [(2, 5, 4), (2, 5, 4)], {"use_causal_mask": True}),
    "additive-attention": (lambda L: L.AdditiveAttention(), [(2, 5, 4), (2, 3, 4)], {}),
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_layer_equals_keras(name, rng):
    make, shape, call = NESTED[name]
    x = make_input(shape, rng)
    theirs, ours = make(keras.layers), make(tf.keras.layers)
    theirs(symbolic(x), **call)
    ours(x, **call)
    same_names(ours, theirs)
    copy_weights(theirs, ours, rng)
    compare(ours, theirs, x, call, rng)
    shapes = [tuple(v.shape) for v in x] if isinstance(x, list) else tuple(x.shape)
    if "return_attention_scores" not in call:
        assert list(ours.compute_output_shape(shapes)) == list(theirs.compute_output_shape(shapes))


ATTENTION = {
    "self": (lambda L: L.MultiHeadAttention(2, 3), [(2, 5, 4), (2, 5, 4)], {}),
    "cross": (lambda L: L.MultiHeadAttention(2, 3, value_dim=5, output_shape=7), [(2, 5, 4), (2, 3, 6), (2, 3, 4)],
              {"return_attention_scores": True}),
    "scores": (lambda L: L.MultiHeadAttention(2, 3, use_bias=False), [(2, 5, 4), (2, 3, 4)],
               {"return_attention_scores": True}),
    "causal": (lambda L: L.MultiHeadAttention(2, 3), [(2, 5, 4), (2, 5, 4)], {"use_causal_mask": True}),
    "masked": (lambda L: L.MultiHeadAttention(2, 3), [(2, 5, 4), (2, 3, 4)],
               {"value_mask": np.array([[1, 1, 0], [1, 0, 0]], bool), "query_mask": np.ones((2, 5), bool)}),
    "attention-mask": (lambda L: L.MultiHeadAttention(2, 3), [(2, 4, 4), (2, 3, 4)],
                       {"attention_mask": np.tri(4, 3, dtype=bool)[None].repeat(2, 0)}),
    "images": (lambda L: L.MultiHeadAttention(2, 3), [(2, 2, 3, 4), (2, 2, 3, 4)], {"return_attention_scores": True}),
    "rows": (lambda L: L.MultiHeadAttention(2, 3, attention_axes=(2,)), [(2, 2, 3, 4), (2, 2, 3, 4)],
             {"return_attention_scores": True}),
    "gate-window": (lambda L: L.MultiHeadAttention(2, 3, use_gate=True, sliding_window=2), [(2, 5, 4), (2, 5, 4)], {}),
    "grouped": (lambda L: L.GroupQueryAttention(3, 4, 2), [(2, 5, 4), (2, 3, 4)], {}),
    "grouped-gate": (lambda L: L.GroupQueryAttention(3, 4, 2, use_gate=True, use_bias=False), [(2, 5, 4), (2, 5, 4)],
                     {"use_causal_mask": True}),
}


class _Spread:
    """A layer of several arguments called on one list."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, inputs, **call):
        return self.layer(*inputs, **call)

    def stateless_call(self, trainable, fixed, inputs, **call):
        return self.layer.stateless_call(trainable, fixed, *inputs, **call)

    def __getattr__(self, name):
        return getattr(self.layer, name)


@pytest.mark.parametrize("name", ATTENTION)
def test_projected_attention_equals_keras(name, rng):
    make, shape, call = ATTENTION[name]
    x = make_input(shape, rng)
    theirs, ours = _Spread(make(keras.layers)), _Spread(make(tf.keras.layers))
    theirs(symbolic(x), **call)
    ours(x, **call)
    same_names(ours, theirs)
    assert plain(ours.get_config()) == plain(theirs.get_config())
    copy_weights(theirs, ours, rng)
    compare(ours, theirs, x, call, rng)
