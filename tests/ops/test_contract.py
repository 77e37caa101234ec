# SPDX-License-Identifier: Apache-2.0
"""Every operation of the table: eager, recorded and tf.function runs agree, and gradients agree with finite differences."""
import numpy as np
import pytest
from test_golden import CASES, GRADIENT_DIFFERS, KEYS, call, check, convert, find

import fitloom as tf

# Operations whose result's shape depends on values: outside compiled functions only.
ON_HOST = {"boolean_mask", "unique", "unique_with_counts", "dynamic_partition", "dynamic_stitch", "where", "math.bincount",
           "histogram_fixed_width", "math.confusion_matrix", "math.segment_sum", "math.segment_mean", "math.segment_max",
           "math.segment_min", "math.segment_prod", "repeat", "sequence_mask", "reverse_sequence"}
NUMBERS = [k for k in KEYS if not k.split()[1].startswith("strings.") and k.split()[1] not in ON_HOST]
# One case an operation is enough here; the golden suite runs them all.
FIRST = list({k.split()[1]: k for k in reversed(NUMBERS)}.values())[::-1]




@pytest.mark.parametrize("key", FIRST)
def test_a_traced_function_gives_the_same(key):
    check(key, *call(int(key.split()[0]), tf.function))


@pytest.mark.parametrize("key", FIRST)
def test_eager_execution_gives_the_same(key):
    tf.config.run_functions_eagerly(True)
    try:
        check(key, *call(int(key.split()[0])))
    finally:
        tf.config.run_functions_eagerly(False)


SMOOTH = {  # at kinks, ties, poles and jumps a difference quotient means nothing
    "skip": {"math.maximum", "math.minimum", "math.abs", "math.sign", "math.floor", "math.ceil", "math.round", "math.rint",
             "math.divide_no_nan", "math.atan2", "math.floormod", "math.floordiv", "truncatemod", "clip_by_value", "math.nextafter",
             "math.xlogy", "math.xlog1py", "math.xdivy", "math.mod", "nn.relu", "nn.relu6", "nn.selu", "nn.crelu", "nn.leaky_relu",
             "math.reduce_max", "math.reduce_min", "norm", "linalg.matrix_rank", "bitcast", "cast", "math.betainc", "math.igamma",
             "math.polygamma", "image.rgb_to_hsv", "image.hsv_to_rgb", "image.adjust_hue", "image.adjust_saturation", "math.multiply_no_nan",
             "complex", "math.zeta", "sort", "image.adjust_gamma", "math.reciprocal_no_nan", "image.convert_image_dtype", "linalg.diag", "nn.max_pool2d",
             "nn.max_pool_with_argmax", "linalg.eigvalsh", "math.is_finite", "math.reduce_logsumexp", "saturate_cast",
             "nn.elu", "nn.embedding_lookup", "math.reduce_prod", "nn.weighted_moments", "clip_by_norm", "nn.log_poisson_loss",
             "clip_by_global_norm", "linalg.tensor_diag", "nn.ctc_loss", "image.crop_and_resize", "math.softsign", "nn.softsign",
             "linalg.cholesky", "linalg.logdet", "linalg.sqrtm", "linalg.cholesky_solve", "linalg.triangular_solve"},
}
DIFFERENTIABLE = [k for k in FIRST if k.split()[1] not in SMOOTH["skip"] and any(
    isinstance(a, np.ndarray) and a.dtype == np.float32 for a in CASES[int(k.split()[0])][1])]


@pytest.mark.parametrize("key", DIFFERENTIABLE)
def test_gradient_is_the_difference_quotient_in_float64(key):
    """d/dt total(x + t direction) against (total(x + h) - total(x - h)) / 2h."""
    number, name = key.split()
    _, args, kwargs = CASES[int(number)]
    rng = np.random.default_rng(int(number))

    def wide(value):
        if isinstance(value, np.ndarray):
            return value.astype(np.float64) if value.dtype == np.float32 else value
        if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
            return [wide(v) for v in value]
        return value
    args, kwargs = [wide(a) for a in args], {k: wide(v) for k, v in kwargs.items()}
    tensors = []
    arguments = [convert(a, tensors) for a in args]
    named = {k: convert(v, tensors) for k, v in kwargs.items()}
    sources = [t for t in tensors if t.dtype == tf.float64]
    directions = [rng.normal(size=t.shape) for t in sources]

    def total(step):
        moved = iter([t + step * d for t, d in zip(sources, directions, strict=True)])

        def swap(value):
            if isinstance(value, list):
                return [swap(v) for v in value]
            return next(moved) if isinstance(value, tf.Tensor) and value.dtype == tf.float64 else value
        results = tf.nest.flatten(find(name)(*[swap(a) for a in arguments], **{k: swap(v) for k, v in named.items()}))
        return sum((tf.reduce_sum(r * tf.reshape(tf.range(1, tf.size(r) + 1, dtype=tf.float64) / 10, tf.shape(r)))
                    for r in results if r is not None and r.dtype == tf.float64), tf.constant(0.0, tf.float64))

    h = 1e-6
    t = tf.constant(0.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(t)
        value = total(t)
    slope = tape.gradient(value, t)
    quotient = (float(total(tf.constant(h, tf.float64))) - float(total(tf.constant(-h, tf.float64)))) / (2 * h)
    slope = 0.0 if slope is None else float(slope)
    assert slope == pytest.approx(quotient, rel=2e-4, abs=2e-5)


def test_the_exceptions_name_operations_of_the_table():
    names = {k.split()[1] for k in KEYS}
    assert set(GRADIENT_DIFFERS) <= names
    assert ON_HOST <= names
