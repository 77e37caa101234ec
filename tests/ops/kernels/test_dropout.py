# SPDX-License-Identifier: Apache-2.0
"""Dropout, and the statistical battery its hash must pass.

Every statistic is fixed by the seeds, so a test here never fails by chance; its bound is what a
perfect generator would exceed once in a million runs (5 standard deviations, or the chi-square
quantile), times the number of statistics looked at where there are many.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fitloom.ops.kernels import dropout as module
from fitloom.ops.kernels.dropout import dropout, hash_bits, hash_uniform

jax.config.update("jax_enable_x64", True)

N = 1 << 18
_draw = jax.jit(hash_bits, static_argnums=1)


def _bits(seed, n=N):
    return np.asarray(_draw(jnp.asarray(seed), (n,)))


# Seeds as training uses them: neighbours, and far apart; scalars of both widths and pairs of words.
SEEDS = [np.uint32(s) for s in (0, 1, 2, 3, 0xFFFFFFFF, 123456789)] + [np.uint64(1) << np.uint64(40)]


def _chi_square_bound(degrees):
    return stats.chi2.isf(1e-6 / 100, degrees)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_each_byte_is_uniform(seed, shift):
    counts = np.bincount((_bits(seed) >> shift) & 255, minlength=256)
    assert stats.chisquare(counts).statistic < _chi_square_bound(255)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_bit_is_balanced_and_independent_of_the_others(seed):
    bits = (_bits(seed)[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    signs = bits.astype("float64") * 2 - 1
    correlations = signs.T @ signs / N - np.eye(32)
    assert np.abs(signs.mean(0)).max() < 6 / np.sqrt(N)
    assert np.abs(correlations).max() < 6 / np.sqrt(N)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_correlation_between_positions(seed):
    """Lags of one, of powers of two, of image widths and of channel counts."""
    u = _bits(seed) / 2.0**32 - 0.5
    for lag in (1, 2, 3, 4, 7, 8, 16, 28, 32, 64, 100, 128, 256, 512, 784, 1000, 1024, 4096, 65536, 131072):
        correlation = 12 * np.mean(u[:-lag] * u[lag:])
        assert abs(correlation) < 6 / np.sqrt(N - lag), f"lag {lag}"


@pytest.mark.parametrize("seed", SEEDS)
def test_pairs_and_triples_fill_their_boxes(seed):
    """Serial test: neighbouring values, in 32 x 32 and in 8 x 8 x 8 boxes."""
    b = _bits(seed)
    pairs = (b[0::2] >> 27).astype(int) * 32 + (b[1::2] >> 27)
    assert stats.chisquare(np.bincount(pairs, minlength=1024)).statistic < _chi_square_bound(1023)
    third = b[: N // 3 * 3].reshape(-1, 3) >> 29
    triples = third[:, 0].astype(int) * 64 + third[:, 1] * 8 + third[:, 2]
    assert stats.chisquare(np.bincount(triples, minlength=512)).statistic < _chi_square_bound(511)


@pytest.mark.parametrize("seed", SEEDS)
def test_runs_and_gaps_of_dropped_elements(seed):
    """The distances between dropped elements are geometric, for a usual and a small rate."""
    for rate in (0.5, 0.1):
        dropped = np.flatnonzero(_bits(seed) < np.uint32(rate * 2**32))
        gaps = np.minimum(np.diff(dropped), 30)
        expected = np.append(rate * (1 - rate) ** np.arange(29), (1 - rate) ** 29) * len(gaps)
        enough = expected > 10
        statistic = (((np.bincount(gaps, minlength=31)[1:] - expected) ** 2) / expected)[enough].sum()
        assert statistic < _chi_square_bound(enough.sum())


def test_the_distribution_of_the_largest_and_smallest():
    """Kolmogorov-Smirnov on the whole, and on the extremes of blocks."""
    u = np.concatenate([_bits(s, 1 << 14) for s in range(16)]) / 2.0**32
    assert stats.kstest(u, "uniform").pvalue > 1e-6
    assert stats.kstest(u.reshape(-1, 64).max(1) ** 64, "uniform").pvalue > 1e-6
    assert stats.kstest((1 - u.reshape(-1, 64).min(1)) ** 64, "uniform").pvalue > 1e-6


def test_masks_of_different_seeds_are_independent():
    """Consecutive steps, and seeds that differ in any one bit."""
    base = 77
    seeds = [base + i for i in range(40)] + [base ^ (1 << bit) for bit in range(32)]
    rows = np.stack([_bits(np.uint32(s), 1 << 14) for s in seeds])
    signs = np.where(rows >> 31, 1.0, -1.0)
    different = np.array(seeds)[:, None] != np.array(seeds)[None]
    correlations = signs @ signs.T / signs.shape[1]
    assert np.abs(correlations[different]).max() < 6.5 / np.sqrt(signs.shape[1])
    # Nor is one a shift of another, as counters plus a key would give.
    for lag in (1, 2, 64):
        shifted = signs[:, lag:] @ signs[:, :-lag].T / (signs.shape[1] - lag)
        assert np.abs(shifted).max() < 6.5 / np.sqrt(signs.shape[1] - lag)


def test_masks_are_not_permutations_of_each_other():
    """A hash of position xor key alone would give every seed the same values in another order."""
    many = [np.sort(_bits(np.uint32(s), 4096)) for s in range(50)]
    for i in range(len(many)):
        for j in range(i):
            assert len(np.intersect1d(many[i], many[j])) < 5


def test_a_flipped_input_bit_flips_half_of_the_output():
    """Strict avalanche, for every bit of the position and of both words of the seed."""
    for bit in range(17):
        b = _bits(np.uint32(5))
        partner = np.arange(N) ^ (1 << bit)
        changed = np.bitwise_count(b ^ b[partner]).mean() / 32
        assert abs(changed - 0.5) < 0.003, f"position bit {bit}"
    for bit in range(64):
        other = np.uint64(5) ^ (np.uint64(1) << np.uint64(bit))
        changed = np.bitwise_count(_bits(np.uint64(5), 1 << 14) ^ _bits(other, 1 << 14)).mean() / 32
        assert abs(changed - 0.5) < 0.006, f"seed bit {bit}"


def test_all_sixty_four_bits_of_a_seed_count():
    words = np.array([9, 4], np.uint32)
    assert (_bits(words) == _bits(np.uint64(9 + (4 << 32)))).all()
    assert (_bits(np.uint32(9)) == _bits(np.uint64(9))).all()
    assert (_bits(np.uint64(9)) != _bits(np.uint64(9 + (4 << 32)))).mean() > 0.99


def test_large_arrays_count_as_small_ones_do(monkeypatch):
    small = hash_bits(3, (5, 6, 7))
    limit = module._MOST_IN_ONE_IOTA
    monkeypatch.setattr(module, "_MOST_IN_ONE_IOTA", 10)
    np.testing.assert_array_equal(hash_bits(3, (5, 6, 7)), small)
    assert limit == 2**31


def test_uniform_stays_below_one():
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        u = hash_uniform(1, (1 << 20,), dtype).astype("float32")
        assert 0 <= u.min() and u.max() < 1
        assert abs(float(u.mean(dtype="float64")) - 0.5) < 0.005


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.999])
def test_dropout_drops_and_scales(rate):
    x = jnp.ones((512, 512), "float32")
    y = np.asarray(dropout(x, rate, np.uint32(4)))
    dropped = (y == 0).mean()
    assert abs(dropped - rate) < 6 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_a_traced_rate_gives_the_same_mask():
    x = jnp.ones((64, 64), "float32")
    traced = jax.jit(lambda rate: dropout(x, rate, np.uint32(4)))
    np.testing.assert_allclose(traced(jnp.float32(0.25)), dropout(x, 0.25, np.uint32(4)), rtol=1e-6)
    np.testing.assert_array_equal(traced(jnp.float32(1.0)), 0)
    np.testing.assert_array_equal(traced(jnp.float32(0.0)), x)


def test_rates_at_the_ends_and_outside():
    x = jnp.ones((3,), "float32")
    np.testing.assert_array_equal(dropout(x, 0.0, 1), x)
    np.testing.assert_array_equal(dropout(x, 1.0, 1), 0)
    with pytest.raises(ValueError, match="between 0 and 1, received 1.5"):
        dropout(x, 1.5, 1)


def test_noise_shape_is_shared():
    y = np.asarray(dropout(jnp.ones((8, 5, 16), "float32"), 0.5, 3, noise_shape=(None, 1, None)))
    assert (y == y[:, :1]).all() and 0 < y.mean() < 2
    with pytest.raises(ValueError, match="does not broadcast"):
        dropout(jnp.ones((8, 5), "float32"), 0.5, 3, noise_shape=(8, 2))


def test_forward_and_backward_use_one_mask():
    x = jnp.ones((100, 10), "float32")
    y, pull = jax.vjp(lambda x: dropout(x, 0.3, np.uint32(8)), x)
    np.testing.assert_array_equal(pull(x)[0], y)
