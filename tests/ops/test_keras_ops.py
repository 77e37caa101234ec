# SPDX-License-Identifier: Apache-2.0
"""keras.ops here against keras.ops of Keras 3 from PyPI on its JAX backend: values, shapes and dtypes."""

import jax
import numpy as np
import pytest

import fitloom as tf

keras = pytest.importorskip("keras")
rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4)).astype("f")
Y = rng.normal(size=(3, 4)).astype("f")
P = np.abs(X) + 0.1
I = rng.integers(-5, 6, (3, 4)).astype("i4")
J = np.abs(I) + 1
B = X > 0
V = np.array([3.0, 1.0, 2.0], "f")
SQ = rng.normal(size=(3, 3)).astype("f")
PD = SQ @ SQ.T + np.eye(3, dtype="f")
N = X.copy()
N[0, 1] = np.nan
IM = rng.random((2, 6, 6, 3)).astype("f")
K = rng.normal(size=(3, 3, 3, 4)).astype("f")
CASES = []
for n in "abs absolute arccos arcsin arctan arctan arcsinh cbrt ceil conj cos cosh deg2rad erf erfc exp exp2 expm1 fabs floor i0 imag isfinite isinf isnan isneginf isposinf isreal log_sigmoid logical_not negative rad2deg ravel real reciprocal sigmoid sign signbit silu sin sinc sinh softplus softsign square tan tanh trunc relu relu6 selu elu celu gelu hard_sigmoid hard_silu hard_tanh hard_shrink soft_shrink squareplus tanh_shrink sparse_plus sparse_sigmoid leaky_relu softmax log_softmax sparsemax flip fliplr flipud sort argsort diff transpose corrcoef ndim size shape logsumexp".split():
    CASES.append((n, (X,)))
for n in "sqrt log log10 log1p log2 rsqrt arccosh".split():
    CASES.append((n, (P + 1,)))
for n in "exp sqrt sin mean std var median log sigmoid relu softmax".split():
    CASES.append((n, (J,)))
for n in "add subtract multiply divide maximum minimum fmax fmin hypot logaddexp logaddexp2 arctan2 equal not_equal less less_equal greater greater_equal mod floor_divide true_divide fmod heaviside inner outer kron vdot power isclose allclose divide_no_nan nextafter".split():
    CASES.append((n, (P, np.abs(Y) + 0.1)))
for n in "add subtract multiply divide mod floor_divide maximum bitwise_and bitwise_or bitwise_xor gcd lcm equal power true_divide fmod".split():
    CASES.append((n, (I, J)))
CASES += [
    ("add", (I, X)),
    ("multiply", (I, 2.5)),
    ("add", (X, 1)),
    ("add", (I, 1)),
    ("subtract", (1, I)),
    ("divide", (I, 2)),
    ("add", (B, I)),
    ("maximum", (X, 0)),
    ("power", (X, 2)),
    ("power", (I, 2)),
    ("logical_and", (B, I)),
    ("where", (B, X, Y)),
    ("where", (B, X, 0)),
    ("where", (B, I, 1.5)),
    ("clip", (X, -0.5, 0.5)),
    ("clip", (I, -2, 2)),
]
for n in "sum mean max min prod std var median amax amin any all argmax argmin ptp".split():
    CASES += [(n, (X,)), (n, (X, 0)), (n, (X, 1), dict(keepdims=True))]
    if n not in ("ptp",):
        CASES += [(n, (I, 0))]
for n in "nanmax nanmin nansum nanprod nanmean nanmedian nanstd nanvar nanargmax nanargmin".split():
    CASES += [(n, (N,), dict(axis=1))]
for n in "cumsum cumprod nancumsum nancumprod".split():
    CASES += [(n, (X,), dict(axis=1)), (n, (X,)), (n, (I,), dict(axis=0))]
