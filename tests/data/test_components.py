# SPDX-License-Identifier: Apache-2.0
"""Components that are no plain arrays, the copies that are made, and how much memory a file-backed source takes."""
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fitloom as tf

Dataset = tf.data.Dataset


def test_ragged_rows_batch_to_ragged_tensors():
    dataset = Dataset.from_tensor_slices((tf.ragged.constant([[1, 2], [3], []]), [7, 8, 9]))
    assert isinstance(dataset.element_spec[0], tf.RaggedTensorSpec)
    assert [x.numpy().tolist() for x, _ in dataset] == [[1, 2], [3], []]
    (rows, labels), (rest, _) = list(dataset.batch(2))
    assert rows.to_list() == [[1, 2], [3]] and labels.numpy().tolist() == [7, 8] and rest.to_list() == [[]]
    assert [x.numpy().tolist() for x, _ in dataset.batch(2).unbatch()] == [[1, 2], [3], []]


def test_ragged_batch_and_a_map_behind_it():
    dataset = Dataset.range(4).map(lambda n: tf.range(n)).ragged_batch(2)
    assert [x.to_list() for x in dataset] == [[[], [0]], [[0, 1], [0, 1, 2]]]
    assert [x.numpy().tolist() for x in dataset.map(lambda r: r.to_tensor(-1))] == [[[-1], [0]], [[0, 1, -1], [0, 1, 2]]]


def test_a_map_may_return_a_sparse_tensor():
    dataset = Dataset.range(2).map(lambda n: tf.sparse.from_dense(tf.stack([n, n * 2])))
    assert [tf.sparse.to_dense(x).numpy().tolist() for x in dataset] == [[0, 0], [1, 2]]


def test_the_users_array_may_change_afterwards():
    array = np.arange(4)
    dataset = Dataset.from_tensor_slices(array)
    array[:] = 0
    assert [int(x) for x in dataset] == [0, 1, 2, 3]
    for element in dataset.batch(2).as_numpy_iterator():
        element[:] = 5
    assert [int(x) for x in dataset] == [0, 1, 2, 3]


def test_a_generator_may_reuse_its_buffer():
    buffer = np.zeros(2, np.float32)

    def generator():
        for i in range(3):
            buffer[:] = i
            yield buffer
    found = list(Dataset.from_generator(generator, output_signature=tf.TensorSpec((2,), tf.float32)))
    assert [x.numpy().tolist() for x in found] == [[0, 0], [1, 1], [2, 2]]


def test_named_tuples_and_dicts_keep_their_type():
    import collections
    Pair = collections.namedtuple("Pair", ["b", "a"])
    element, = Dataset.from_tensors(Pair(1, {"y": 2, "x": 3}))
    assert isinstance(element, Pair) and int(element.b) == 1 and list(element.a) == ["y", "x"]
    mapped, = Dataset.from_tensors(Pair(1, 2)).map(lambda pair: pair.b + pair.a)
    assert int(mapped) == 3


def test_windows_are_datasets():
    pairs = list(Dataset.range(4).window(2))
    assert all(isinstance(w, Dataset) for w in pairs)
    assert [[int(x) for x in w] for w in pairs] == [[0, 1], [2, 3]]
    assert "DatasetSpec" in repr(Dataset.range(4).window(2).element_spec)


def test_variables_in_a_function_are_read_at_each_call():
    scale = tf.Variable(2.0)
    dataset = Dataset.range(4).map(lambda x: tf.cast(x, tf.float32) * scale).batch(2)
    assert [x.numpy().tolist() for x in dataset] == [[0, 2], [4, 6]]
    scale.assign(3.0)
    assert [x.numpy().tolist() for x in dataset] == [[0, 3], [6, 9]]


def test_a_function_that_assigns_runs_element_by_element():
    count = tf.Variable(0)

    def counted(x):
        count.assign_add(1)
        return x
    assert len(list(Dataset.range(5).map(counted).batch(2))) == 3
    assert int(count) == 5


def test_python_functions_inside_a_map():
    dataset = Dataset.range(3).map(lambda x: tf.py_function(lambda v: v.numpy() * 2, [x], tf.int64))
    assert [int(x) for x in dataset] == [0, 2, 4]
    dataset = Dataset.range(3).map(lambda x: tf.numpy_function(lambda v: v + np.int64(1), [x], tf.int64)).batch(2)
    assert [x.numpy().tolist() for x in dataset] == [[1, 2], [3]]


def test_layers_inside_a_map():
    layer = tf.keras.layers.Rescaling(0.5)
    found = next(iter(Dataset.range(4).map(lambda x: layer(tf.cast(x, tf.float32))).batch(4)))
    assert found.numpy().tolist() == [0, 0.5, 1, 1.5]


