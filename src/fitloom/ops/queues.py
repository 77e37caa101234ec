# SPDX-License-Identifier: Apache-2.0
"""`tf.queue`: bounded queues of tensors between threads, on the host. Pipelines are better off with `tf.data`."""
import collections
import threading

import numpy as np

from fitloom import engine
from fitloom.base.dtypes import as_dtype, int64, string
from fitloom.base.errors import CancelledError, InvalidArgumentError, OutOfRangeError
from fitloom.base.shapes import TensorShape
from fitloom.ops.calling import host_value
from fitloom.ops.casting import bytes_array


class QueueBase:
    """What the queues have in common. A full queue lets `enqueue` wait, an empty one `dequeue`.

    Args:
        dtypes: the dtype of each component of an element; one dtype for elements of one component.
        shapes: the shape of each component, needed by `enqueue_many` and `dequeue_many`.
        names: names of the components: elements are then dicts.
    """

    def __init__(self, dtypes, shapes, names, capacity, least=0):
        self._single = not isinstance(dtypes, (list, tuple))
        self._dtypes = [as_dtype(d) for d in ([dtypes] if self._single else dtypes)]
        if shapes is not None:
            one = self._single or len(self._dtypes) == 1 and not _is_list_of_shapes(shapes)
            shapes = [shapes] if one and not _is_list_of_shapes(shapes) else list(shapes)
            if len(shapes) != len(self._dtypes):
                raise ValueError(f"{type(self).__name__} expected a shape for each of {len(self._dtypes)} components, "
                                 f"but received {len(shapes)}.")
        self._shapes = None if shapes is None else [TensorShape(s) for s in shapes]
        self._names = [names] if isinstance(names, str) else names
        self._capacity, self._least = int(capacity), int(least)
        self._elements, self._changed, self._closed = [], threading.Condition(), False

    dtypes = property(lambda self: list(self._dtypes))
    shapes = property(lambda self: None if self._shapes is None else list(self._shapes))
    names = property(lambda self: self._names)

    def _components(self, vals):
        if self._names is not None:
            if not isinstance(vals, dict) or sorted(vals) != sorted(self._names):
                raise ValueError(f"This queue expected a dict with {sorted(self._names)}, but received {vals!r:.80}.")
            vals = [vals[name] for name in self._names]
        elif not isinstance(vals, (list, tuple)) or len(self._dtypes) == 1 and len(vals) != 1:
            vals = [vals]
        if len(vals) != len(self._dtypes):
            raise ValueError(f"This queue expected {len(self._dtypes)} components, but received {len(vals)}.")
        return [host_value(engine.convert_to_tensor(v, dtype=d), "a queue's element")
                for v, d in zip(vals, self._dtypes, strict=True)]

    def _check(self, element):
        for array, shape in zip(element, self._shapes or [None] * len(element), strict=True):
            if shape is not None and not shape.is_compatible_with(array.shape):
                raise InvalidArgumentError(f"This queue expected a component of shape {shape}, but received "
                                           f"{tuple(array.shape)}.")

    def enqueue(self, vals, name=None):
        """Put one element in, once there is room."""
        element = self._components(vals)
        self._check(element)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._elements) < self._capacity)
            if self._closed:
                raise CancelledError(f"{type(self).__name__} is closed.")
            self._insert(element)
            self._changed.notify_all()

    def enqueue_many(self, vals, name=None):
        """Put the rows of the components in, one after the other."""
        for row in zip(*self._components(vals), strict=True):
            self.enqueue(dict(zip(self._names, row, strict=True)) if self._names else list(row))

    def _wait_for(self, count):
        self._changed.wait_for(lambda: self._closed or len(self._elements) >= count + self._least)

    def _given(self, arrays):
        tensors = [engine.Tensor(a) for a in arrays]
        if self._names is not None:
            return dict(zip(self._names, tensors, strict=True))
        return tensors[0] if len(tensors) == 1 else tensors

    def dequeue(self, name=None):
        """Take one element out, once there is one."""
        with self._changed:
            self._wait_for(1)
            if not self._elements:
                raise OutOfRangeError(f"{type(self).__name__} is closed and has no elements.")
            element = self._take()
            self._changed.notify_all()
        return self._given(element)

    def dequeue_many(self, n, name=None):
        """Take `n` elements out, once there are so many; the components have a new first axis."""
        return self._several(int(host_value(n)), exactly=True)

    def dequeue_up_to(self, n, name=None):
        """Take `n` elements out, or fewer from a closed queue that has no more."""
        return self._several(int(host_value(n)), exactly=False)

    def _several(self, n, exactly):
        if self._shapes is None:
            raise ValueError("dequeue_many needs the shapes of the components: give shapes= to the queue.")
        with self._changed:
            self._wait_for(n)
            if len(self._elements) < n and (exactly or not self._elements):
                raise OutOfRangeError(f"{type(self).__name__} is closed and has {len(self._elements)} elements, but "
                                      f"{n} were asked for.")
            rows = [self._take() for _ in range(min(n, len(self._elements)))]
            self._changed.notify_all()
        return self._given([self._batch(column, dtype) for column, dtype in zip(
            list(zip(*rows, strict=True)) or [()] * len(self._dtypes), self._dtypes, strict=True)])

    def _batch(self, column, dtype):
        if dtype is string:
            flat = [text for array in column for text in np.ravel(array)]
            return bytes_array(flat, (len(column), *(np.shape(column[0]) if column else ())))
        return np.stack(column) if column else np.zeros(0, dtype.numpy_dtype)

    def close(self, cancel_pending_enqueues=False, name=None):
        """Refuse further elements; those inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_closed(self, name=None):
        """Return whether the queue is closed, as a bool tensor."""
        return engine.convert_to_tensor(self._closed)

    def size(self, name=None):
        """Return the number of elements inside."""
        return engine.Tensor(np.asarray(len(self._elements), np.int32))

    def _insert(self, element):
        self._elements.append(element)

    def _take(self):
        return self._elements.pop(0)


def _is_list_of_shapes(shapes):
    """Whether `shapes` is a list of shapes rather than one shape."""
    return isinstance(shapes, (list, tuple)) and any(
        isinstance(s, (list, tuple, TensorShape)) or s is None and len(shapes) == 1 for s in shapes)


class FIFOQueue(QueueBase):
    """First in, first out.

    Example:
        >>> import fitloom as tf
        >>> queue = tf.queue.FIFOQueue(3, [tf.int32, tf.string], shapes=[(), ()])
        >>> queue.enqueue([10, "windy"])
        >>> queue.dequeue()[0].numpy()
        np.int32(10)
    """

    def __init__(self, capacity, dtypes, shapes=None, names=None, shared_name=None, name="fifo_queue"):
        super().__init__(dtypes, shapes, names, capacity)
        self._elements = collections.deque()

    def _take(self):
        return self._elements.popleft()


class PaddingFIFOQueue(FIFOQueue):
    """First in, first out; `dequeue_many` fills components of different sizes up with zeros."""

    def __init__(self, capacity, dtypes, shapes, names=None, shared_name=None, name="padding_fifo_queue"):
        super().__init__(capacity, dtypes, shapes, names)

    def _batch(self, column, dtype):
        sizes = np.max([np.shape(array) for array in column], 0) if column else ()
        padded = []
        for array in column:
            whole = np.full(sizes, b"" if dtype is string else 0, dtype=dtype.numpy_dtype)
            whole[tuple(slice(n) for n in np.shape(array))] = array
            padded.append(whole)
        return super()._batch(padded, dtype)


class RandomShuffleQueue(QueueBase):
    """Elements come out at random; `min_after_dequeue` of them stay inside until the queue is closed."""

    def __init__(self, capacity, min_after_dequeue, dtypes, shapes=None, names=None, seed=None, shared_name=None,
                 name="random_shuffle_queue"):
        super().__init__(dtypes, shapes, names, capacity, min_after_dequeue)
        self._generator = engine.host_generator(seed)

    def _take(self):
        return self._elements.pop(int(self._generator.integers(len(self._elements))))


class PriorityQueue(QueueBase):
    """The element with the smallest first component, an int64, comes out first."""

    def __init__(self, capacity, types, shapes=None, names=None, shared_name=None, name="priority_queue"):
        types = [types] if not isinstance(types, (list, tuple)) else list(types)
        shapes = None if shapes is None else [(), *(shapes if _is_list_of_shapes(shapes) else [shapes])]
        super().__init__([int64, *types], shapes, names, capacity)

    def _take(self):
        return self._elements.pop(min(range(len(self._elements)), key=lambda i: int(self._elements[i][0])))
