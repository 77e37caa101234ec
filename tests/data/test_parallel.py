# SPDX-License-Identifier: Apache-2.0
"""Threads in map and interleave: the same elements in the same order, sooner; positions that do not know of them."""
import threading
import time

import numpy as np
import pytest

import fitloom as tf
from fitloom.data import prefetching, transforms

Dataset = tf.data.Dataset


def slow_file(number):
    def generate(number):
        for i in range(6):
            time.sleep(0.002)
            yield 100 * int(number) + i
    return Dataset.from_generator(generate, output_signature=tf.TensorSpec((), tf.int64), args=(number,))


def files(parallel, cycle=3, block=2):
    return Dataset.range(5).interleave(slow_file, cycle_length=cycle, block_length=block, num_parallel_calls=parallel)


def values(dataset):
    return [int(value) for value in dataset.as_numpy_iterator()]


@pytest.mark.parametrize("parallel", [1, 2, tf.data.AUTOTUNE])
def test_parallel_interleave_keeps_the_order(parallel, monkeypatch):
    monkeypatch.setattr(prefetching, "TRIALS", 1)
    assert values(files(parallel)) == values(files(None))


@pytest.mark.parametrize("place", [0, 1, 7, 13, 29, 30])
def test_positions_of_a_parallel_interleave(place, monkeypatch):
    monkeypatch.setattr(prefetching, "TRIALS", 1)
    whole = values(files(None))
    running = iter(files(tf.data.AUTOTUNE))
    begin = [int(next(running)) for _ in range(place)]
    state = running.state()
    again = iter(files(tf.data.AUTOTUNE))
    again.restore(state)
    assert begin + [int(value) for value in again] == whole
    running.close()


def test_files_are_read_at_the_same_time():
    at_once, most, lock = 0, 0, threading.Lock()

    def generate(number):
        nonlocal at_once, most
        for i in range(10):
            with lock:
                at_once += 1
                most = max(most, at_once)
            time.sleep(0.005)
            with lock:
                at_once -= 1
            yield i

    def one(number):
        return Dataset.from_generator(generate, output_signature=tf.TensorSpec((), tf.int64), args=(number,))

    Dataset.range(4).interleave(one, cycle_length=4).reduce(np.int64(0), lambda total, x: total + x)
    assert most == 1
    Dataset.range(4).interleave(one, cycle_length=4, num_parallel_calls=4).reduce(np.int64(0), lambda total, x: total + x)
    assert most > 1


def test_an_error_in_a_reader_is_raised(monkeypatch):
    monkeypatch.setattr(prefetching, "TRIALS", 1)

    def generate(number):
        for i in range(6):
            time.sleep(0.001)
            if i == 4:
                raise RuntimeError("the fifth")
            yield i

    def one(number):
        return Dataset.from_generator(generate, output_signature=tf.TensorSpec((), tf.int64), args=(number,))

    with pytest.raises(Exception, match="the fifth"):
        values(Dataset.range(3).interleave(one, cycle_length=3, num_parallel_calls=3))


def test_autotune_adds_threads_while_calls_wait(monkeypatch):
    seen = []
    monkeypatch.setattr(transforms.Workers, "grow", lambda self, count, grow=transforms.Workers.grow: (
        seen.append(count), grow(self, count))[1])

    def wait(x):
        time.sleep(0.003)
        return x

    def run(function):
        seen.clear()
        dataset = Dataset.range(80).map(lambda x: tf.numpy_function(function, [x], tf.int64),
                                        num_parallel_calls=tf.data.AUTOTUNE)
        assert values(dataset) == list(range(80))
        return seen[-1] / seen[0]

    assert run(wait) >= 4


def test_refuses_no_readers():
    with pytest.raises(ValueError, match="at least 1"):
        files(0)
