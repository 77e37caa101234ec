# SPDX-License-Identifier: Apache-2.0
"""Calls whose results, dtypes and gradients were recorded from TensorFlow 2.21 (make_golden.py): (name, args, kwargs).

NumPy arrays become tensors; everything else is passed as it is. Values are chosen for their edges: ties, zeros,
negative divisors, halves, infinities.
"""
import numpy as np

X = np.array([[-1.5, 0.0, 2.0], [0.5, -0.25, 3.0]], np.float32)
Y = np.array([[2.0, 0.0, -1.0], [0.5, 4.0, 3.0]], np.float32)
P = np.array([[0.5, 1.5, 2.0], [0.25, 3.0, 0.1]], np.float32)      # positive
U = np.array([[0.1, -0.5, 0.9], [0.3, 0.0, -0.99]], np.float32)    # inside (-1, 1)
W = np.array([[-np.inf, np.nan, np.inf], [0.0, -0.0, 1.0]], np.float32)
T = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, -1.0]], np.float32)      # ties
I = np.array([[7, -7, 5], [0, 3, -2]], np.int32)
J = np.array([[2, 2, -3], [5, -4, 3]], np.int32)
L = np.array([9, -4, 0], np.int64)
B = np.array([[True, False, True], [False, False, True]])
C = np.array([[False, False, True], [True, False, True]])
H = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.7], np.float32)   # halves
V = np.array([3.0, 1.0, 2.0], np.float32)
M = np.array([[4.0, 1.0], [1.0, 3.0]], np.float32)                 # positive definite
M3 = np.arange(12, dtype=np.float32).reshape(2, 2, 3) / 6 - 1
IMAGE = (np.arange(2 * 4 * 4 * 2, dtype=np.float32).reshape(2, 4, 4, 2) * 7 % 11) / 11
RGB = (np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3) * 5 % 13) / 13
KERNEL = (np.arange(3 * 3 * 2 * 3, dtype=np.float32).reshape(3, 3, 2, 3) * 3 % 7 - 3) / 7
Z = np.array([1 + 2j, -0.5j, 3 + 0j], np.complex64)
IDS = np.array([0, 2, 0, 1], np.int32)
ROWS = np.arange(8, dtype=np.float32).reshape(4, 2)
LABELS = np.array([2, 0], np.int32)
ONEHOT = np.array([[0.0, 0.0, 1.0], [0.7, 0.2, 0.1]], np.float32)
S = np.array(["Ab c", "", "d-E"], object)

unary = """
    abs negative square exp expm1 sin cos tan atan sinh cosh tanh asinh sigmoid erf erfc floor ceil round rint sign
    softplus log_sigmoid softsign is_finite is_nan is_inf bessel_i0 bessel_i1 bessel_i0e bessel_i1e
"""
CASES = [(f"math.{name}", (X,), {}) for name in unary.split()]
CASES += [(f"math.{name}", (P,), {}) for name in "sqrt rsqrt log log1p lgamma digamma reciprocal acosh".split() if name != "acosh"]
CASES += [(f"math.{name}", (U,), {}) for name in "asin acos atanh erfinv".split()]
CASES += [(f"math.{name}", (W,), {}) for name in "is_finite is_nan is_inf sign abs".split()]
CASES += [(f"math.{name}", (H,), {}) for name in "round floor ceil rint".split()]
CASES += [(f"math.{name}", (I,), {}) for name in "abs negative square sign".split()]
CASES += [(f"math.{name}", (X, Y), {}) for name in
          "add subtract multiply maximum minimum squared_difference atan2 divide_no_nan multiply_no_nan "
          "less less_equal greater greater_equal equal not_equal".split()]
CASES += [(f"math.{name}", (X, X), {}) for name in ("maximum", "minimum")]
CASES += [(f"math.{name}", (P, Y), {}) for name in ("pow",)]
CASES += [(f"math.{name}", (X, P), {}) for name in "truediv floordiv floormod xlogy xdivy xlog1py divide mod".split()]
CASES += [(f"math.{name}", (I, J), {}) for name in
          "add subtract multiply floordiv floormod truediv maximum minimum divide less equal mod".split()]
