# SPDX-License-Identifier: Apache-2.0
"""What a loop over a dataset holds: an iterator with a small, exact position."""
import hashlib
import threading
import weakref

import jax
import numpy as np

from fitloom import engine, ops
from fitloom.base import nest, tracebacks
from fitloom.base.errors import OutOfRangeError
from fitloom.data import structure
from fitloom.data.caching import Cache
from fitloom.data.plan import END, Run, resume, snapshot, start
from fitloom.data.prefetching import Prefetch, PrefetchFlow

VERSION = 1


class Position:
    """A running plan whose position can be told and taken back."""

    def __init__(self, node, options):
        self.node, self.options, self.run, self.flow = node, options, None, None
        self.place = None
        self.lock = threading.Lock()

    def pull(self):
        """Return the next flat element or END."""
        with self.lock:
            if self.flow is None:
                self.run = Run.of(self.node, self.options)
                self.flow = self._placing(start(self.node, self.run))
            return self.flow.pull()

    def state(self):
        """Return the position as a dict of integers, tuples and a fingerprint of the plan."""
        with self.lock:
            return {"version": VERSION, "plan": fingerprint(self.node), "seeds": seeds_of(self.node),
                    "epochs": tuple([node.epoch if self.run is None else self.run.epochs[node]
                                     for node in self.node.walk()]),
                    "caches": tuple([node.filled_from for node in caches(self.node)]),
                    "flow": None if self.flow is None else snapshot(self.flow)}

    def restore(self, state):
        """Go to a position."""
        state = tupled(state)
        if not isinstance(state, dict) or "plan" not in state or "flow" not in state:
            raise ValueError("restore() expects what state() of an iterator returned.")
        if state["plan"] != fingerprint(self.node):
            raise ValueError("The state belongs to another pipeline: its transformations or sizes differ from this "
                             f"one's, which is {describe(self.node)}.")
        with self.lock:
            if self.flow is not None:
                self.flow.close()
            put_seeds(self.node, state["seeds"])
            for node, origin in zip(caches(self.node), state["caches"]):
                if not node.full():
                    node.filled_from = origin
            epochs = dict(zip(self.node.walk(), state["epochs"]))
            self.flow = self.run = None
            for node, epoch in epochs.items():
                node.epoch = epoch
            if state["flow"] is not None:
                self.run = Run.of(self.node, self.options)
                self.flow = self._placing(resume(self.node, self.run, state["flow"]))

    def _placing(self, flow):
        if self.place is not None and isinstance(flow, PrefetchFlow):
            flow.place = self.place
        return flow

    def close(self):
        """Stop every thread of the pipeline."""
        if self.flow is not None:
            self.flow.close()


