# SPDX-License-Identifier: Apache-2.0
"""Python's operators, indexing, static shapes, dtype rules, errors, random numbers, ragged and sparse tensors."""
import numpy as np
import pytest

import fitloom as tf

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("key", [
    np.s_[0], np.s_[-1], np.s_[:, 1], np.s_[..., 2], np.s_[:, ::2], np.s_[::-1], np.s_[:, None], np.s_[..., None, :],
    np.s_[0, 1, 2], np.s_[1:, :2, 1:3], np.s_[:, -1:], np.s_[None], np.s_[0, ...], np.s_[:, 1:0]])
def test_indexing_is_numpys(key):
    np.testing.assert_array_equal(tf.constant(X)[key], X[key])


def test_index_by_scalar_tensor_and_mask():
    x = tf.constant(X)
    np.testing.assert_array_equal(x[tf.constant(1)], X[1])
    np.testing.assert_array_equal(x[:, tf.constant(2), 1:], X[:, 2, 1:])
    np.testing.assert_array_equal(x[x > 10], X[X > 10])
    np.testing.assert_array_equal(x[tf.shape(x)[0] - 1], X[1])


@pytest.mark.parametrize("key, error", [(2, tf.errors.InvalidArgumentError), ([0, 1], TypeError), (1.0, TypeError),
                                        ((0, 0, 0, 0), tf.errors.InvalidArgumentError), (True, TypeError)])
def test_bad_index(key, error):
    with pytest.raises(error):
        tf.constant(X)[key]


