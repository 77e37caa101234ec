# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a pipeline is told with the transformation, the element and the user's line; nothing hangs."""
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import fitloom as tf
from fitloom.data import threads

Dataset = tf.data.Dataset


class OwnError(Exception):
    pass


def fails_at_three(x):
    if int(x) == 3:
        raise OwnError("three")
    return x


def ours():
    return [t for t in threading.enumerate() if t.name.startswith("fitloom")]


def wait_for_no_threads(seconds=5):
    end = time.monotonic() + seconds
    while ours() and time.monotonic() < end:
        gc.collect()
        time.sleep(0.02)
    return ours()


@pytest.mark.parametrize("build", [
    lambda d: d.map(fails_at_three),
    lambda d: d.map(fails_at_three, num_parallel_calls=2),
    lambda d: d.map(fails_at_three).batch(2).prefetch(2),
])
def test_a_users_exception_keeps_its_type_and_names_the_place(build):
    with pytest.raises(OwnError, match="three") as caught:
        list(build(Dataset.range(6)))
    notes = " ".join(caught.value.__notes__)
    assert "Dataset.map(fails_at_three" in notes and "test_faults.py" in notes and "element 3" in notes
    assert any(entry.name == "fails_at_three" for entry in caught.traceback)
    del caught                                               # its traceback holds the iterator
    assert not wait_for_no_threads()


def test_an_exception_in_a_generator_keeps_its_type():
    def generator():
        yield 1
        raise OwnError("gone")
    dataset = Dataset.from_generator(generator, output_signature=tf.TensorSpec((), tf.int32))
    with pytest.raises(OwnError) as caught:
        list(dataset)
    assert "from_generator(generator), at element 1" in caught.value.__notes__[0]


def test_stop_iteration_in_a_function_does_not_end_the_data():
    def stops(x):
        if int(x) == 1:
            raise StopIteration
        return x
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        list(Dataset.range(3).map(stops))


def test_ignore_errors_goes_on_behind_the_element():
    assert [int(x) for x in Dataset.range(6).map(fails_at_three).ignore_errors()] == [0, 1, 2, 4, 5]
    assert [int(x) for x in Dataset.range(6).map(fails_at_three, 2).ignore_errors()] == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("build", [
    lambda: Dataset.range(1000).map(slow, num_parallel_calls=3),
    lambda: Dataset.range(1000).map(slow).prefetch(3),
    lambda: Dataset.range(1000).map(slow, num_parallel_calls=2).batch(2).prefetch(3).repeat(),
])
def test_a_dropped_iterator_leaves_no_threads(build):
    iterator = iter(build())
    for _ in range(5):
        next(iterator)
    assert ours()
    del iterator
    assert not wait_for_no_threads()
    for number, _ in enumerate(build()):
        if number == 4:
            break
    del _
    assert not wait_for_no_threads()


def slow(x):
    time.sleep(0.002 + 0 * int(x))
    return x


def test_a_finished_loop_leaves_no_threads():
    assert len(list(Dataset.range(20).map(slow, num_parallel_calls=2).prefetch(2))) == 20
    assert not wait_for_no_threads()


def test_a_stalled_worker_is_an_error(monkeypatch):
    monkeypatch.setattr(threads, "STALL_SECONDS", 0.2)
    release = threading.Event()

    def stalls(x):
        if int(x) == 2:
            release.wait(30)
        return x
    with pytest.raises(tf.errors.DeadlineExceededError, match="gave no element for"):
        list(Dataset.range(6).map(stalls, num_parallel_calls=2))
    release.set()


def test_a_process_with_a_running_pipeline_exits_at_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent("""
        import time
        import fitloom as tf
        def slow(x):
            time.sleep(0.01 + 0 * int(x))
            return x
        iterator = iter(tf.data.Dataset.range(10**6).map(slow, num_parallel_calls=2).prefetch(2))
        for _ in range(6):
            next(iterator)
        print("done", flush=True)
    """))
    begin = time.monotonic()
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0 and "done" in done.stdout, done.stderr
    assert time.monotonic() - begin < 30


