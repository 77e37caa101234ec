# SPDX-License-Identifier: Apache-2.0
"""The distributions: their shapes, dtypes and bounds, and that they are what they say (fixed seeds)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fitloom.ops.kernels import random

jax.config.update("jax_enable_x64", True)

SEED = np.array([7, 11], np.uint32)
N = 20000

CONTINUOUS = {
    "uniform": (lambda **k: random.uniform(SEED, (N,), -1.0, 3.0, **k), stats.uniform(-1, 4)),
    "normal": (lambda **k: random.normal(SEED, (N,), 2.0, 3.0, **k), stats.norm(2, 3)),
    "truncated_normal": (lambda **k: random.truncated_normal(SEED, (N,), 1.0, 2.0, **k), stats.truncnorm(-2, 2, 1, 2)),
    "gamma": (lambda **k: random.gamma(SEED, (N,), 2.5, 4.0, **k), stats.gamma(2.5, scale=1 / 4)),
    "beta": (lambda **k: random.beta(SEED, (N,), 2.0, 0.7, **k), stats.beta(2, 0.7)),
}
DISCRETE = {
    "randint": (lambda **k: random.randint(SEED, (N,), -2, 5, **k), stats.randint(-2, 5)),
    "bernoulli": (lambda **k: random.bernoulli(SEED, (N,), 0.3, **k), stats.bernoulli(0.3)),
    "poisson": (lambda **k: random.poisson(SEED, (N,), 3.5, **k), stats.poisson(3.5)),
    "binomial": (lambda **k: random.binomial(SEED, (N,), 9.0, 0.4, **k), stats.binom(9, 0.4)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name):
    draw, distribution = CONTINUOUS[name]
    values = np.asarray(jax.jit(draw)())
    assert values.dtype == "float32" and values.shape == (N,)
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-4
    for dtype in ("bfloat16", "float16", "float64"):
        assert jax.eval_shape(lambda: draw(dtype=dtype)).dtype == dtype
    if name in ("uniform", "normal"):  # the others compile for seconds, and round the same way
        half = draw(dtype="bfloat16").astype("float64")
        assert abs(float(half.mean()) - distribution.mean()) < 0.05 * distribution.std()


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_distributions(name):
    draw, distribution = DISCRETE[name]
    values = np.asarray(jax.jit(draw)())
    kinds, counts = np.unique(values, return_counts=True)
    expected = distribution.pmf(kinds) * N
    enough = expected > 10
    statistic = ((counts - expected)[enough] ** 2 / expected[enough]).sum()
    assert statistic < stats.chi2.isf(1e-4, enough.sum())
    assert jax.eval_shape(lambda: draw(dtype="int64")).dtype == "int64"


def test_categorical_follows_the_logits():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    draws = np.asarray(random.categorical(SEED, jnp.log(probabilities), N, "int64"))
    assert draws.shape == (2, N) and draws.dtype == "int64"
    for row, p in zip(draws, probabilities):
        np.testing.assert_allclose(np.bincount(row, minlength=3) / N, p, atol=0.015)


def test_shuffles_are_permutations():
    x = np.arange(12).reshape(4, 3)
    shuffled = np.asarray(random.shuffle(SEED, x))
    assert sorted(shuffled.tolist()) == x.tolist() and (shuffled != x).any()
    assert sorted(np.asarray(random.permutation(SEED, 100)).tolist()) == list(range(100))
    assert random.permutation(SEED, 5, "int64").dtype == "int64"


def test_uniform_never_returns_its_upper_bound():
    for dtype in ("bfloat16", "float16", "float32", "float64"):
        u = random.uniform(SEED, (1 << 18,), 0.0, 1.0, dtype)
        assert u.dtype == dtype and float(u.min()) >= 0 and float(u.max()) < 1


def test_seeds_are_split_folded_and_obeyed():
    children = np.asarray(random.split(SEED, 3))
    assert children.shape == (3, 2) and children.dtype == "uint32"
    draws = [np.asarray(random.normal(s, (4,))) for s in (*children, random.fold_in(SEED, 100), SEED)]
    assert len({d.tobytes() for d in draws}) == 5
    np.testing.assert_array_equal(random.normal(SEED, (4,)), draws[-1])
    assert random.bits(SEED, (3,), "uint8").dtype == "uint8"
