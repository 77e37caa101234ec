# SPDX-License-Identifier: Apache-2.0
"""Strings that hold encoded bytes, sparse features and batches of sequence examples."""
import gzip
import zlib

import pytest

import fitloom as tf


def numbers(*values):
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(**features):
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def steps(count):
    lists = {"t": [numbers(*range(i + 1)) for i in range(count)], "f": [numbers(float(i)) for i in range(count)]}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature={"n": numbers(count)}),
        feature_lists=tf.train.FeatureLists(feature_list={
            key: tf.train.FeatureList(feature=value) for key, value in lists.items()})).SerializeToString()


def test_base64_is_that_of_addresses():
    assert tf.io.encode_base64(["hi", "a?b>"]).numpy().tolist() == [b"aGk", b"YT9iPg"]
    assert tf.io.encode_base64("hi", pad=True).numpy() == b"aGk="
    assert tf.io.decode_base64(["aGk", "aGk="]).numpy().tolist() == [b"hi", b"hi"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_base64("a!")


def test_compressed_strings():
    assert tf.io.decode_compressed([gzip.compress(b"x")], "GZIP").numpy().tolist() == [b"x"]
    assert tf.io.decode_compressed(zlib.compress(b"abc"), "ZLIB").numpy() == b"abc"
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_compressed("damaged", "ZLIB")


def test_sparse_tensors_as_strings():
    sparse = tf.sparse.from_dense([[1, 0], [0, 2]])
    assert tuple(tf.io.serialize_sparse(sparse).shape) == (3,)
    rows = tf.io.deserialize_many_sparse(tf.io.serialize_many_sparse(sparse), tf.int32)
    assert tf.sparse.to_dense(rows).numpy().tolist() == [[1, 0], [0, 2]]
    two = tf.io.deserialize_many_sparse(tf.stack([tf.io.serialize_sparse(sparse)] * 2), tf.int32, rank=2)
    assert tuple(two.shape) == (2, 2, 2)


def test_sparse_features():
    feature = {"s": tf.io.SparseFeature("i", "v", tf.float32, 5), "i": tf.io.VarLenFeature(tf.int64)}
    parsed = tf.io.parse_single_example(example(i=numbers(3, 1), v=numbers(1.5, 2.5)), feature)
    assert tf.sparse.to_dense(parsed["s"]).numpy().tolist() == [0, 2.5, 0, 1.5, 0] and len(parsed["i"].values) == 2
    batch = tf.io.parse_example(
        [example(i=numbers(1, 0), j=numbers(0, 1), v=numbers(1.0, 2.0)), example()],
        {"s": tf.io.SparseFeature(["i", "j"], "v", tf.float32, [2, 2])})
    assert tf.sparse.to_dense(batch["s"]).numpy().tolist() == [[[0, 2], [1, 0]], [[0, 0], [0, 0]]]
    for wrong in (example(i=numbers(7), v=numbers(1.5)), example(i=numbers(1, 2), v=numbers(1.5))):
        with pytest.raises(tf.errors.InvalidArgumentError, match="SparseFeature"):
            tf.io.parse_single_example(wrong, feature)


def test_batches_of_sequence_examples():
    context, sequences, lengths = tf.io.parse_sequence_example(
        [steps(2), steps(0)], {"n": tf.io.FixedLenFeature([], tf.int64)},
        {"f": tf.io.FixedLenSequenceFeature([1], tf.float32), "t": tf.io.VarLenFeature(tf.int64)})
    assert context["n"].numpy().tolist() == [2, 0]
    assert sequences["f"].numpy().tolist() == [[[0], [1]], [[0], [0]]] and lengths["f"].numpy().tolist() == [2, 0]
    assert tf.sparse.to_dense(sequences["t"]).numpy().tolist() == [[[0, 0], [0, 1]], [[0, 0], [0, 0]]]
    _, ragged, _ = tf.io.parse_sequence_example([steps(2), steps(0)], None, {"t": tf.io.RaggedFeature(tf.int64)})
    assert ragged["t"].to_list() == [[[0], [0, 1]], []]