CASES += [("truncatediv", (I, J), {}), ("truncatemod", (I, J), {}), ("truncatemod", (X, P), {}), ("pow", (I, 2), {}),
          ("pow", (X, 2), {}), ("pow", (X, 3.0), {}), ("pow", (P, 0.5), {}), ("pow", (P, 0), {}), ("pow", (P, -1.0), {}),
          ("math.pow", (X, np.array(2.0, np.float32)), {}), ("math.igamma", (P, P), {}), ("math.zeta", (P + 1, P), {}),
          ("math.polygamma", (np.array(1.0, np.float32), P), {}), ("math.reciprocal_no_nan", (Y,), {}),
          ("math.nextafter", (X, Y), {}), ("add_n", ([X, Y, P],), {}), ("math.scalar_mul", (2.0, X), {}),
          ("math.betainc", (P, P, np.abs(U)), {}), ("math.lbeta", (P,), {}), ("math.ndtri", (np.abs(U) + 0.005,), {}),
          ("clip_by_value", (T, -1.0, 2.0), {}), ("clip_by_value", (X, 0.0, 0.5), {}),
          ("clip_by_norm", (X, 1.0), {}), ("clip_by_norm", (X, 100.0), {}), ("clip_by_norm", (X, 1.0), {"axes": [1]}),
          ("clip_by_global_norm", ([X, Y], 1.0), {}), ("linalg.global_norm", ([X, Y],), {}),
          ("math.real", (Z,), {}), ("math.imag", (Z,), {}), ("math.conj", (Z,), {}), ("math.angle", (Z,), {}),
          ("math.abs", (Z,), {}), ("complex", (X, Y), {})]
CASES += [(f"math.{name}", (B, C), {}) for name in "logical_and logical_or logical_xor".split()]
CASES += [("math.logical_not", (B,), {})]
CASES += [(f"bitwise.{name}", (np.abs(I), np.abs(J)), {}) for name in
          "bitwise_and bitwise_or bitwise_xor left_shift right_shift".split()] + [("bitwise.invert", (I,), {})]

# reductions
for name in "reduce_sum reduce_mean reduce_max reduce_min reduce_prod reduce_logsumexp".split():
    CASES += [(f"math.{name}", (T,), {}), (f"math.{name}", (T, 0), {}), (f"math.{name}", (T, [1], True), {})]
for name in "reduce_sum reduce_mean reduce_max reduce_prod".split():
    CASES += [(f"math.{name}", (I,), {}), (f"math.{name}", (I, 1), {})]
CASES += [(f"math.{name}", (T, 1), {}) for name in "reduce_variance reduce_std reduce_euclidean_norm".split()]
CASES += [(f"math.{name}", (B, axis), {}) for name in ("reduce_all", "reduce_any") for axis in (None, 0)]
CASES += [("argmax", (T, 1), {}), ("argmin", (T, 0), {}), ("argmax", (T,), {"output_type": "int32"}),
          ("math.count_nonzero", (X, 0), {}), ("cumsum", (X, 1), {}), ("cumsum", (X, 1, True), {}),
          ("cumsum", (X, 1), {"reverse": True}), ("cumsum", (X, -1, True, True), {}), ("math.cumprod", (P, 1), {}),
          ("math.cumprod", (P, 0, True), {}), ("math.cumulative_logsumexp", (X, 1), {}), ("cumsum", (I,), {}),
          ("nn.moments", (X, [0]), {}), ("nn.moments", (X, [0, 1], None, True), {}),
          ("nn.weighted_moments", (X, [0], P), {}), ("math.zero_fraction", (X,), {}),
          ("nn.sufficient_statistics", (X, [0]), {})]

