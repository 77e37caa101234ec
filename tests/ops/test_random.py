# SPDX-License-Identifier: Apache-2.0
"""Random numbers: TensorFlow's for the same seeds, the same eager, recorded and in functions; generators; gradients."""
import json

import numpy as np
import pytest
from random_cases import GOLDEN, IMAGES, SEED, plain, stateless, streams

import fitloom as tf
from fitloom import engine

RECORDED = json.loads(GOLDEN.read_text())
CASES = dict(stateless(tf))


def same(found, expected, name=""):
    found, expected = np.asarray(found), np.asarray(expected, np.asarray(found).dtype)
    assert found.shape == expected.shape, name
    if found.dtype.kind in "iu":
        np.testing.assert_array_equal(found, expected, name)
    else:
        rtol = 2e-3 if name.endswith("float16") else 1e-5                       # a last bit after a cancellation
        np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol, 1e-6, err_msg=name)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["recorded", "eager", "function"])
def test_a_stateless_draw_is_that_of_tensorflow(name, mode):
    draw = CASES[name]
    if mode == "function":
        draw = tf.function(draw)
    tf.config.run_functions_eagerly(mode == "eager")
    try:
        same(plain(draw()), RECORDED[name], name)
    finally:
        tf.config.run_functions_eagerly(False)


def test_streams_are_those_of_tensorflow():
    for name, draws in streams(tf).items():
        for i, (found, expected) in enumerate(zip(draws, RECORDED[name], strict=True)):
            same(plain(found), expected, f"{name} {i}")


def test_a_stream_goes_on_where_it_was_stored():
    tf.random.set_seed(4)
    tf.random.uniform([1]), tf.random.uniform([1], seed=3), tf.keras.random.normal((1,))
    state = json.loads(json.dumps(engine.stream_state()))
    draws = [[tf.random.uniform([2]), tf.random.uniform([2], seed=3), tf.keras.random.normal((2,)),
              tf.keras.layers.Dense(1)(tf.ones((1, 2)))] for restored in (False, True)
             if not restored or engine.restore_stream(state) is None]
    for a, b in zip(*draws):
        np.testing.assert_array_equal(a, b)


DRAWS = {
    "uniform": lambda seed: tf.random.uniform([3], seed=seed), "normal": lambda seed: tf.random.normal([3], seed=seed),
    "gamma": lambda seed: tf.random.gamma([3], 2.0, seed=seed), "poisson": lambda seed: tf.random.poisson([3], 9.0, seed=seed),
    "shuffle": lambda seed: tf.random.shuffle(tf.range(9), seed=seed), "dropout": lambda seed: tf.nn.dropout(tf.ones(64), 0.5, seed=seed),
    "crop": lambda seed: tf.image.random_crop(IMAGES[0], [1, 1, 3], seed=seed), "hue": lambda seed: tf.image.random_hue(IMAGES[0], 0.4, seed),
    "jpeg": lambda seed: tf.image.random_jpeg_quality(np.tile(IMAGES[0], (4, 4, 1)), 5, 95, seed),
    "categorical": lambda seed: tf.random.categorical(tf.zeros((1, 99)), 3, seed=seed),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_in_every_mode(name):
    draw = DRAWS[name]

    def drawn(function, seed):
        tf.random.set_seed(8)
        return np.asarray(function(seed))
    first = drawn(draw, 3)
    np.testing.assert_array_equal(first, drawn(draw, 3))
    tf.config.run_functions_eagerly(True)
    try:
        np.testing.assert_allclose(first, drawn(draw, 3), 1e-6, 1e-7)
    finally:
        tf.config.run_functions_eagerly(False)
    function = tf.function(draw)
    np.testing.assert_array_equal(drawn(function, 3), drawn(function, 3))
    if name != "crop":
        assert not np.array_equal(drawn(draw, None), first) or not np.array_equal(drawn(draw, 4), first)


def test_generators_refuse_what_they_cannot_be():
    for make in (lambda: tf.random.Generator.from_seed(1, alg="threefry"), lambda: tf.random.Generator.from_seed(1, alg="mt"),
                 lambda: tf.random.Generator(), lambda: tf.random.Generator.from_state([1, 2], alg="philox"),
                 lambda: tf.random.Generator.from_key_counter([1, 2], [3, 4], alg="philox"),
                 lambda: tf.random.Generator.from_seed(1).uniform([2], dtype=tf.int32)):
        with pytest.raises(ValueError):
            make()
    assert tf.random.Generator.from_non_deterministic_state().state.shape == (3,)
    assert tf.random.create_rng_state(1, "philox").tolist() == [1, 0, 0]
    state = tf.Variable([1, 0, 0], dtype=tf.int64)
    shared = tf.random.Generator.from_state(state, alg="philox")
    assert shared.skip(2).numpy().tolist() == [1, 0, 0] and state.numpy().tolist() == [513, 0, 0]
    state.assign([-1, 0, 0])
    shared.skip(1)                                             # the carry of 128 bits
    assert state.numpy().tolist() == [255, 1, 0]


def test_a_generator_in_a_function_moves_on_with_every_call():
    g, other = tf.random.Generator.from_seed(2), tf.random.Generator.from_seed(2)
    draw = tf.function(lambda: g.normal([3]))
    for _ in range(3):
        np.testing.assert_array_equal(draw(), other.normal([3]))


def test_moments_and_gradients_of_draws():
    x = tf.random.stateless_parameterized_truncated_normal([20000], SEED, [1.0], 2.0, 0.0, 3.0).numpy()
    assert 0 <= x.min() < 0.01 and 2.99 < x.max() <= 3 and abs(x.mean() - 1.4133) < 0.02
    x = tf.random.stateless_truncated_normal([40000], SEED).numpy()
    assert np.abs(x).max() <= 2 and abs(x.std() - 0.8796) < 0.01 and abs(x.mean()) < 0.01
    assert sorted(tf.random.stateless_shuffle(tf.range(5000), SEED).numpy().tolist()) == list(range(5000))
    mean, stddev = tf.constant(0.5), tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch((mean, stddev))
        drawn = tf.random.stateless_normal([4], SEED, mean, stddev)
        total = tf.reduce_sum(drawn ** 2)
    d_mean, d_stddev = tape.gradient(total, (mean, stddev))
    unit = (drawn - 0.5) / 2.0
    np.testing.assert_allclose(d_mean, tf.reduce_sum(2 * drawn), 1e-5)
    np.testing.assert_allclose(d_stddev, tf.reduce_sum(2 * drawn * unit), 1e-4)