def test_pending_work_of_the_loop_is_not_disturbed():
    total = tf.Variable(0.0)
    for x in Dataset.range(5).map(lambda x: tf.cast(x, tf.float32)):
        with tf.GradientTape() as tape:
            loss = total * 0 + x
        total.assign_add(x)
        assert tape.gradient(loss, total) is not None
    assert float(total) == 10


def test_a_huge_source_takes_little_memory(tmp_path):
    path = tmp_path / "big.bin"
    with open(path, "wb") as file:
        file.truncate(4 << 30)                               # sparse: 4 GB of zeros that take no disk
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(f"""
        import resource
        import numpy as np
        import fitloom as tf
        tf.constant(1.0).numpy()
        data = np.memmap({str(path)!r}, np.float32, "r", shape=(1 << 20, 1024))
        dataset = tf.data.Dataset.from_tensor_slices(data).shuffle(1 << 20).batch(256).prefetch(4)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number, batch in enumerate(dataset):
            if number == 300:
                break
        import re
        status = open("/proc/self/status").read()
        print(int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]))
    """))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 500_000


def test_options_merge():
    options = tf.data.Options()
    options.deterministic = False
    options.threading.private_threadpool_size = 3
    dataset = Dataset.range(3).with_options(options)
    other = tf.data.Options()
    other.deterministic = True
    merged = dataset.with_options(other).options()
    assert merged.deterministic is True and merged.threading.private_threadpool_size == 3
    assert dataset.map(lambda x: x).options().deterministic is False


def test_optional_and_get_next():
    iterator = iter(Dataset.range(1))
    found = iterator.get_next_as_optional()
    assert bool(found.has_value()) and int(found.get_value()) == 0
    assert not bool(iterator.get_next_as_optional().has_value())
    with pytest.raises(tf.errors.OutOfRangeError):
        iterator.get_next()
    with pytest.raises(StopIteration):
        next(iterator)


def test_in_memory_plan():
    x, y = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)
    plan = Dataset.from_tensor_slices((x, y)).shuffle(6, seed=1).batch(4).prefetch(2)._in_memory_plan()
    arrays, batch_size, shuffle, drop_remainder = plan
    assert batch_size == 4 and shuffle.size == 6 and not drop_remainder and np.array_equal(arrays[0], x)
    dataset = Dataset.from_tensor_slices((x, y)).shuffle(6, seed=1).batch(4)
    orders = [plan.order().tolist() for _ in range(2)]
    assert orders == [[int(v) for _, labels in dataset for v in labels] for _ in range(2)]
    assert Dataset.range(5).map(lambda v: v).batch(2)._in_memory_plan() is None
    assert Dataset.from_tensor_slices(x)._in_memory_plan() is None


def test_older_names():
    experimental = tf.data.experimental
    assert [int(x) for x in Dataset.counter(5, -2).take(3)] == [5, 3, 1]
    assert [x.numpy().tolist() for x in experimental.from_list([[1], [1, 2]])] == [[1], [1, 2]]
    reducer = experimental.Reducer(lambda key: np.int64(0), lambda total, x: total + x, lambda total: total * 10)
    summed = Dataset.range(10).apply(experimental.group_by_reducer(lambda x: x % 2, reducer))
    assert [int(x) for x in summed] == [200, 250]
    assert int(experimental.at(Dataset.range(9), 4)) == 4
    with pytest.raises(tf.errors.FailedPreconditionError, match="was told 3"):
        list(Dataset.range(2).apply(experimental.assert_cardinality(3)))
    assert len(Dataset.range(9).filter(lambda x: x < 3).apply(experimental.assert_cardinality(3))) == 3


def test_random_layers_in_a_map_belong_to_the_element():
    layer = tf.keras.layers.Dropout(0.5)
    dataset = Dataset.from_tensors(np.ones(64, np.float32)).repeat(6).map(lambda x: layer(x, training=True))
    first, second = [[x.numpy().tolist() for x in dataset] for _ in range(2)]
    assert len({str(x) for x in first + second}) == 12       # differs by element and by epoch
    iterator = iter(dataset.map(lambda x: x, num_parallel_calls=2))
    next(iterator)
    state = iterator.state()
    rest = [x.numpy().tolist() for x in iterator]
    iterator.restore(state)
    assert [x.numpy().tolist() for x in iterator] == rest