# shapes
CASES += [("shape", (M3,), {}), ("rank", (M3,), {}), ("size", (M3,), {}), ("reshape", (X, [3, -1]), {}),
          ("reshape", (X, [-1]), {}), ("expand_dims", (X, 1), {}), ("expand_dims", (X, -1), {}),
          ("squeeze", (X[:, None],), {}), ("squeeze", (X[None, :, None], [0]), {}), ("transpose", (M3,), {}),
          ("transpose", (M3, [1, 0, 2]), {}), ("concat", ([X, Y], 0), {}), ("concat", ([X, Y], -1), {}),
          ("stack", ([X, Y],), {}), ("stack", ([X, Y], -1), {}), ("unstack", (X,), {"axis": 1}),
          ("split", (X, 3, 1), {}), ("split", (X, [1, -1], 1), {}), ("tile", (X, [2, 1]), {}),
          ("repeat", (V, 2), {}), ("repeat", (X, [1, 2], 0), {}), ("repeat", (X, 2, 1), {}), ("repeat", (X, 2), {}),
          ("pad", (X, [[1, 0], [0, 2]]), {}), ("pad", (X, [[0, 1], [1, 1]], "REFLECT"), {}),
          ("pad", (X, [[1, 1], [2, 1]], "SYMMETRIC"), {}), ("pad", (X, [[0, 0], [1, 0]]), {"constant_values": 9.0}),
          ("reverse", (X, [1]), {}), ("roll", (X, 1, 1), {}), ("roll", (X, [1, 2], [0, 1]), {}),
          ("broadcast_to", (V, [2, 3]), {}), ("where", (B, X, Y), {}), ("where", (B,), {}), ("where", (B, X, 0.0), {}),
          ("fill", ([2, 2], 7), {}), ("fill", ([2], 1.5), {}), ("zeros", ([2],), {}), ("ones", ([1, 2], "int32"), {}),
          ("zeros_like", (I,), {}), ("ones_like", (X,), {}), ("ones_like", (X, "int64"), {}), ("eye", (2, 3), {}),
          ("eye", (2,), {"batch_shape": [2]}), ("range", (5,), {}), ("range", (1, 9, 3), {}), ("range", (0.0, 1.0, 0.25), {}),
          ("range", (5, 0, -2), {}), ("range", (3,), {"dtype": "float32"}), ("linspace", (0.0, 1.0, 5), {}),
          ("meshgrid", (V, V), {}), ("meshgrid", (V, V), {"indexing": "ij"}), ("one_hot", (LABELS, 3), {}),
          ("one_hot", (np.array([1, -1, 5]), 3), {}), ("one_hot", (LABELS, 3), {"axis": 0}),
          ("one_hot", (LABELS, 3, 5, 2), {}), ("one_hot", (LABELS, 3, 0.9, 0.1), {}),
          ("sequence_mask", (np.array([1, 3, 0]),), {}), ("sequence_mask", (np.array([1, 3]), 4), {"dtype": "float32"}),
          ("reverse_sequence", (ROWS, np.array([1, 2, 0, 2])), {"seq_axis": 1, "batch_axis": 0}),
          ("space_to_batch", (IMAGE, [2, 2], [[0, 0], [0, 0]]), {}), ("nn.space_to_depth", (IMAGE, 2), {}),
          ("nn.depth_to_space", (np.tile(IMAGE, [1, 1, 1, 2]), 2), {}),
          ("batch_to_space", (np.tile(IMAGE, [2, 1, 1, 1]), [2, 2], [[0, 1], [1, 0]]), {}),
          ("cast", (np.array([1.8, -1.8, 300.0], np.float32), "int32"), {}), ("cast", (X, "bool"), {}),
          ("cast", (B, "float32"), {}), ("cast", (I, "float16"), {}), ("cast", (Z, "float32"), {}),
          ("saturate_cast", (np.array([300.0, -5.0, 3e9], np.float32), "uint8"), {}),
          ("saturate_cast", (np.array([3e9, -3e9], np.float32), "int32"), {}), ("bitcast", (X, "int32"), {}),
          ("unravel_index", (np.array([3, 5]), [2, 3]), {}), ("slice", (X, [0, 1], [2, 2]), {}),
          ("slice", (X, [1, 0], [-1, 2]), {}), ("strided_slice", (X, [0, 0], [2, 3], [1, 2]), {}), ("identity", (X,), {})]