def tupled(value):
    """Return a state that went through JSON with its lists as tuples again."""
    if isinstance(value, dict):
        return {key: tupled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple([tupled(item) for item in value])
    return value


def describe(node):
    """Return the plan in words."""
    below = ", ".join(map(describe, node.inputs))
    return f"{below} -> {node.name}" if below else node.name


def fingerprint(node):
    """Return a short text that tells plans apart."""
    return hashlib.sha256(repr(node.fingerprint()).encode()).hexdigest()[:16]


def caches(node):
    """Return the caches of a plan."""
    return [each for each in node.walk() if isinstance(each, Cache)]


def _seeded(node):
    for each in node.walk():
        for holder in (each, getattr(each, "function", None)):
            if isinstance(getattr(holder, "seed", None), int):
                yield holder


def seeds_of(node):
    """Return the seeds of a plan: those drawn at random belong to the position."""
    return tuple([holder.seed for holder in _seeded(node)])


def put_seeds(node, seeds):
    """Take `seeds_of` back."""
    for holder, seed in zip(_seeded(node), seeds):
        holder.seed = seed


class _Base:
    """What both iterators share."""

    def __init__(self, dataset):
        self._dataset = dataset
        self._position = Position(dataset._node, dataset._options)
        self._finalizer = weakref.finalize(self, Position.close, self._position)
        self._convert = None

    def _pack(self):
        return structure.packer(self._dataset._node.like())

    def __iter__(self):
        return self

    @tracebacks.short
    def _next(self):
        flat = self._position.pull()
        if flat is not END and self._convert is None:
            self._convert = self._pack()
        return flat

    def state(self):
        """Return the position: a small dict of numbers, to be stored (JSON will do) and given to `restore`."""
        return self._position.state()

    def restore(self, state):
        """Go to a position that `state()` told, in this process or another; what follows is the same to the bit."""
        self._position.restore(state)

    get_state = state
    set_state = restore

    def close(self):
        """Stop the threads of the pipeline; done by itself when the iterator is dropped."""
        self._finalizer()


class Iterator(_Base):
    """An iterator over a dataset's elements as Tensors: `tf.data.Iterator`.

    Example:
        >>> import fitloom as tf
        >>> it = iter(tf.data.Dataset.range(5).shuffle(5, seed=1))
        >>> _ = next(it); state = it.state(); rest = [int(x) for x in it]
        >>> it.restore(state); rest == [int(x) for x in it]
        True
    """

    def __next__(self):
        engine.next_element()
        flat = self._next()
        if flat is END:
            raise StopIteration
        return self._convert([structure.to_tensor(c) for c in flat])

    def get_next(self, name=None):
        """Return the next element; raise `tf.errors.OutOfRangeError` at the end."""
        engine.next_element()
        flat = self._next()
        if flat is END:
            raise OutOfRangeError("End of sequence: the dataset has no next element.")
        return self._convert([structure.to_tensor(c) for c in flat])

    def get_next_as_optional(self):
        """Return a `tf.experimental.Optional` with the next element, or without one at the end."""
        engine.next_element()
        flat = self._next()
        if flat is END:
            return Optional(None, self.element_spec)
        return Optional((self._convert([structure.to_tensor(c) for c in flat]),), self.element_spec)

    @property
    def element_spec(self):
        """The spec of the elements."""
        return self._dataset.element_spec


class NumpyIterator(_Base):
    """An iterator over a dataset's elements as NumPy arrays."""

    def __next__(self):
        flat = self._next()
        if flat is END:
            raise StopIteration
        return self._convert([_to_user(c) for c in flat])

    next = __next__


class Batches(_Base):
    """An iterator over flat elements packed in structure, NumPy inside and not copied: for training loops.

    On an accelerator the thread of a `prefetch` at the pipeline's end puts the next batches there: they come as
    Tensors.
    """

    def __init__(self, dataset):
        super().__init__(dataset)
        if isinstance(dataset._node, Prefetch) and accelerated():
            self._position.place = on_device

    def __next__(self):
        flat = self._next()
        if flat is END:
            raise StopIteration
        return self._convert(flat)


def accelerated() -> bool:
    """Whether programs run elsewhere than on this processor."""
    return jax.default_backend() != "cpu"


def on_device(component):
    """Put an array of numbers on the default device."""
    numbers = type(component) is np.ndarray and component.dtype.kind in "biufcV"
    return engine.Tensor(engine.to_device(component)) if numbers else component


def _to_user(component):
    if isinstance(component, structure.Opaque) and hasattr(component, "_as_user_value"):
        return component._as_user_value()
    if isinstance(component, (ops.RaggedTensor, ops.SparseTensor)):
        return component.numpy()
    if getattr(component, "ndim", 1) == 0:
        return component[()]
    return component


class Optional:
    """A value that may be missing: `tf.experimental.Optional`."""

    def __init__(self, content, spec):
        self._content, self.element_spec = content, spec

    @staticmethod
    def from_value(value):
        """Return an Optional that holds `value`."""
        def converted(leaf):
            return leaf if hasattr(leaf, "_type_spec") else engine.convert_to_tensor(leaf)
        value = nest.map_structure(converted, value)
        return Optional((value,), nest.map_structure(engine.type_spec_from_value, value))

    @staticmethod
    def empty(element_spec):
        """Return an Optional without a value."""
        return Optional(None, element_spec)

    def has_value(self, name=None):
        """Return whether there is a value, as a bool tensor."""
        return engine.convert_to_tensor(self._content is not None)

    def get_value(self, name=None):
        """Return the value; raise `tf.errors.InvalidArgumentError` if there is none."""
        if self._content is None:
            from fitloom.base.errors import InvalidArgumentError
            raise InvalidArgumentError("The Optional holds no value.")
        return self._content[0]
