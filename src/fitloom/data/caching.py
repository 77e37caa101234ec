# SPDX-License-Identifier: Apache-2.0
"""Nodes that keep elements: cache in memory or in a file, snapshot, save and load."""
import hashlib
import json
import os
import secrets
import threading

from fitloom.base.errors import NotFoundError
from fitloom.data import structure
from fitloom.data.access import ArrayAccess, stack, uniform
from fitloom.data.plan import END, Flow, Node, Run, start
from fitloom.data.sources import IndexedFlow
from fitloom.data.storage import Elements, Writer, level, sync_folder

MANIFEST = "dataset.json"


class Cache(Node):
    """The input's elements, computed in the first complete pass and kept.

    An unfinished pass keeps nothing. Once elements of one shape are kept they can be fetched by number, so that a
    shuffle or batch behind the cache works on whole arrays.
    """

    name = "cache"
    compression = None

    def __init__(self, source, path=""):
        super().__init__(source)
        self.path = f"{path}.fitloom-cache" if path else ""
        self.kept, self.arrays, self.filled_from, self.lock = None, None, None, threading.Lock()

    def full(self):
        """Whether all elements are kept."""
        if self.kept is None and self.arrays is None and self.path and os.path.exists(self.path):
            self.kept = Elements(self.path)
        return self.kept is not None or self.arrays is not None

    def keep(self, elements, run):
        """Take the elements of a complete pass."""
        with self.lock:
            if self.full():
                return
            self.filled_from = self.origin(run)
            if uniform(elements):
                self.arrays = stack(elements)
            else:
                self.kept = elements

    def cardinality(self):
        size = self.inputs[0].cardinality()
        if size < 0 and self.full():
            return len(self.arrays[0]) if self.arrays is not None else len(self.kept)
        return size

    def access(self):
        return ArrayAccess(self.arrays) if self.arrays is not None else None

    def prepare(self, run):
        flow = CacheFlow(self, run)
        flow.begin()
        while flow.pull() is not END:
            pass
        flow.close()

    def origin(self, run):
        """Return what the elements were computed from, as integers: a restored process computes the same ones."""
        return tuple([run.epochs.get(node, 0) for node in self.inputs[0].walk()])

    def filling_run(self, run):
        """Return the run in which to fill: that of a snapshot, if one was restored.

        It has no path: in whatever branch of the plan the cache is filled first, it holds the same elements.
        """
        epochs = run.epochs if self.filled_from is None else dict(zip(self.inputs[0].walk(), self.filled_from))
        return Run(epochs, run.options, run.peek)

    def flow(self, run):
        return CacheFlow(self, run)


class CacheFlow(Flow):
    """Reads what is kept, or fills it."""

    def __init__(self, node, run):
        self.node, self.run, self.position = node, run, 0
        self.source = self.writer = self.elements = None

    def begin(self):
        node = self.node
        if node.full():
            return
        self.filling = node.filling_run(self.run)
        self.source = start(node.inputs[0], self.filling)
        if self.run.peek:
            return
        if node.path:
            self.writer = Writer(node.path, node.inputs[0].element_spec(), node.compression)
        else:
            self.elements = []

    def pull(self):
        if self.source is None:
            return self._read()
        element = self.source.pull()
        if element is END:
            self._complete()
            return END
        if self.elements is not None:
            self.elements.append(element)
        elif self.writer is not None:
            self.writer.write(element)
        self.position += 1
        return element

    def _read(self):
        node, position = self.node, self.position
        if node.arrays is not None:
            if position >= len(node.arrays[0]):
                return END
            self.position += 1
            return tuple([column[position, ...] for column in node.arrays])
        if position >= len(node.kept):
            return END
        self.position += 1
        return node.kept[position] if isinstance(node.kept, list) else node.kept.get(position)

    def _complete(self):
        if self.elements is not None:
            self.node.keep(self.elements, self.filling)
            self.elements = None
        elif self.writer is not None:
            self.writer.finish()
            self.writer = None
        # what was pulled last stays the end, whoever else reads the cache

    def state(self):
        return self.position

    def restore(self, state):
        self.begin()
        if self.source is None:
            self.position = state
        else:
            self.skip(state)

    def close(self):
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None
        self.elements = None
        if self.source is not None:
            self.source.close()


class Saved(Node):
    """The elements of files written by `save` or `snapshot`."""

    name = "load"

    def __init__(self, paths, spec=None):
        super().__init__()
        self.files = [Elements(path) for path in paths]
        self.spec = spec if spec is not None else self.files[0].spec
        self.ends, total = [], 0
        for file in self.files:
            total += len(file)
            self.ends.append(total)

    def element_spec(self, peek=True):
        return self.spec

    def cardinality(self):
        return self.ends[-1]

    def get(self, number):
        """Return one flat element."""
        begin = 0
        for file, end in zip(self.files, self.ends):
            if number < end:
                return file.get(number - begin)
            begin = end
        raise IndexError(number)

    def flow(self, run):
        return IndexedFlow(self.cardinality(), self.get)


def save(node, path, shard_of=None, compression=None):
    """Write a dataset's elements into the folder `path`: whole, or not at all (what was there stays until then)."""
    path, spec = os.fspath(path), node.element_spec()
    token, writers, number = secrets.token_hex(4), {}, 0

    def writer_of(shard):
        if shard not in writers:
            writers[shard] = Writer(os.path.join(path, f"{token}-{shard:05d}.elements"), spec, compression)
        return writers[shard]

    flow = start(node, Run.of(node))
    try:
        while (element := flow.pull()) is not END:
            writer_of(0 if shard_of is None else int(shard_of.element(element, number)[0])).write(element)
            number += 1
        writer_of(0)
        for writer in writers.values():
            writer.finish()
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        raise
    finally:
        flow.close()
    old = [name for name in os.listdir(path) if name.endswith(".elements") and not name.startswith(token)]
    manifest = os.path.join(path, MANIFEST)
    with open(manifest + ".tmp", "w") as file:
        json.dump([os.path.basename(writers[shard].path) for shard in sorted(writers)], file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(manifest + ".tmp", manifest)
    sync_folder(manifest)
    for name in old:
        os.remove(os.path.join(path, name))


def saved_files(path):
    """Return the files that a finished `save` left in a folder, in order."""
    path = os.fspath(path)
    try:
        with open(os.path.join(path, MANIFEST)) as file:
            return [os.path.join(path, os.path.basename(name)) for name in json.load(file)]
    except FileNotFoundError:
        raise NotFoundError(f"No saved dataset at '{path}': there is no {MANIFEST} in it. It is written last, so a "
                            "save that was interrupted leaves none.") from None


class Snapshot(Cache):
    """Elements written to a folder in the first complete pass, and read from there by every later run."""

    name = "snapshot"

    def __init__(self, source, path, compression):
        super().__init__(source)
        digest = hashlib.sha256(repr((source.fingerprint(), structure.outline(source.element_spec()))).encode())
        self.path = os.path.join(os.fspath(path), digest.hexdigest()[:16] + ".elements")
        level(compression)
        self.compression = compression