# positions
CASES += [("gather", (ROWS, IDS), {}), ("gather", (X, np.array([2, 0])), {"axis": 1}),
          ("gather", (M3, np.array([[1, 0], [0, 1]])), {"batch_dims": 1, "axis": 1}), ("gather", (X, 1), {}),
          ("gather", (X, np.array([[0, 2], [1, 1]])), {"batch_dims": 1}),
          ("gather_nd", (X, np.array([[0, 1], [1, 2]])), {}), ("gather_nd", (X, np.array([[1]])), {}),
          ("gather_nd", (M3, np.array([[0], [1]])), {"batch_dims": 1}),
          ("scatter_nd", (np.array([[1], [1], [3]]), V, [5]), {}), ("boolean_mask", (X, B), {}),
          ("boolean_mask", (X, np.array([False, True])), {}), ("boolean_mask", (X, np.array([True, False, True])), {"axis": 1}),
          ("sort", (T,), {}), ("sort", (T,), {"direction": "DESCENDING"}), ("argsort", (T,), {"stable": True}),
          ("argsort", (X,), {"direction": "DESCENDING"}), ("math.top_k", (X, 2), {}), ("searchsorted", (np.array([1.0, 2.0, 2.0, 4.0], np.float32), V), {}),
          ("searchsorted", (np.array([1.0, 2.0, 2.0, 4.0], np.float32), V), {"side": "right"}),
          ("math.in_top_k", (LABELS, X, 1), {}), ("math.invert_permutation", (np.array([2, 0, 1]),), {}),
          ("unique", (np.array([3, 1, 3, 2]),), {}), ("unique_with_counts", (np.array([3, 1, 3]),), {}),
          ("dynamic_partition", (ROWS, np.array([1, 0, 1, 0], np.int32), 2), {}),
          ("dynamic_stitch", ([np.array([0, 2], np.int32), np.array([1], np.int32)], [ROWS[:2], ROWS[2:3]]), {}),
          ("math.bincount", (IDS,), {}), ("math.bincount", (IDS,), {"minlength": 5}),
          ("math.bincount", (IDS,), {"weights": np.ones(4, np.float32)}), ("math.bincount", (IDS,), {"maxlength": 2}),
          ("histogram_fixed_width", (X, [-2.0, 3.0]), {"nbins": 5}), ("math.confusion_matrix", (IDS, IDS[::-1].copy()), {}),
          ("tensor_scatter_nd_update", (V, np.array([[2], [0]]), V[:2]), {}),
          ("tensor_scatter_nd_add", (V, np.array([[2], [2]]), V[:2]), {}), ("tensor_scatter_nd_sub", (V, np.array([[1]]), V[:1]), {}),
          ("tensor_scatter_nd_max", (V, np.array([[1], [0]]), V[:2]), {}), ("tensor_scatter_nd_min", (V, np.array([[1], [0]]), V[:2]), {})]
CASES += [(f"math.segment_{k}", (ROWS, np.array([0, 0, 2, 2])), {}) for k in "sum mean max min prod".split()]
CASES += [(f"math.unsorted_segment_{k}", (ROWS, np.array([0, 2, 0, 2]), 3), {}) for k in "sum mean prod sqrt_n".split()]
CASES += [(f"math.unsorted_segment_{k}", (ROWS, np.array([0, 1, 0, 1]), 2), {}) for k in "max min".split()]

# linear algebra
SQ = np.array([[2.0, -1.0], [0.5, 3.0]], np.float32)
CASES += [("matmul", (X, Y), {"transpose_b": True}), ("matmul", (X, Y), {"transpose_a": True}), ("matmul", (M3, M3), {"adjoint_b": True}),
          ("linalg.matvec", (X, V), {}), ("einsum", ("ij,kj->ik", X, Y), {}), ("einsum", ("bij->bji", M3), {}),
          ("tensordot", (X, Y, [[1], [1]]), {}), ("tensordot", (X, V, 1), {}), ("norm", (X,), {}), ("norm", (X, 1), {}),
          ("norm", (X, np.inf, 1), {}), ("norm", (X, "euclidean", 1), {"keepdims": True}), ("norm", (X, 3.0, 0), {}),
          ("norm", (X, 1, [0, 1]), {}), ("linalg.normalize", (P,), {"axis": 1}), ("math.l2_normalize", (X, 1), {}),
          ("linalg.det", (SQ,), {}), ("linalg.inv", (SQ,), {}), ("linalg.cholesky", (M,), {}), ("linalg.solve", (SQ, M), {}),
          ("linalg.logdet", (M,), {}), ("linalg.slogdet", (SQ,), {}), ("linalg.trace", (SQ,), {}), ("linalg.diag", (V,), {}),
          ("linalg.diag_part", (SQ,), {}), ("linalg.set_diag", (SQ, V[:2]), {}), ("linalg.band_part", (SQ, 0, -1), {}),
          ("linalg.tensor_diag", (V,), {}), ("linalg.tensor_diag_part", (SQ,), {}), ("linalg.eigvalsh", (M,), {}),
          ("linalg.svd", (SQ,), {"compute_uv": False}), ("linalg.triangular_solve", (np.tril(SQ), M), {}),
          ("linalg.cholesky_solve", (np.tril(SQ), M), {}), ("linalg.expm", (SQ / 4,), {}), ("linalg.pinv", (X,), {}),
          ("linalg.matrix_transpose", (M3,), {}), ("linalg.adjoint", (M3,), {}), ("linalg.lstsq", (X.T.copy(), np.ones((3, 1), np.float32)), {}),
          ("linalg.matrix_rank", (SQ,), {}), ("linalg.cross", (V, V[::-1].copy()), {}), ("linalg.sqrtm", (M,), {}),
          ("linalg.diag", (V,), {"k": 1})]

