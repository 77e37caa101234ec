# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

import fitloom as tf

initializers = tf.keras.initializers
LARGE = (300, 200)


@pytest.mark.parametrize("make, low, high, stddev", [
    (lambda: initializers.RandomUniform(-0.2, 0.3, seed=1), -0.2, 0.3, 0.5 / 12**0.5),
    (lambda: initializers.RandomNormal(0.0, 0.2, seed=1), -1.2, 1.2, 0.2),
    (lambda: initializers.TruncatedNormal(0.0, 0.2, seed=1), -0.4, 0.4, 0.2 * 0.8796256),
    (lambda: initializers.GlorotUniform(seed=1), -(6 / 500) ** 0.5, (6 / 500) ** 0.5, (2 / 500) ** 0.5),
    (lambda: initializers.GlorotNormal(seed=1), -0.15, 0.15, (2 / 500) ** 0.5),
    (lambda: initializers.HeNormal(seed=1), -0.19, 0.19, (2 / 300) ** 0.5),
    (lambda: initializers.HeUniform(seed=1), -(6 / 300) ** 0.5, (6 / 300) ** 0.5, (2 / 300) ** 0.5),
    (lambda: initializers.LecunNormal(seed=1), -0.14, 0.14, (1 / 300) ** 0.5),
    (lambda: initializers.LecunUniform(seed=1), -(3 / 300) ** 0.5, (3 / 300) ** 0.5, (1 / 300) ** 0.5),
    (lambda: initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=1), -0.6, 0.6, 0.1),
])
def test_distribution(make, low, high, stddev):
    x = make()(LARGE).numpy()
    assert x.dtype == np.float32 and x.shape == LARGE
    assert low <= x.min() and x.max() <= high
    assert x.std() == pytest.approx(stddev, rel=0.02)
    assert x.mean() == pytest.approx((low + high) / 2, abs=4 * stddev / x.size**0.5)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (3, 3, 4, 5)])
def test_fans_of_keras(shape):
    keras = pytest.importorskip("keras")
    for mode in ("fan_in", "fan_out", "fan_avg"):
        arguments = {"mode": mode, "distribution": "uniform", "seed": 3}
        ours = np.abs([initializers.VarianceScaling(**{**arguments, "seed": s})(shape).numpy() for s in range(99)])
        theirs = np.abs([np.asarray(keras.initializers.VarianceScaling(**{**arguments, "seed": s})(shape))
                         for s in range(99)])
        assert ours.max() == pytest.approx(theirs.max(), rel=0.15)


def test_fans_by_axes():
    from fitloom.initializers import compute_fans
    assert compute_fans((20, 30, 40), input_axes=[0], output_axes=[1, 2]) == (20, 1200)
    assert compute_fans((20, 30, 40), input_axes=[0, 1], output_axes=[-1]) == (600, 40)
    assert compute_fans((3, 3, 4, 5)) == (36, 45)


def test_same_seed_same_values_other_seed_others():
    first, again = (initializers.GlorotUniform(seed=7)((3, 4)).numpy() for _ in range(2))
    assert (first == again).all()
    assert (initializers.GlorotUniform(seed=8)((3, 4)).numpy() != first).any()


def test_without_a_seed_objects_differ_and_one_repeats():
    a, b = initializers.RandomNormal(), initializers.RandomNormal()
    assert (a((3,)).numpy() == a((3,)).numpy()).all()
    assert (a((3,)).numpy() != b((3,)).numpy()).any()


def test_set_seed_repeats_unseeded_initializers():
    tf.random.set_seed(5)
    first = initializers.HeNormal()((3,)).numpy()
    tf.random.set_seed(5)
    assert (initializers.HeNormal()((3,)).numpy() == first).all()


def test_orthogonal():
    for shape in ((4, 4), (3, 6), (6, 3), (2, 3, 5)):
        q = initializers.Orthogonal(gain=2.0, seed=1)(shape).numpy().reshape(-1, shape[-1])
        product = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    with pytest.raises(ValueError, match="two or more axes"):
        initializers.Orthogonal()((3,))