def test_operators():
    a, b = tf.constant([7, -7]), tf.constant([2, 2])
    assert (a // b).numpy().tolist() == [3, -4] and (a % b).numpy().tolist() == [1, 1]
    assert (a / b).dtype == tf.float64 and (a / b).numpy().tolist() == [3.5, -3.5]
    x = tf.constant([1.0, 2.0])
    np.testing.assert_allclose(2 - x, [1, 0])
    np.testing.assert_allclose(2 / x, [2, 1])
    np.testing.assert_allclose(2 ** x, [2, 4])
    np.testing.assert_allclose(x ** 2 + abs(-x), [2, 6])
    np.testing.assert_allclose(np.ones(2) * x, [1, 2])
    assert (np.ones(2) * x).dtype == tf.float32
    assert (x == [1.0, 5.0]).numpy().tolist() == [True, False] and (x != x).numpy().tolist() == [False, False]
    assert (x is not None) and not (x == None) and (x != "text")  # noqa: E711
    t = tf.constant([True, False])
    assert (t & ~t).numpy().tolist() == [False, False] and (t | True).numpy().tolist() == [True, True]
    assert (a & b).numpy().tolist() == [2, 0] and (t ^ t).numpy().tolist() == [False, False]
    np.testing.assert_allclose(tf.constant([[1.0, 2.0]]) @ tf.constant([[1.0], [1.0]]), [[3.0]])
    assert len(x) == 2 and [float(v) for v in x] == [1.0, 2.0] and len({x, x}) == 1
    v = tf.Variable([1.0, 2.0])
    np.testing.assert_allclose(v * 2 + x, [3, 6])
    np.testing.assert_allclose(v[1:], [2.0])


@pytest.mark.parametrize("call", [
    lambda: tf.constant([1, 2]) + tf.constant([1.0, 2.0]), lambda: tf.constant([1, 2]) * 0.5,
    lambda: tf.matmul([[1.0]], tf.constant([[1]])), lambda: tf.constant([True]) + 1,
    lambda: tf.concat([tf.constant([1]), tf.constant([1.0])], 0), lambda: tf.where(tf.constant([True]), tf.constant(1), tf.constant(1.0))])
def test_dtypes_do_not_mix(call):
    with pytest.raises((TypeError, ValueError), match="dtype|float|bool"):
        call()


@pytest.mark.parametrize("call, words", [
    (lambda: tf.reshape(X, [5, 5]), "24 elements"), (lambda: tf.matmul(X, X), "inner sizes"),
    (lambda: tf.concat([X, X[0]], 0), "agree"), (lambda: tf.stack([X, X[0]]), "one shape"), (lambda: tf.split(X, 2, 1), "divide"),
    (lambda: tf.squeeze(X, 0), "size 1"), (lambda: tf.gather(X, [5]), "indices"), (lambda: tf.boolean_mask(X, [True]), "mask"),
    (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits([[1]], [[1.0]]), "labels"),
    (lambda: tf.slice(X, [0, 0, 0], [3, 1, 1]), "within"), (lambda: tf.math.top_k(X, 9), "k <="), (lambda: tf.add_n([]), "at least one"),
    (lambda: tf.nn.dropout(X, 1.5), "rate"), (lambda: tf.image.resize(X, (2, 2), "cubic"), "method"), (lambda: tf.random.uniform([1], dtype="int32"), "maxval"),
    (lambda: tf.debugging.assert_equal(1, 2, message="note"), "note"), (lambda: tf.ensure_shape(X, [None, 3]), "shape"),
    (lambda: tf.linalg.norm(X, ord="two"), "ord"), (lambda: tf.reduce_any([1, 2]), "booleans"), (lambda: tf.constant("a") * 2, "string")])
def test_errors_say_what_was_expected(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


def test_shape_arithmetic_is_static_inside_a_function():
    @tf.function
    def halves(x):
        n = tf.shape(x)[0]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reshape(x, [n // 2, -1]) * tf.ones([n // 2, 1])
            z = tf.reduce_sum(y[: n // 4] ** 2) / tf.cast(n, tf.float32)
        return y, tape.gradient(z, x)
    y, g = halves(tf.ones([4, 3]))
    assert y.shape == (2, 6) and float(tf.reduce_sum(g)) == 3.0


def test_what_depends_on_values_is_refused_inside_a_compiled_function():
    @tf.function(jit_compile=True)
    def f(x):
        return tf.boolean_mask(x, x > 0)
    with pytest.raises((ValueError, TypeError), match="known"):
        f(tf.constant([1.0, -1.0]))


# ---- random numbers


def test_the_seed_decides_the_draws():
    tf.random.set_seed(5)
    first = [tf.random.normal([3]).numpy(), tf.random.uniform([3]).numpy()]
    tf.random.set_seed(5)
    np.testing.assert_array_equal(first[0], tf.random.normal([3]))
    assert not np.array_equal(first[0], tf.random.normal([3]).numpy())
    np.testing.assert_array_equal(tf.random.stateless_normal([4], seed=[1, 2]), tf.random.stateless_normal([4], seed=[1, 2]))
    a, b = tf.random.Generator.from_seed(3), tf.random.Generator.from_seed(3)
    np.testing.assert_array_equal(a.normal([2]), b.normal([2]))
    assert not np.array_equal(a.normal([2]), tf.random.Generator.from_seed(3).normal([2]).numpy())
    one = tf.keras.random.SeedGenerator(1)
    assert not np.array_equal(tf.keras.random.normal((3,), seed=one), tf.keras.random.normal((3,), seed=one))
    np.testing.assert_array_equal(tf.keras.random.normal((3,), seed=1), tf.keras.random.normal((3,), seed=1))


def test_the_distributions_have_their_moments():
    n = 20000
    normal = tf.random.normal([n], 2.0, 3.0).numpy()
    assert abs(normal.mean() - 2) < 0.1 and abs(normal.std() - 3) < 0.1
    cut = tf.random.truncated_normal([n]).numpy()
    assert np.abs(cut).max() <= 2 and abs(cut.std() - 0.88) < 0.03
    whole = tf.random.uniform([n], 2, 7, dtype=tf.int32).numpy()
    assert set(np.unique(whole)) == {2, 3, 4, 5, 6}
    assert abs(tf.random.gamma([n], 3.0, 2.0).numpy().mean() - 1.5) < 0.05
    assert abs(tf.random.poisson([n], 4.0).numpy().mean() - 4) < 0.1
    share = np.bincount(tf.random.categorical(np.log([[0.2, 0.8]]).astype("f"), n).numpy()[0]) / n
    np.testing.assert_allclose(share, [0.2, 0.8], atol=0.02)
    dropped = tf.nn.dropout(np.ones(n, np.float32), 0.25).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    assert sorted(tf.random.shuffle(np.arange(9)).numpy()) == list(range(9))


# ---- ragged, sparse, tables


def test_ragged():
    r = tf.ragged.constant([[1, 2, 3], [], [4]])
    assert r.to_list() == [[1, 2, 3], [], [4]] and r.shape.as_list() == [3, None] and r.row_lengths().numpy().tolist() == [3, 0, 1]
    np.testing.assert_array_equal(r.to_tensor(-1), [[1, 2, 3], [-1, -1, -1], [4, -1, -1]])
    assert r[0].numpy().tolist() == [1, 2, 3] and (r * 2).to_list() == [[2, 4, 6], [], [8]] and r[1:].to_list() == [[], [4]]
    assert tf.RaggedTensor.from_tensor([[1, 0], [2, 3]], padding=0).to_list() == [[1], [2, 3]]
    assert tf.strings.split(["a b", "c"]).to_list() == [[b"a", b"b"], [b"c"]]
    text = tf.constant("a b")
    assert tf.strings.split([text]).to_list() == [[b"a", b"b"]]
    assert tf.convert_to_tensor([[text, "c"]]).numpy().tolist() == [[b"a b", b"c"]]
    assert tf.repeat([text], 2).numpy().tolist() == tf.reshape(["a b", "a b"], [2]).numpy().tolist() == [b"a b", b"a b"]
    np.testing.assert_array_equal(tf.sparse.to_dense(r.to_sparse()), r.to_tensor())


def test_sparse():
    s = tf.sparse.from_dense([[0.0, 2.0], [3.0, 0.0]])
    np.testing.assert_array_equal(tf.sparse.to_dense(s), [[0, 2], [3, 0]])
    np.testing.assert_array_equal(tf.sparse.sparse_dense_matmul(s, np.eye(2, dtype="f")), [[0, 2], [3, 0]])
    np.testing.assert_array_equal(tf.sparse.reduce_sum(s, 1), [2, 3])
    np.testing.assert_array_equal(tf.sparse.to_dense(tf.sparse.transpose(s)), [[0, 3], [2, 0]])
    ids = tf.SparseTensor([[0, 0], [0, 1], [1, 0]], [0, 1, 1], [2, 2])
    np.testing.assert_allclose(tf.nn.embedding_lookup_sparse(np.eye(2, dtype="f"), ids, None, combiner="mean"), [[0.5, 0.5], [0, 1]])


def test_text_goes_through_the_shaping_operations():
    s = tf.constant([["a", "b"], ["c", "d"]])
    assert tf.reshape(s, [-1]).numpy().tolist() == [b"a", b"b", b"c", b"d"]
    assert tf.concat([s, s], 1).shape == (2, 4) and s[0, 1].numpy() == b"b" and (s == "a").numpy().sum() == 1
    assert (s + "!").numpy()[0, 0] == b"a!" and tf.gather(s, [1])[0, 0].numpy() == b"c"


def test_lookup_and_test_case():
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2]), -1)
    assert table.lookup(tf.constant(["b", "z"])).numpy().tolist() == [2, -1]
    left, right = tf.test.compute_gradient(lambda x: x ** 2, [tf.constant([1.0, 3.0])])
    np.testing.assert_allclose(left[0], right[0], atol=1e-2)


# ---- symbolic


def test_operations_on_keras_tensors_keep_unknown_sizes():
    x = tf.keras.Input((4, 3))
    assert tf.reduce_mean(x, axis=1).shape == (None, 3) and (x * 2 + 1).shape == (None, 4, 3) and x[:, 0].shape == (None, 3)
    assert tf.reshape(x, [-1, 12]).shape == (None, 12) and tf.concat([x, x], -1).shape == (None, 4, 6)
    assert tf.keras.ops.shape(x) == (None, 4, 3) and tf.keras.ops.transpose(x, (0, 2, 1)).shape == (None, 3, 4)


# ---- doors


def test_every_root_name_resolves():
    rooms_to_come = {"profiler", "saved_model", "summary"}
    for name in set(tf.__all__) - rooms_to_come:
        getattr(tf, name)


def test_import_is_light():
    import subprocess
    import sys

    code = ("import sys, fitloom; loaded = [m for m in sys.modules if m.startswith(('jax', 'numpy', 'fitloom.'))]; "
            "sys.exit(len(loaded))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_operations_on_ragged_and_sparse_values():
    r = tf.ragged.constant([[1.0, 4.0], [9.0]])
    assert tf.sqrt(r).to_list() == [[1.0, 2.0], [3.0]] and tf.reduce_sum(r, axis=1).numpy().tolist() == [5.0, 9.0]
    assert tf.add(r, 1.0).to_list() == [[2.0, 5.0], [10.0]] and float(tf.reduce_mean(r)) == pytest.approx(14 / 3)
    assert tf.concat([r, r], 1).to_list() == [[1.0, 4.0, 1.0, 4.0], [9.0, 9.0]] and tf.concat([r, r], 0).shape[0] == 4
    assert tf.cast(r, tf.int32).to_list() == [[1, 4], [9]]
    s = tf.sqrt(tf.sparse.from_dense([[0.0, 4.0]]))
    assert s.dtype == tf.float32 and tf.sparse.to_dense(s).numpy().tolist() == [[0.0, 2.0]]
    with pytest.raises(ValueError, match="unequal lengths"):
        tf.sqrt([[1.0], [2.0, 3.0]])


def test_lists_take_tensorflows_dtypes():
    assert tf.unique([3, 1, 3]).y.dtype == tf.int32 and tf.sort([2.0, 1.0]).dtype == tf.float32
    assert tf.range(3).dtype == tf.int32 and tf.argmax([1.0, 2.0]).dtype == tf.int64 and tf.strings.as_string([1]).numpy()[0] == b"1"


def test_a_stateless_seed_is_one_number_or_two():
    with pytest.raises(tf.errors.InvalidArgumentError, match="one whole number or two"):
        tf.random.stateless_normal([3], seed=[1, 2, 3])


def test_a_random_hue_turns_half_a_turn_at_most():
    with pytest.raises(ValueError, match="at most 0.5"):
        tf.image.random_hue(tf.ones((2, 2, 3)), 0.7)


@pytest.mark.parametrize("call", [
    lambda: tf.tile([[1, 2]], [2]), lambda: tf.pad([[1, 2]], [[0, 0], [2, 2]], "REFLECT"), lambda: tf.pad([1], [[-1, 0]]),
    lambda: tf.gather_nd([[1, 2]], [[1, 0]]), lambda: tf.scatter_nd([[5]], [1], [4]),
    lambda: tf.tensor_scatter_nd_update([1, 2], [[2]], [3]),
])
def test_sizes_and_places_that_do_not_fit_are_refused(call):
    with pytest.raises(tf.errors.InvalidArgumentError):
        call()


@pytest.mark.parametrize("value", [[1, "a"], [["a", 2.5]], 2 ** 70])
def test_values_without_one_dtype_are_refused(value):
    with pytest.raises(ValueError):
        tf.constant(value)


def test_tensors_of_shapes_that_do_not_broadcast_are_not_equal():
    assert not (tf.constant([1, 2]) == tf.constant([1, 2, 3])) and tf.constant([1, 2]) != tf.constant([1, 2, 3])


def test_a_matrix_is_transposed_or_adjoint():
    with pytest.raises(ValueError, match="both are True"):
        tf.matmul([[1.0]], [[1.0]], transpose_a=True, adjoint_a=True)
    clipped = tf.clip_by_norm(tf.IndexedSlices(tf.constant([[3.0, 4.0]]), tf.constant([0])), 1.0)
    np.testing.assert_allclose(clipped.values.numpy(), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("indices", [[[1], [0]], [[0], [0]], [[5], [6]]])
def test_dense_tensors_are_made_of_sorted_indices(indices):
    sparse = tf.SparseTensor(indices, [1.0, 2.0], [2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="to_dense"):
        tf.sparse.to_dense(sparse)
    if indices[0][0] < 2:
        assert float(tf.sparse.reduce_sum(sparse)) == 3.0                  # values at one place add up
        assert tf.sparse.to_dense(sparse, validate_indices=False).shape == (2,)


@pytest.mark.parametrize("make", [
    lambda: tf.RaggedTensor.from_row_splits([1, 2, 3], [0, 2, 2]), lambda: tf.RaggedTensor.from_row_lengths([1, 2], [1, 2]),
    lambda: tf.RaggedTensor.from_row_splits([1, 2, 3], [1, 3]), lambda: tf.RaggedTensor.from_row_splits([1], [0, 2, 1]),
])
def test_ragged_rows_cover_all_values(make):
    with pytest.raises(tf.errors.InvalidArgumentError, match="cover"):
        make()


def test_whole_variables_do_not_take_fractions():
    variable = tf.Variable([1, 2])
    with pytest.raises(TypeError, match="whole numbers"):
        variable.assign([1.5, 2.0])
    assert variable.numpy().tolist() == [1, 2]


def test_errors_have_the_numbers_of_their_kinds():
    assert tf.errors.InvalidArgumentError(None, None, "x").error_code == tf.errors.INVALID_ARGUMENT == 3
    assert tf.errors.OutOfRangeError("end").error_code == tf.errors.OUT_OF_RANGE == 11


def test_soft_suppression_lowers_scores_and_excludes_nothing():
    boxes = tf.constant([[0.0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 10, 1, 11]])
    kept, scores = tf.image.non_max_suppression_with_scores(boxes, [0.9, 0.75, 0.95], 3, soft_nms_sigma=0.5)
    assert kept.numpy().tolist() == [2, 0, 1]
    np.testing.assert_allclose(scores, [0.95, 0.9, 0.75 * np.exp(-(0.9 / 1.1) ** 2)], rtol=1e-5)


def test_nearest_crops_round_halves_up():
    rows = tf.reshape(tf.range(6.0), [1, 6, 1, 1])
    crop = tf.image.crop_and_resize(rows, [[0.0, 0.0, 1.0, 1.0]], [0], [3, 1], "nearest")
    assert crop.numpy().ravel().tolist() == [0, 3, 5]


def test_sparse_tensors_with_repeated_indices_add_up():
    sparse = tf.SparseTensor([[1], [1]], [1.0, 2.0], [2])
    assert tf.sparse.add(sparse, tf.zeros([2])).numpy().tolist() == [0.0, 3.0]


def test_texts_keep_their_axes():
    assert tf.strings.split([["a b"], ["c"]]).to_list() == [[[b"a", b"b"]], [[b"c"]]]
    assert tf.strings.bytes_split([["ab"], ["c"]]).to_list() == [[[b"a", b"b"]], [[b"c"]]]
    assert tf.pad(["a"], [[1, 0]], constant_values="z").numpy().tolist() == [b"z", b"a"]
    assert tf.slice(["a", "b", "c"], [1], [1]).numpy().tolist() == [b"b"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="one shape"):
        tf.strings.join([["a", "b"], ["c"]])


def test_strings_are_formatted_as_in_tensorflow():
    shown = tf.strings.format("a {} b {}", [tf.constant([1.5, 2.0, 1 / 3]), "x"])
    assert shown.numpy() == b'a [1.5 2 0.333333343] b "x"'
    assert tf.strings.format("{}", tf.range(20), summarize=2).numpy() == b"[0 1 ... 18 19]"
    assert tf.strings.as_string([1 + 2j]).numpy().tolist() == [b"(1.000000,2.000000)"]
    with pytest.raises(ValueError, match="2 values"):
        tf.strings.format("{} {}", [1])


def test_tables_and_arrays_keep_their_dtypes():
    pairs = tf.lookup.KeyValueTensorInitializer(["a", "a"], tf.constant([1, 2], tf.int64))
    with pytest.raises(tf.errors.FailedPreconditionError, match="two values"):
        tf.lookup.StaticHashTable(pairs, -1)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], tf.int64)), -1)
    with pytest.raises(TypeError, match="dtype string"):
        table.lookup(tf.constant([1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="TensorArray"):
        tf.TensorArray(tf.int32, 2).write(0, 1.5)