# neural
CASES += [(f"nn.{name}", (X,), {}) for name in "relu relu6 elu selu softplus softsign silu gelu sigmoid tanh leaky_relu softmax log_softmax crelu l2_loss".split()]
CASES += [("nn.gelu", (X,), {"approximate": True}), ("nn.softmax", (X, 0), {}), ("nn.leaky_relu", (X, 0.3), {}), ("nn.relu6", (X * 3,), {}),
          ("nn.silu", (X, 2.0), {}), ("nn.bias_add", (X, V), {}),
          ("nn.softmax_cross_entropy_with_logits", (), {"labels": ONEHOT, "logits": X}),
          ("nn.sparse_softmax_cross_entropy_with_logits", (), {"labels": LABELS, "logits": X}),
          ("nn.sigmoid_cross_entropy_with_logits", (), {"labels": ONEHOT, "logits": X}),
          ("nn.weighted_cross_entropy_with_logits", (), {"labels": ONEHOT, "logits": X, "pos_weight": 2.0}),
          ("nn.log_poisson_loss", (P, X), {}), ("nn.log_poisson_loss", (P + 1, X, True), {}),
          ("nn.batch_normalization", (X, V, P[0], V, V, 1e-3), {}), ("nn.batch_normalization", (X, V, P[0], None, None, 1e-3), {}),
          ("nn.conv2d", (IMAGE, KERNEL, 1, "SAME"), {}), ("nn.conv2d", (IMAGE, KERNEL, [1, 2, 2, 1], "VALID"), {}),
          ("nn.conv2d", (IMAGE, KERNEL, 2, "SAME"), {}), ("nn.conv2d", (IMAGE, KERNEL, 1, "SAME"), {"dilations": 2}),
          ("nn.conv2d", (IMAGE, KERNEL, 1, [[0, 0], [1, 0], [0, 2], [0, 0]]), {}),
          ("nn.conv1d", (IMAGE[:, 0], KERNEL[0], 1, "SAME"), {}), ("nn.depthwise_conv2d", (IMAGE, KERNEL, [1, 1, 1, 1], "SAME"), {}),
          ("nn.conv2d_transpose", (IMAGE, KERNEL.transpose(0, 1, 3, 2).copy(), [2, 8, 8, 3], 2), {}),
          ("nn.conv2d_transpose", (IMAGE, KERNEL.transpose(0, 1, 3, 2).copy(), [2, 7, 7, 3], 2, "SAME"), {}),
          ("nn.max_pool2d", (IMAGE, 2, 2, "VALID"), {}), ("nn.max_pool2d", (IMAGE, 3, 2, "SAME"), {}),
          ("nn.avg_pool2d", (IMAGE, 3, 2, "SAME"), {}), ("nn.avg_pool2d", (IMAGE, 2, 2, "VALID"), {}),
          ("nn.max_pool_with_argmax", (IMAGE, 2, 2, "VALID"), {}), ("nn.local_response_normalization", (IMAGE,), {}),
          ("nn.embedding_lookup", (ROWS, IDS), {}), ("nn.embedding_lookup", (ROWS, IDS), {"max_norm": 1.0}),
          ("nn.ctc_loss", (np.array([[1, 2, 2], [3, 1, 0]]), (np.arange(2 * 6 * 4).reshape(6, 2, 4) * 3 % 5 / 5).astype(np.float32),
                           np.array([3, 2]), np.array([6, 5])), {"blank_index": 0}),
          ("nn.separable_conv2d", (IMAGE, KERNEL, np.arange(12, dtype=np.float32).reshape(1, 1, 6, 2) / 12, [1, 1, 1, 1], "VALID"), {})]

# images and signals
for method in "bilinear nearest bicubic area lanczos3 lanczos5 gaussian mitchellcubic".split():
    CASES += [("image.resize", (IMAGE, [3, 7]), {"method": method})]
    if method not in ("nearest", "area"):
        CASES += [("image.resize", (IMAGE, [2, 3]), {"method": method, "antialias": True})]