def test_constants():
    assert initializers.Zeros()((2,)).numpy().tolist() == [0, 0]
    assert initializers.Ones()((2,), dtype="int32").numpy().tolist() == [1, 1]
    assert initializers.Constant([1.0, 2.0])((2, 2)).numpy().tolist() == [[1, 2], [1, 2]]
    assert initializers.Identity(gain=2.0)((2, 3)).numpy().tolist() == [[2, 0, 0], [0, 2, 0]]
    with pytest.raises(ValueError, match="matrices only"):
        initializers.Identity()((2, 2, 2))


@pytest.mark.parametrize("arguments", [{}, {"side": "imag"}, {"window": None}, {"scaling": "spectrum"},
                                       {"periodic": True, "window": "hamming"}])
def test_stft_equals_keras(arguments):
    keras = pytest.importorskip("keras")
    expected = np.asarray(keras.initializers.STFT(**arguments)((8, 1, 5)))
    np.testing.assert_allclose(initializers.STFT(**arguments)((8, 1, 5)).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["glorot_uniform", "GlorotUniform", "he_normal", "zeros", "ones", "uniform", "normal",
                                  "orthogonal", "OrthogonalInitializer", "truncated_normal", "variance_scaling"])
def test_get_by_name_and_round_trip(name):
    made = initializers.get(name)
    again = initializers.deserialize(initializers.serialize(made))
    assert type(again) is type(made) and again.get_config() == made.get_config()


def test_get_takes_classes_callables_arrays_and_none():
    assert isinstance(initializers.get(initializers.Zeros), initializers.Zeros)
    function = lambda shape, dtype=None: tf.ones(shape)
    assert initializers.get(function) is function
    assert initializers.get(None) is None
    assert initializers.get(np.arange(3.0))((3,)).numpy().tolist() == [0, 1, 2]


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="Did you mean 'glorot_uniform'"):
        initializers.get("glorot_unifrm")
    with pytest.raises(ValueError, match="fan_in"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="positive"):
        initializers.VarianceScaling(scale=0)
    with pytest.raises(ValueError, match="seed"):
        initializers.RandomNormal(seed="x")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtype_is_kept(dtype):
    assert initializers.GlorotNormal(seed=1)((2, 3), dtype=dtype).dtype.name == dtype


def test_root_initializers_of_tensorflow():
    assert tf.random_normal_initializer(stddev=0.1, seed=1)((2,)).shape == (2,)
    assert tf.constant_initializer(3.0)((2,)).numpy().tolist() == [3, 3]
    assert tf.zeros_initializer()((2,)).numpy().tolist() == [0, 0]


def test_configurations_are_plain_data_also_for_arrays_and_seed_generators():
    for made in (initializers.RandomNormal(seed=tf.keras.random.SeedGenerator(3)),
                 initializers.HeNormal(seed=tf.keras.random.SeedGenerator(3)),
                 initializers.Constant(np.arange(3.0))):
        config = json.loads(json.dumps(made.get_config()))
        again = type(made).from_config(config)
        assert again.get_config() == made.get_config()
        np.testing.assert_array_equal(again((2, 3)), made((2, 3)))
        assert initializers.deserialize(initializers.serialize(made)).get_config() == config


def test_a_seed_generator_is_saved_by_its_public_name():
    made = tf.keras.saving.serialize_keras_object(tf.keras.random.SeedGenerator(5))
    assert (made["module"], made["class_name"]) == ("keras.random", "SeedGenerator")
    assert tf.keras.saving.deserialize_keras_object(made).get_config() == {"seed": 5}


def test_a_variable_takes_an_initializer_by_name():
    v = tf.keras.Variable("ones", shape=(2, 3), dtype="float16")
    assert v.dtype == "float16" and v.numpy().tolist() == [[1.0] * 3] * 2
    with pytest.raises(ValueError, match="'he_normal'"):
        tf.keras.Variable("he_norma", shape=(2,))
    with pytest.raises(ValueError, match="needs a shape"):
        tf.keras.Variable("zeros")


@pytest.mark.parametrize("make", [tf.random_normal_initializer, tf.random_uniform_initializer])
def test_initializers_at_the_root_draw_anew_unless_they_have_a_seed(make):
    free, seeded = make(), make(seed=3)
    assert not np.array_equal(free((3, 3)), free((3, 3)))
    np.testing.assert_array_equal(seeded((3, 3)), seeded((3, 3)))