CASES += [
    ("count_nonzero", (X,)),
    ("average", (X,), dict(axis=0, weights=P)),
    ("quantile", (X, 0.3)),
    ("quantile", (X, [0.1, 0.9]), dict(axis=0)),
    ("percentile", (X, 30.0)),
    ("nanquantile", (N, 0.3)),
    ("moments", (X, [0])),
    ("bincount", (J,)),
    ("bincount", (J.ravel(),), dict(minlength=12)),
    ("histogram", (X, 5)),
    ("dot", (X, Y.T)),
    ("matmul", (X, Y.T)),
    ("tensordot", (X, Y), dict(axes=[[1], [1]])),
    ("einsum", ("ij,kj->ik", X, Y)),
    ("cross", (SQ, SQ[::-1].copy())),
    ("trapezoid", (X,)),
    ("cdist", (X, Y)),
    ("correlate", (V, V), dict(mode="same")),
    ("det", (SQ,)),
    ("inv", (PD,)),
    ("cholesky", (PD,)),
    ("eigh", (PD,)),
    ("norm", (X,)),
    ("norm", (X,), dict(ord=1, axis=1)),
    ("norm", (X,), dict(ord=np.inf, axis=1)),
    ("qr", (SQ,)),
    ("solve", (PD, V)),
    ("solve_triangular", (np.triu(PD), V)),
    ("svd", (SQ,), dict(compute_uv=False)),
    ("lstsq", (X, V)),
    ("lu_factor", (PD,)),
    ("logdet", (PD,)),
    ("slogdet", (PD,)),
    ("matrix_rank", (PD,)),
    ("pinv", (X,)),
    ("cholesky_inverse", (np.tril(PD),)),
    ("arange", (5,)),
    ("arange", (1, 2, 0.25)),
    ("arange", (0, 10, 3)),
    ("linspace", (0, 1, 5)),
    ("logspace", (0, 2, 3)),
    ("geomspace", (1, 8, 4)),
    ("eye", (3,)),
    ("tri", (3,)),
    ("zeros", ((2, 3),)),
    ("ones", ((2,), "int32")),
    ("full", ((2,), 7)),
    ("full", ((2,), 7, "int32")),
    ("full_like", (I, 3)),
    ("zeros_like", (I,)),
    ("identity", (2,)),
    ("one_hot", (np.array([1, 0]), 3)),
    ("multi_hot", (np.array([1, 0]), 3)),
    ("meshgrid", (V, V)),
    ("bartlett", (5,)),
    ("hanning", (5,)),
    ("kaiser", (5, 8.0)),
    ("reshape", (X, (4, -1))),
    ("expand_dims", (X, 1)),
    ("squeeze", (X[None],)),
    ("concatenate", ([X, Y], 1)),
    ("stack", ([X, Y], 1)),
    ("hstack", ([X, Y],)),
    ("vstack", ([X, Y],)),
    ("dstack", ([X, Y],)),
    ("split", (X, 2, 1)),
    ("split", (X, [1, 3], 1)),
    ("array_split", (X, 3, 1)),
    ("tile", (X, 2)),
    ("tile", (X, (2, 1))),
    ("repeat", (X, 2)),
    ("repeat", (X, 2, 1)),
    ("roll", (X, 1)),
    ("roll", (X, 1, 1)),
    ("moveaxis", (IM, 0, -1)),
    ("swapaxes", (X, 0, 1)),
    ("rot90", (X,)),
    ("diag", (V,)),
    ("diag", (SQ,)),
    ("diagonal", (SQ,)),
    ("trace", (SQ,)),
    ("tril", (SQ,)),
    ("triu", (SQ, 1)),
    ("pad", (X, 1)),
    ("pad", (X, ((0, 1), (1, 0)), "reflect")),
    ("pad", (X, 1, "constant", 5.0)),
    ("append", (X, Y)),
    ("append", (X, Y, 0)),
    ("broadcast_to", (V, (2, 3))),
    ("take", (X, np.array([0, -1]), 1)),
    ("take", (X, np.array([1, 2]))),
    ("take_along_axis", (X, np.argsort(X, 1), 1)),
    ("searchsorted", (np.sort(V), V)),
    ("digitize", (V, np.array([1.5, 2.5], "f"))),
    ("unravel_index", (np.array([3, 5]), (2, 3))),
    ("vander", (V,)),
    ("isin", (I, [1, 2])),
    ("nan_to_num", (N,)),
    ("round", (X, 1)),
    ("round", (X,)),
    ("select", ([X > 1, X > 0], [X, Y], 0)),
    ("slice", (X, (1, 1), (2, 2))),
    ("slice_update", (X, (1, 1), np.zeros((2, 2), "f"))),
    ("scatter", (np.array([[0], [2]]), V[:2], (4,))),
    ("scatter_update", (V, np.array([[0]]), V[:1])),
    ("top_k", (X, 2)),
    ("in_top_k", (np.array([0, 1, 2]), X, 2)),
    ("segment_sum", (X, np.array([0, 0, 1]))),
    ("segment_max", (X, np.array([0, 0, 1]))),
    ("unique", (np.array([3, 1, 3]),)),
    ("nonzero", (I,)),
    ("argpartition", (V, 1)),
    ("conv", (IM, K)),
    ("conv", (IM, K, 2, "same")),
    ("conv_transpose", (IM, K.transpose(0, 1, 3, 2).copy(), 2)),
    ("conv_transpose", (IM, K.transpose(0, 1, 3, 2).copy(), 2, "same")),
    ("depthwise_conv", (IM, K)),
    ("separable_conv", (IM, K, rng.normal(size=(1, 1, 12, 2)).astype("f"))),
    ("max_pool", (IM, 2)),
    ("max_pool", (IM, 3, 2, "same")),
    ("average_pool", (IM, 2)),
    ("average_pool", (IM, 3, 2, "same")),
    ("adaptive_average_pool", (IM, 4)),
    ("adaptive_max_pool", (IM, (2, 3))),
    ("batch_normalization", (IM, V, np.abs(V), -1)),
    ("layer_normalization", (X,)),
    ("rms_normalization", (X,)),
    ("normalize", (X,)),
    ("dot_product_attention", (IM, IM, IM)),
    ("dot_product_attention", (IM, IM, IM), dict(is_causal=True)),
    ("categorical_crossentropy", (np.eye(4, dtype="f")[:3], P / P.sum(1, keepdims=True))),
    ("categorical_crossentropy", (np.eye(4, dtype="f")[:3], X, True)),
    ("sparse_categorical_crossentropy", (np.array([0, 1, 2]), X, True)),
    ("sparse_categorical_crossentropy", (np.array([0, 1, 2]), P / P.sum(1, keepdims=True))),
    ("binary_crossentropy", (B.astype("f"), P / 2)),
    ("binary_crossentropy", (B.astype("f"), X, True)),
    ("ctc_loss", (np.array([[1, 2]]), rng.normal(size=(1, 5, 4)).astype("f"), np.array([2]), np.array([5]))),
    ("ctc_decode", (rng.normal(size=(1, 5, 4)).astype("f"), np.array([5]))),
    ("unfold", (IM.transpose(0, 3, 1, 2).copy(), 2)),
    ("fold", (rng.normal(size=(1, 12, 4)).astype("f"), 4, 2, 1, 0, 2)),
    ("space_to_depth", (IM, 2)),
    ("depth_to_space", (rng.normal(size=(1, 2, 2, 8)).astype("f"), 2)),
    ("psnr", (X, Y, 2.0)),
    ("polar", (P, X)),
    ("glu", (X,)),
    ("threshold", (X, 0.1, 5.0)),
    ("fft", ((X, Y),)),
    ("ifft2", ((X, Y),)),
    ("rfft", (X,)),
    ("irfft", ((X, Y),)),
    ("stft", (rng.normal(size=(2, 50)).astype("f"), 10, 5, 16)),
    ("istft", ((rng.normal(size=(6, 9)).astype("f"), rng.normal(size=(6, 9)).astype("f")), 10, 5, 16)),
    ("extract_sequences", (np.arange(10.0).astype("f"), 4, 2)),
    ("view_as_complex", (np.ones((2, 2), "f"),)),
    ("rearrange", (IM, "b h w c -> b (h w) c")),
    ("ldexp", (X, I)),
    ("saturate_cast", (X * 1000, "uint8")),
    ("cast", (X, "int32")),
]
for n, a, *k in [
    ("affine_transform", (IM, np.array([[0.9, 0.1, 1, -0.1, 1.1, 0.5, 0, 0]] * 2, "f"))),
    ("affine_transform", (IM, np.array([[0.9, 0.1, 1, -0.1, 1.1, 0.5, 0, 0]] * 2, "f")), dict(fill_mode="reflect")),
    (
        "affine_transform",
        (IM, np.array([[0.9, 0.1, 1, -0.1, 1.1, 0.5, 0, 0]] * 2, "f")),
        dict(fill_mode="wrap", interpolation="nearest"),
    ),
    ("gaussian_blur", (IM,)),
    ("resize", (IM, (4, 9))),
    ("resize", (IM, (4, 9)), dict(interpolation="bicubic")),
    ("resize", (IM, (4, 9)), dict(interpolation="nearest")),
    ("resize", (IM, (4, 4)), dict(antialias=True)),
    ("resize", (IM, (4, 8)), dict(crop_to_aspect_ratio=True)),
    ("resize", (IM, (4, 8)), dict(pad_to_aspect_ratio=True)),
    ("rgb_to_grayscale", (IM,)),
    ("rgb_to_hsv", (IM,)),
    ("hsv_to_rgb", (IM,)),
    ("map_coordinates", (X, np.array([[0.5, 1.2], [2.7, 0.0]], "f"), 1)),
    ("map_coordinates", (X, np.array([[0.5, 4.2], [-1.7, 0.0]], "f"), 1), dict(fill_mode="mirror")),
    ("crop_images", (IM, 1, 1, None, None, 3, 4)),
    ("pad_images", (IM, 1, 1, None, None, 9, 10)),
    ("extract_patches", (IM, (2, 2))),
    ("extract_patches", (IM, 3), dict(strides=2, padding="same")),
    (
        "perspective_transform",
        (
            IM,
            np.array([[0, 0], [5, 0], [0, 5], [5, 5]] * 1, "f")[None].repeat(2, 0),
            np.array([[1, 0], [5, 1], [0, 4], [4, 5]], "f")[None].repeat(2, 0),
        ),
    ),
    ("sobel_edges", (IM,)),
    ("ssim", (IM, IM * 0.9), dict(filter_size=3)),
    ("scale_and_translate", (X, (5, 6), np.array([1.2, 1.1], "f"), np.array([0.1, 0.2], "f"), (0, 1), "linear")),
]:
    CASES.append(("image." + n, a, *k))