def test_a_killed_cache_file_is_not_read_as_whole(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(f"""
        import os, signal
        import fitloom as tf
        for number, _ in enumerate(tf.data.Dataset.range(100).cache({str(tmp_path / "c")!r})):
            if number == 50:
                os.kill(os.getpid(), signal.SIGKILL)
    """))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -signal.SIGKILL
    dataset = Dataset.range(100).cache(str(tmp_path / "c"))
    assert [int(x) for x in dataset] == list(range(100))
    assert [int(x) for x in Dataset.range(0).cache(str(tmp_path / "c"))] == list(range(100))


def test_a_damaged_cache_file_is_refused(tmp_path):
    list(Dataset.range(100).cache(str(tmp_path / "c")))
    path = tmp_path / "c.fitloom-cache"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(tf.errors.DataLossError, match="fails its checksum"):
        list(Dataset.range(100).cache(str(tmp_path / "c")))
    path.write_bytes(bytes(content[:-5]))
    with pytest.raises(tf.errors.DataLossError, match="not a whole elements file"):
        list(Dataset.range(100).cache(str(tmp_path / "c")))


def write_records(path, count=5):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i in range(count):
            writer.write(b"record%d" % i)


def test_a_damaged_record_names_file_and_offset_and_can_be_skipped(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_records(path)
    content = bytearray(path.read_bytes())
    size = len(content) // 5
    content[2 * size + 13] ^= 1
    path.write_bytes(bytes(content))
    dataset = tf.data.TFRecordDataset(str(path))
    with pytest.raises(tf.errors.DataLossError, match=f"offset {2 * size} of '{path}'"):
        list(dataset)
    assert [x.numpy() for x in dataset.ignore_errors()] == [b"record0", b"record1", b"record3", b"record4"]
    content[3 * size] ^= 1                                   # a length: nothing says where the next record begins
    path.write_bytes(bytes(content))
    assert [x.numpy() for x in dataset.ignore_errors()] == [b"record0", b"record1"]
    path.write_bytes(bytes(content[:2 * size - 3]))
    with pytest.raises(tf.errors.DataLossError, match="ends within a record"):
        list(dataset)


@pytest.mark.parametrize("call, error, text", [
    (lambda: Dataset.from_tensor_slices((np.zeros(3), np.zeros(4))), ValueError, "3, 4 rows"),
    (lambda: Dataset.from_tensor_slices(5), ValueError, "scalar"),
    (lambda: Dataset.from_generator([1, 2], output_types=tf.int32), TypeError, "callable"),
    (lambda: Dataset.from_generator(lambda: iter([1])), TypeError, "output_signature"),
    (lambda: Dataset.range(3).batch(0), ValueError, "batch_size of at least 1"),
    (lambda: Dataset.range(3).shuffle(0), ValueError, "buffer_size of at least 1"),
    (lambda: Dataset.range(3).shard(2, 2), ValueError, "index from 0 to 1"),
    (lambda: Dataset.range(3).map(5), TypeError, "expected a function"),
    (lambda: Dataset.range(3).map(lambda a, b: a), TypeError, "one argument"),
    (lambda: Dataset.zip((Dataset.range(3), 5)), TypeError, "needs datasets"),
    (lambda: Dataset.range(3).concatenate(Dataset.from_tensors("x")), TypeError, "dtypes"),
    (lambda: Dataset.range(3).flat_map(lambda x: x).take(1).get_single_element(), TypeError, "must return a Dataset"),
    (lambda: Dataset.list_files("/nowhere/*.x"), tf.errors.InvalidArgumentError, "No files matched"),
    (lambda: list(tf.data.TextLineDataset("/nowhere/x")), tf.errors.NotFoundError, "no file '/nowhere/x'"),
    (lambda: len(Dataset.range(3).repeat()), TypeError, "infinite"),
    (lambda: len(Dataset.range(3).filter(lambda x: x > 1)), TypeError, "unknown"),
    (lambda: Dataset.load("/nowhere"), tf.errors.NotFoundError, "No saved dataset"),
    (lambda: setattr(tf.data.Options(), "determinstic", True), AttributeError, "Did you mean 'deterministic'"),
    (lambda: Dataset.range(2).get_single_element(), tf.errors.InvalidArgumentError, "has more"),
])
def test_bad_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("values, signature, error, text", [
    ([[1, 2], [3]], tf.TensorSpec((2,), tf.int32), ValueError, "Element 1 .* shape \\(1,\\)"),
    ([1, "x"], tf.TensorSpec((), tf.int32), TypeError, "Element 1 .* 'x'"),
    ([1.5], tf.TensorSpec((), tf.int32), TypeError, "Element 0"),
    ([(1, 2, 3)], (tf.TensorSpec((), tf.int32),) * 2, TypeError, "expected 2 components, received 3"),
    ([{"b": 1}], {"a": tf.TensorSpec((), tf.int32)}, TypeError, "keys"),
])
def test_a_generator_must_keep_to_its_signature(values, signature, error, text):
    dataset = Dataset.from_generator(lambda: iter(values), output_signature=signature)
    with pytest.raises(error, match=text):
        list(dataset)


def test_rows_of_different_shapes_do_not_stack():
    dataset = Dataset.from_generator(lambda: iter([[1], [1, 2]]), output_signature=tf.TensorSpec((None,), tf.int32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="element 1 has shape \\(2,\\).*padded_batch"):
        list(dataset.batch(2))


def test_a_state_of_another_pipeline_is_refused():
    state = iter(Dataset.range(5)).state()
    with pytest.raises(ValueError, match="another pipeline"):
        iter(Dataset.range(6)).restore(state)
    with pytest.raises(ValueError, match="what state"):
        iter(Dataset.range(6)).restore(3)


def test_a_bad_image_says_what_it_is_not():
    with pytest.raises(tf.errors.InvalidArgumentError, match="no image that can be read"):
        tf.io.decode_png(b"hello")


@pytest.mark.parametrize("make", [
    lambda: Dataset.range(3).batch(0), lambda: Dataset.range(3).window(0), lambda: Dataset.range(3).shuffle(0),
    lambda: Dataset.range(3).shard(2, 2), lambda: Dataset.range(3).prefetch(-2), lambda: Dataset.range(0, 3, 0),
    lambda: Dataset.range(3).interleave(Dataset.range, cycle_length=0),
    lambda: Dataset.range(3).map(lambda x: x, num_parallel_calls=0),
    lambda: Dataset.range(3).group_by_window(lambda x: x, lambda k, w: w, 0),
    lambda: list(Dataset.from_generator(lambda: iter(["a"]), "int32")),
    lambda: list(Dataset.from_generator(lambda: iter([[1, 2]]), "int32", [3])),
])
def test_numbers_that_make_no_sense_are_invalid_arguments(make):
    with pytest.raises(tf.errors.InvalidArgumentError):
        make()


@pytest.mark.parametrize("make", [
    lambda: list(Dataset.range(3).filter(lambda x: x)), lambda: list(Dataset.range(3).take_while(lambda x: x)),
])
def test_a_predicate_that_returns_a_number_is_refused(make):
    with pytest.raises(ValueError, match="one scalar tf.bool"):
        make()


@pytest.mark.parametrize("make", [
    lambda: list(Dataset.range(3).scan(tf.constant(0), lambda s, x: (tf.cast(s, "float32"), x))),
    lambda: Dataset.from_tensor_slices([1.0]).unique(),
    lambda: Dataset.choose_from_datasets([Dataset.range(1)], Dataset.from_tensors(1.0)),
    lambda: Dataset.sample_from_datasets([Dataset.range(1), Dataset.from_tensors(1.0)]),
    lambda: list(Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3]])).padded_batch(2)),
    lambda: list(Dataset.from_tensor_slices([[1]]).padded_batch(1, padding_values="a")),
])
def test_values_of_another_type_are_refused(make):
    with pytest.raises(TypeError):
        make()
