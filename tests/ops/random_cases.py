# SPDX-License-Identifier: Apache-2.0
"""Draws with given seeds, for any module with TensorFlow's names.

`python tests/ops/random_cases.py` (in an environment with TensorFlow) records what TensorFlow draws on a CPU into
`tests/golden/random.json`; `test_random.py` compares.
"""
import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "random.json"
SEED = [1, 2]
LOGITS = np.log([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]).astype(np.float32)
IMAGES = (np.arange(2 * 4 * 5 * 3) % 251).reshape(2, 4, 5, 3).astype(np.uint8)


def stateless(tf):
    """Yield (name, function without arguments, draws that depend on nothing else)."""
    r = tf.random
    for name in ("float16", "float32", "float64", "bfloat16"):
        yield f"uniform {name}", lambda name=name: r.stateless_uniform([2, 5], SEED, dtype=name)
        yield f"normal {name}", lambda name=name: r.stateless_normal([7], SEED, mean=1.0, stddev=2.0, dtype=name)
        yield f"truncated {name}", lambda name=name: r.stateless_truncated_normal([21], SEED, dtype=name)
    for name in ("int32", "int64"):
        yield f"integers {name}", lambda name=name: r.stateless_uniform([7], SEED, minval=-3, maxval=100, dtype=name)
    for name in ("int32", "int64", "uint32", "uint64"):
        yield f"full {name}", lambda name=name: r.stateless_uniform([5], SEED, minval=None, maxval=None, dtype=name)
    yield "range", lambda: r.stateless_uniform([5], [-7, 3], minval=-2.0, maxval=5.0)
    yield "scalar", lambda: r.stateless_normal([], [5, 6])
    yield "empty", lambda: r.stateless_uniform([0, 3], [5, 6])
    yield "categorical", lambda: r.stateless_categorical(LOGITS, 9, SEED)
    yield "shuffle", lambda: r.experimental.stateless_shuffle(tf.range(10), seed=SEED)
    yield "shuffle rows", lambda: r.experimental.stateless_shuffle(tf.reshape(tf.range(12), [6, 2]), seed=[8, 9])
    yield "fold_in", lambda: r.fold_in(SEED, 3)
    yield "split", lambda: r.split(SEED, 3)
    yield "flip", lambda: tf.image.stateless_random_flip_left_right(IMAGES, SEED)
    yield "flip one", lambda: tf.image.stateless_random_flip_up_down(IMAGES[0], [3, 4])
    yield "crop", lambda: tf.image.stateless_random_crop(IMAGES[0], [2, 3, 3], SEED)
    yield "brightness", lambda: tf.image.stateless_random_brightness(IMAGES / np.float32(255), 0.3, SEED)
    yield "contrast", lambda: tf.image.stateless_random_contrast(IMAGES / np.float32(255), 0.3, 0.9, SEED)


def streams(tf):
    """Return {name: draws in order} of generators, `tf.random.set_seed` and `set_random_seed`."""
    found, g = {}, tf.random.Generator.from_seed(1)
    parts = g.split(2)
    found["generator"] = [
        parts[1].state, g.state, g.normal([3]), g.state, g.uniform([2, 3]), g.uniform_full_int([3], dtype=tf.uint64),
        g.truncated_normal([4]), g.uniform([3], 0, 10, dtype=tf.int32), g.make_seeds(2), g.state, g.key,
        tf.random.Generator.from_key_counter(3, [4, 5], alg="philox").normal([2], dtype=tf.float64),
        tf.random.Generator.from_seed(2**40 + 5).uniform([3]), parts[0].uniform([2])]
    g.skip(5)
    found["generator"].append(g.uniform([1]) + 0)
    g.reset_from_key_counter(3, [4, -5])
    found["generator"] += [g.state.read_value(), tf.random.Generator(copy_from=g).normal([2])]
    g.reset_from_seed(7)
    found["generator"].append(g.binomial([2], 10.0, 0.5) * 0)
    found["generator"].append(g.state.read_value())
    g.reset([1, 2, 3])
    found["generator"].append(g.normal([1]))
    tf.random.set_seed(1)
    found["set_seed"] = [
        tf.random.uniform([4]), tf.random.uniform([2], 0, 100, dtype=tf.int32), tf.random.normal([3], 1.0, 2.0),
        tf.random.truncated_normal([3]), tf.random.shuffle(tf.range(8)), tf.random.categorical(LOGITS, 5),
        tf.random.gamma([1], 2.0) * 0, tf.image.random_flip_left_right(IMAGES), tf.random.uniform([1])]
    tf.random.set_seed(1)
    found["own seeds"] = [tf.random.uniform([3], seed=5), tf.random.uniform([2], seed=5), tf.random.uniform([1], seed=6),
                          tf.random.normal([2], seed=5), tf.random.normal([2], seed=5), tf.random.shuffle(tf.range(6), seed=5),
                          tf.random.shuffle(tf.range(6), seed=5), tf.random.categorical(LOGITS, 3, seed=5),
                          tf.random.categorical(LOGITS, 3, seed=5), tf.random.uniform([1])]
    tf.keras.utils.set_random_seed(3)
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((6, 3)), layers.Conv1D(4, 2, kernel_initializer="he_normal"), layers.Dropout(0.5),
                                 layers.LSTM(3), layers.Dense(2)])
    found["weights"] = [*model.get_weights(), model(np.ones((1, 6, 3), np.float32))]
    kinds = tf.keras.initializers
    found["initializers"] = [kinds.get(name)((3, 4)) for name in (
        "glorot_uniform", "glorot_normal", "he_uniform", "lecun_normal", "random_normal", "random_uniform", "truncated_normal",
        "orthogonal")] + [kinds.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=3)((2, 2, 5)),
                          kinds.RandomNormal(seed=tf.keras.random.SeedGenerator(11))((2, 2)),
                          tf.random_normal_initializer(seed=4)((3,)), tf.random_uniform_initializer(seed=4)((3,))]
    random, generator = tf.keras.random, tf.keras.random.SeedGenerator(4)
    found["keras.random"] = [
        random.uniform((3,), seed=9), random.normal((3,)), random.normal((2,)), random.truncated_normal((3,), seed=generator),
        random.randint((4,), 0, 50, seed=generator), random.categorical(LOGITS, 4, seed=generator),
        random.shuffle(np.arange(7, dtype=np.int32), seed=generator)]
    return found


def plain(value):
    """Return an array as lists of numbers (bfloat16 as float32, 64-bit integers exactly)."""
    array = np.asarray(value)
    return (array.astype(np.float32) if array.dtype.name == "bfloat16" else array).tolist()


if __name__ == "__main__":
    import tensorflow
    results = {name: plain(draw()) for name, draw in stateless(tensorflow)}
    results.update({name: list(map(plain, draws)) for name, draws in streams(tensorflow).items()})
    GOLDEN.write_text(json.dumps(results, separators=(",", ":")).replace('],"', '],\n"') + "\n")
    print(len(results), "recorded with TensorFlow", tensorflow.__version__)