CASES += [("image.rgb_to_hsv", (RGB,), {}), ("image.hsv_to_rgb", (RGB,), {}), ("image.rgb_to_grayscale", (RGB,), {}),
          ("image.adjust_hue", (RGB, 0.1), {}), ("image.adjust_saturation", (RGB, 1.7), {}), ("image.adjust_contrast", (RGB, 2.0), {}),
          ("image.adjust_brightness", (RGB, 0.2), {}), ("image.adjust_gamma", (RGB, 1.5), {}), ("image.flip_left_right", (RGB,), {}),
          ("image.flip_up_down", (RGB,), {}), ("image.rot90", (RGB,), {}), ("image.transpose", (RGB,), {}),
          ("image.central_crop", (IMAGE, 0.5), {}), ("image.crop_to_bounding_box", (IMAGE, 1, 0, 2, 3), {}),
          ("image.pad_to_bounding_box", (IMAGE, 1, 2, 6, 7), {}), ("image.resize_with_crop_or_pad", (IMAGE, 3, 6), {}),
          ("image.resize_with_pad", (IMAGE, 6, 8), {}), ("image.per_image_standardization", (IMAGE,), {}),
          ("image.sobel_edges", (IMAGE,), {}), ("image.total_variation", (IMAGE,), {}), ("image.psnr", (RGB, RGB * 0.9, 1.0), {}),
          ("image.ssim", (IMAGE, IMAGE * 0.9, 1.0), {"filter_size": 3}), ("image.rgb_to_yuv", (RGB,), {}), ("image.rgb_to_yiq", (RGB,), {}),
          ("image.yuv_to_rgb", (RGB,), {}), ("image.grayscale_to_rgb", (RGB[..., :1].copy(),), {}),
          ("image.convert_image_dtype", (np.array([0, 128, 255], np.uint8), "float32"), {}),
          ("image.convert_image_dtype", (np.array([0.0, 0.5, 1.0], np.float32), "uint8"), {}),
          ("image.extract_patches", (IMAGE, [1, 2, 2, 1], [1, 1, 2, 1], [1, 1, 1, 1], "VALID"), {}),
          ("image.crop_and_resize", (IMAGE, np.array([[0.1, 0.2, 0.9, 1.0]], np.float32), np.array([1], np.int32), [3, 2]), {}),
          ("signal.rfft", (X,), {}), ("signal.fft", (Z,), {}), ("signal.irfft", (Z,), {}), ("signal.frame", (np.arange(7, dtype=np.float32), 3, 2), {}),
          ("signal.frame", (np.arange(7, dtype=np.float32), 3, 2, True), {}), ("signal.hann_window", (5,), {}), ("signal.hamming_window", (4,), {}),
          ("signal.stft", (np.sin(np.arange(20, dtype=np.float32)), 8, 4), {}), ("signal.overlap_and_add", (X, 2), {}), ("signal.dct", (X,), {}),
          ("signal.linear_to_mel_weight_matrix", (4, 9, 800, 20.0, 380.0), {})]

# text
CASES += [("strings.lower", (S,), {}), ("strings.upper", (S,), {}), ("strings.length", (S,), {}), ("strings.join", ([S, S], "+"), {}),
          ("strings.reduce_join", (S,), {"separator": ","}), ("strings.substr", (np.array(["abcd", "efgh"], object), 1, 2), {}),
          ("strings.regex_replace", (S, "[a-z]", "<\\0>"), {}), ("strings.regex_full_match", (S, ".*c"), {}), ("strings.strip", (np.array([" a "], object),), {}),
          ("strings.to_number", (np.array(["1", "-2.5e1"], object),), {}), ("strings.as_string", (V,), {}), ("strings.as_string", (I,), {}),
          ("strings.as_string", (B,), {}), ("strings.as_string", (V,), {"precision": 2})]