def test_sparse_batch():
    dataset = tf.data.Dataset.range(1, 4).map(lambda x: tf.range(x))
    spec = dataset.sparse_batch(2, [6]).element_spec
    assert spec.shape.as_list() == [None, 6] and spec.dtype == tf.int64
    # as TensorFlow 2.21 gives it
    found = [(b.indices.numpy().tolist(), b.values.numpy().tolist(), b.dense_shape.numpy().tolist())
             for b in dataset.sparse_batch(2, [None])]
    assert found == [([[0, 0], [1, 0], [1, 1]], [0, 0, 1], [2, 2]), ([[0, 0], [0, 1], [0, 2]], [0, 1, 2], [1, 3])]
    dense = dataset.apply(tf.data.experimental.dense_to_sparse_batch(2, [3])).map(lambda b: tf.sparse.to_dense(b))
    assert [b.numpy().tolist() for b in dense] == [[[0, 0, 0], [0, 1, 0]], [[0, 1, 2]]]
    with pytest.raises(tf.errors.DataLossError, match="does not fit"):
        list(dataset.sparse_batch(2, [2]))
    running = iter(dataset.sparse_batch(2, [6]))
    next(running)
    state = running.state()
    again = iter(dataset.sparse_batch(2, [6]))
    again.restore(state)
    assert next(again).dense_shape.numpy().tolist() == [1, 6]


def test_the_data_service_is_refused_with_the_alternatives():
    with pytest.raises(AttributeError, match="Dataset.shard"):
        tf.data.experimental.service


TEXTS, NUMBERS = np.array(["cat", "dog", "emu"]), np.array([1, 2, 3])
WITH_TEXT = {
    "StringLookup": (lambda text, n: tf.keras.layers.StringLookup(vocabulary=["cat", "dog"])(text), [1, 2, 0]),
    "TextVectorization": (lambda text, n: tf.keras.layers.TextVectorization(
        vocabulary=["cat", "dog"], output_sequence_length=1)(text), [[2], [3], [1]]),
    "a Python comparison": (lambda text, n: n * 10 if text == "dog" else n, [1, 20, 3]),
    "an f-string": (lambda text, n: tf.strings.length(f"{text.numpy().decode()}s"), [4, 4, 4]),
    "a dictionary": (lambda text, n: {"cat": 5}.get(text.numpy().decode(), 0), [5, 0, 0]),
    "NumPy": (lambda text, n: np.frombuffer(text.numpy(), "uint8")[0], [99, 100, 101]),
}


@pytest.mark.parametrize("name", WITH_TEXT)
def test_text_beside_numbers_is_the_text_of_the_element(name):
    """The function is traced for the numbers; what asks for the text itself must not see a stand-in for it."""
    function, expected = WITH_TEXT[name]
    dataset = Dataset.from_tensor_slices((TEXTS, NUMBERS)).map(lambda text, n: (function(text, n), n))
    assert [found.numpy().tolist() for found, _ in dataset] == expected
    assert next(iter(dataset.batch(3)))[0].numpy().tolist() == expected


def test_a_batch_of_two_dtypes_is_refused_with_both():
    dataset = Dataset.from_tensor_slices((TEXTS, NUMBERS)).map(lambda text, n: 10 if text == "dog" else n)
    with pytest.raises(tf.errors.InvalidArgumentError, match="0 is int64 and element 1 is int32.*tf.cast"):
        list(dataset.batch(3))


def test_none_is_a_component():
    dataset = tf.data.Dataset.range(3).map(lambda x: (x, None)).batch(2)
    assert [(x.numpy().tolist(), none) for x, none in dataset] == [([0, 1], None), ([2], None)]
    assert repr(dataset.element_spec[1]) == "NoneTensorSpec()"


@pytest.mark.parametrize("value", [tf.ragged.constant([[1], [2, 3]]), tf.sparse.from_dense([[1, 0], [0, 2]])])
def test_generators_yield_ragged_and_sparse_tensors(value):
    spec = tf.type_spec_from_value(value)
    element, = tf.data.Dataset.from_generator(lambda: iter([value]), output_signature=spec)
    assert type(element) is type(value) and element.shape == value.shape
    wrong = tf.data.Dataset.from_generator(lambda: iter([tf.constant(1)]), output_signature=spec)
    with pytest.raises(tf.errors.InvalidArgumentError, match="was declared as"):
        list(wrong)


def test_ragged_range_keeps_the_dtype_of_its_limits():
    assert tf.ragged.range(tf.constant([1, 2], tf.int64)).dtype == tf.int64
    assert tf.ragged.range([1, 2]).dtype == tf.int32


def test_buckets_of_sparse_elements():
    dataset = tf.data.Dataset.range(3).map(lambda x: tf.sparse.from_dense(tf.ones([x + 1])))
    lengths = dataset.bucket_by_sequence_length(lambda s: s.dense_shape[0], [5], [3, 3], no_padding=True)
    assert [tuple(s.shape) for s in lengths] == [(3, 3)]