# Where Keras is not followed, or does not run these arguments, and why.
EXCEPTIONS = {
    "sparsemax": "Keras adds the cumulated sums of the whole support; the projection needs the last one",
    "image.gaussian_blur": "Keras mixes the channels",
    "sigmoid": "Keras refuses whole numbers",
    "bincount": "Keras refuses matrices of this kind",
    "histogram": "Keras takes vectors only",
    "segment_sum": "Keras on JAX needs num_segments",
    "segment_max": "Keras on JAX needs num_segments",
}
IDS = [f"{number} {case[0]}" for number, case in enumerate(CASES)]


def find(root, name):
    for part in name.split("."):
        root = getattr(root, part)
    return root


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_is_keras_operation(case):
    name, args, *named = case
    named = named[0] if named else {}
    try:
        theirs = [np.asarray(t) for t in jax.tree.leaves(find(keras.ops, name)(*args, **named))]
    except (TypeError, ValueError):
        assert name in EXCEPTIONS or name.endswith("_pool")
        return
    mine = [np.asarray(t) for t in tf.nest.flatten(find(tf.keras.ops, name)(*args, **named))]
    if name in EXCEPTIONS:
        return
    assert [m.shape for m in mine] == [t.shape for t in theirs]
    for m, t in zip(mine, theirs, strict=True):
        # 64-bit types are on in this process, which Keras's JAX backend does not expect: its wide dtypes mean nothing
        assert m.dtype == t.dtype or t.dtype in (np.int64, np.float64)
        kind = "bool" if t.dtype == bool else "complex128"
        np.testing.assert_allclose(m.astype(kind), t.astype(kind), rtol=1e-4, atol=1e-4)


def test_scales_in_the_shape_of_the_inputs_are_multiplied_as_they_are():
    x, scale = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32"), np.full((2, 3, 4), 2, "float32")
    found = tf.keras.ops.rms_normalization(x, scale)
    np.testing.assert_allclose(found, 2 * tf.keras.ops.rms_normalization(x), rtol=1e-6)
    found = tf.keras.ops.layer_normalization(x, scale, scale)
    np.testing.assert_allclose(found, 2 * tf.keras.ops.layer_normalization(x) + 2, rtol=1e-6, atol=1e-6)


def test_operations_on_bits_take_their_arguments_by_name():
    for name, expected in (("bitwise_and", 4), ("bitwise_or", 14), ("bitwise_xor", 10), ("left_shift", 12 << 6)):
        assert int(getattr(tf.keras.ops, name)(x=12, y=6)) == expected