# what came later: names and forms of operations above, more spectra, volumes
VOLUME = (np.arange(1 * 3 * 4 * 3 * 2, dtype=np.float32).reshape(1, 3, 4, 3, 2) * 5 % 7) / 7
KERNEL3 = (np.arange(2 * 2 * 2 * 2 * 3, dtype=np.float32).reshape(2, 2, 2, 2, 3) * 3 % 5 - 2) / 5
ROW = IMAGE[:, 0]
KERNEL1 = KERNEL[0]
CASES += [("math.acosh", (P + 1,), {}), ("math.erfcinv", (P / 4,), {}), ("math.igammac", (P, P + 0.5), {}),
          ("math.is_non_decreasing", (T,), {}), ("math.is_strictly_increasing", (V,), {}),
          ("math.accumulate_n", ([X, Y, P],), {}), ("realdiv", (X, P), {}),
          ("identity_n", ([X, Y],), {}), ("ensure_shape", (X, [None, 3]), {}), ("shape_n", ([X, V],), {}),
          ("histogram_fixed_width_bins", (X, [-1.0, 3.0]), {"nbins": 4}),
          ("nn.normalize_moments", (np.array(4.0, np.float32), X[0], P[0] * 9, None), {}),
          ("nn.conv3d", (VOLUME, KERNEL3, [1, 1, 1, 1, 1], "SAME"), {}),
          ("nn.conv3d", (VOLUME, KERNEL3, [1, 1, 2, 1, 1], "VALID"), {}),
          ("nn.atrous_conv2d", (IMAGE, KERNEL, 2, "SAME"), {}),
          ("nn.convolution", (IMAGE, KERNEL), {"strides": 2, "padding": "SAME"}),
          ("nn.convolution", (ROW, KERNEL1), {"padding": "VALID"}),
          ("nn.conv1d_transpose", (np.repeat(ROW, 2, 2)[..., :3], KERNEL1, [2, 8, 2], 2), {}),
          ("nn.pool", (IMAGE, [2, 2], "MAX"), {"strides": [2, 2]}), ("nn.pool", (IMAGE, [2, 2], "AVG"), {"padding": "SAME"}),
          ("image.yiq_to_rgb", (RGB,), {}), ("image.image_gradients", (IMAGE,), {}),
          ("signal.ifft", (Z,), {}), ("signal.fft2d", (np.outer(Z, Z).astype(np.complex64),), {}),
          ("signal.ifft2d", (np.outer(Z, Z).astype(np.complex64),), {}), ("signal.rfft2d", (X,), {}),
          ("signal.irfft2d", (np.outer(Z, Z).astype(np.complex64),), {}), ("signal.rfft3d", (M3,), {}),
          ("signal.fft3d", (M3.astype(np.complex64),), {}), ("signal.ifft3d", (M3.astype(np.complex64),), {}),
          ("signal.fftshift", (X,), {}), ("signal.ifftshift", (X,), {"axes": 1}), ("signal.idct", (X,), {}),
          ("signal.kaiser_window", (6,), {}), ("signal.vorbis_window", (6,), {})]

# other cosine transforms, functions of SciPy, grey-scale morphology, glimpses
FILTER = KERNEL[:2, :2, :, 0]
WAVE = np.sin(np.arange(24, dtype=np.float32) * 0.7).reshape(2, 12)
CASES += [("signal.dct", (X, 1), {}), ("signal.dct", (X, 3), {}), ("signal.dct", (X, 4), {}),
          ("signal.dct", (X, 3), {"norm": "ortho"}), ("signal.dct", (X, 4), {"norm": "ortho"}), ("signal.idct", (X, 4), {}),
          ("signal.mdct", (WAVE, 8), {}), ("signal.mdct", (WAVE, 8), {"window_fn": None, "pad_end": True, "norm": "ortho"}),
          ("signal.inverse_mdct", (WAVE.reshape(2, 3, 4),), {}), ("signal.kaiser_bessel_derived_window", (8,), {})]
CASES += [(f"math.special.{name}", (P + 0.5,), {}) for name in (
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "bessel_k0", "bessel_k1", "bessel_k0e", "bessel_k1e", "dawsn",
    "fresnel_sin", "fresnel_cos")]
CASES += [("nn.dilation2d", (IMAGE, FILTER, [1, 1, 2, 1], "SAME", "NHWC", [1, 1, 1, 1]), {}),
          ("nn.erosion2d", (IMAGE, FILTER, [1, 1, 1, 1], "VALID", "NHWC", [1, 1, 1, 1]), {}),
          ("image.extract_glimpse", (IMAGE, [2, 3], np.tile(np.array([[0.3, -0.9]], np.float32), (IMAGE.shape[0], 1))), {"noise": "zero"})]
