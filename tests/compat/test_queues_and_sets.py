# SPDX-License-Identifier: Apache-2.0
"""tf.queue and tf.sets, as notebooks about TensorFlow's data structures use them."""
import threading

import pytest

import fitloom as tf


def dense(sparse):
    return tf.sparse.to_dense(sparse).numpy().tolist()


def test_sets():
    a, b = tf.constant([[2, 3, 5, 7], [7, 9, 0, 0]]), tf.constant([[4, 5, 6], [9, 10, 0]])
    assert dense(tf.sets.union(a, b)) == [[2, 3, 4, 5, 6, 7], [0, 7, 9, 10, 0, 0]]
    assert dense(tf.sets.difference(a, b)) == [[2, 3, 7], [7, 0, 0]]
    assert dense(tf.sets.difference(a, b, aminusb=False)) == [[4, 6], [10, 0]]
    assert dense(tf.sets.intersection(a, b)) == [[5, 0], [0, 9]]
    assert tf.sets.size(a).numpy().tolist() == [4, 3]
    words = tf.sets.union(tf.sparse.from_dense([["b", "a"]]), tf.constant([["a", "c"]]))
    assert words.values.numpy().tolist() == [b"a", b"b", b"c"] and words.indices.dtype == tf.int64
    with pytest.raises(tf.errors.InvalidArgumentError, match="one dtype"):
        tf.sets.union(a, tf.cast(b, tf.int64))


def test_queue_in_order():
    queue = tf.queue.FIFOQueue(3, [tf.int32, tf.string], shapes=[(), ()])
    queue.enqueue([10, b"windy"])
    queue.enqueue([15, b"sunny"])
    assert int(queue.size()) == 2 and [v.numpy() for v in queue.dequeue()] == [10, b"windy"]
    queue.enqueue_many([[13, 16], [b"cloudy", b"rainy"]])
    numbers, words = queue.dequeue_many(3)
    assert numbers.numpy().tolist() == [15, 13, 16] and words.numpy().tolist() == [b"sunny", b"cloudy", b"rainy"]
    with pytest.raises(ValueError, match="2 components"):
        queue.enqueue([1, "a", 2])


def test_queue_that_is_closed():
    queue = tf.queue.FIFOQueue(10, tf.int32, shapes=tf.TensorShape(2))
    queue.enqueue([1, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="shape"):
        queue.enqueue([1, 2, 3])
    queue.close()
    assert queue.is_closed()
    with pytest.raises(tf.errors.CancelledError):
        queue.enqueue([3, 4])
    assert queue.dequeue_up_to(5).numpy().tolist() == [[1, 2]]
    with pytest.raises(tf.errors.OutOfRangeError):
        queue.dequeue()


def test_queue_between_threads():
    queue, taken = tf.queue.FIFOQueue(1, tf.int32), []

    def take():
        taken.extend(int(queue.dequeue()) for _ in range(5))
    thread = threading.Thread(target=take)
    thread.start()
    for number in range(5):
        queue.enqueue(number)
    thread.join(10)
    assert taken == [0, 1, 2, 3, 4]


def test_other_queues():
    priority = tf.queue.PriorityQueue(5, tf.string, shapes=())
    priority.enqueue_many([[3, 1, 2], ["c", "a", "b"]])
    assert [priority.dequeue()[1].numpy() for _ in range(3)] == [b"a", b"b", b"c"]
    padding = tf.queue.PaddingFIFOQueue(5, [tf.int32], shapes=[[None]])
    padding.enqueue([[1, 2, 3]])
    padding.enqueue([[4]])
    assert padding.dequeue_many(2).numpy().tolist() == [[1, 2, 3], [4, 0, 0]]
    shuffled = tf.queue.RandomShuffleQueue(30, 0, tf.int32, shapes=(), seed=1)
    shuffled.enqueue_many([list(range(20))])
    found = shuffled.dequeue_many(20).numpy().tolist()
    assert sorted(found) == list(range(20)) and found != sorted(found)
    named = tf.queue.FIFOQueue(2, [tf.int32, tf.int32], names=["a", "b"])
    named.enqueue({"a": 1, "b": 2})
    assert int(named.dequeue()["b"]) == 2
