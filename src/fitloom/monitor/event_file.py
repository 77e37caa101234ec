# SPDX-License-Identifier: Apache-2.0
"""TensorBoard event files. One thread waits for values, builds the records and writes them; no TensorFlow.

The messages are the `tensorboard` package's own; the records are TFRecords, whose checksums `data` computes without
holding the training thread up (tensorboard's own writer computes them byte by byte in Python).
"""
import atexit
import functools
import itertools
import os
import socket
import struct
import threading
import time
import zlib
from collections import deque

import numpy as np

from fitloom.data.records import TFRecordWriter
from fitloom.monitor.histograms import BUCKETS, rows_of

GATHER_SECONDS = 0.5             # records reach the disk so much later at most
MANY_JOBS = 500
_numbers = itertools.count()


class _Thread:
    """The thread that writes: started when there is something to write, ends with the process.

    It gathers jobs for a while and does them together: waking up for each one would take the interpreter's lock from
    the training loop at every epoch.
    """

    def __init__(self):
        self.begin()

    def begin(self):
        """Have nothing to do, and no thread."""
        self.jobs, self.thread, self.lock, self.unflushed, self.drained = deque(), None, threading.Lock(), set(), []
        self.some, self.urgent = threading.Event(), threading.Event()

    def submit(self, job):
        """Do `job()` after all jobs before it."""
        if self.thread is None:
            with self.lock:
                if self.thread is None:
                    self.thread = threading.Thread(target=self._run, name="fitloom-monitor", daemon=True)
                    self.thread.start()
                    atexit.register(self.drain)
        self.jobs.append(job)
        if not self.some.is_set():
            self.some.set()
        if len(self.jobs) > MANY_JOBS:
            self.urgent.set()

    def _run(self):
        while True:
            self.some.wait()
            self.urgent.wait(GATHER_SECONDS)
            self.urgent.clear()
            self.some.clear()
            while self.jobs:
                self.jobs.popleft()()
            while self.unflushed:
                self.unflushed.pop()()
            while self.drained:
                self.drained.pop().set()

    def drain(self, seconds=60.0):
        """Wait until everything submitted so far is done and on the disk."""
        if self.thread is not None and self.thread.is_alive():
            done = threading.Event()
            self.submit(lambda: self.drained.append(done))
            while not done.is_set() and seconds > 0:
                self.urgent.set()
                done.wait(0.01)
                seconds -= 0.01


THREAD = _Thread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=THREAD.begin)                  # a child has no thread


class EventFile:
    """One event file of one run folder, made when the first record is written.

    Methods return at once: values may still be on the device. What goes wrong while writing (a full disk) is raised
    by the next call.

    Args:
        log_dir: the run's folder.
        suffix: end of the file's name.
        max_queue, flush_seconds: accepted; records reach the disk whenever the thread has nothing else to do.
    """

    def __init__(self, log_dir, suffix=".v2", max_queue=1000, flush_seconds=10):
        self.log_dir, self.suffix, self.path = str(log_dir), suffix, None
        self._writer = self._error = None
        self.closed = False
        self._flush = self._guarded(lambda: self._writer is not None and self._writer.flush())

    # -- the thread's side

    def _write(self, event):
        """Append an Event message, or its bytes."""
        if self._writer is None:
            from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
            os.makedirs(self.log_dir, exist_ok=True)
            name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
            self.path = os.path.join(self.log_dir, name + self.suffix)
            self._writer = TFRecordWriter(self.path)
            self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2",
                                     source_metadata=SourceMetadata(writer="fitloom")).SerializeToString())
        self._writer.write(event if isinstance(event, bytes) else event.SerializeToString())
        THREAD.unflushed.add(self._flush)

    def _guarded(self, work):
        def job():
            try:
                work()
            except Exception as error:
                self._error = self._error or error
        return job

    # -- the caller's side

    def _submit(self, work):
        if self._error is not None:
            error, self._error = self._error, None
            raise OSError(f"The event file in {self.log_dir!r} could not be written: {error}") from error
        THREAD.submit(self._guarded(work))

    def summary(self, tag, step, make):
        """Write one value: `make()` returns (array, SummaryMetadata), and is called by the thread."""
        now = time.time()

        def work():
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.util.tensor_util import make_tensor_proto
            array, metadata = make()
            value = Summary.Value(tag=tag, tensor=make_tensor_proto(array), metadata=metadata)
            self._write(Event(wall_time=now, step=_number(step), summary=Summary(value=[value])))
        self._submit(work)

    def raw(self, content, step):
        """Write a serialized Summary message."""
        now = time.time()

        def work():
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            self._write(Event(wall_time=now, step=_number(step), summary=Summary.FromString(_bytes(content))))
        self._submit(work)

    def scalar(self, tag, value, step, description=None):
        """Write one number."""
        now = time.time()

        def work():
            number = value if isinstance(value, float) else np.asarray(_host(value), np.float32).reshape(()).item()
            self._write(scalar_event(now, _number(step), tag, number, description))
        self._submit(work)

    def histogram(self, tag, values, step, buckets=None, description=None):
        """Write the distribution of an array."""
        values = _kept(values)
        self.histogram_of_rows(tag, lambda: rows_of(_host(values), BUCKETS if buckets is None else buckets), step,
                               description)

    def histogram_of_rows(self, tag, rows, step, description=None):
        """Write a distribution given as rows of (left, right, count): an array, or a function that returns it."""
        def make():
            from tensorboard.plugins.histogram import metadata
            found = rows() if callable(rows) else rows
            return (np.asarray(_host(found), np.float64),
                    metadata.create_summary_metadata(display_name=None, description=description))
        self.summary(tag, step, make)

    def image(self, tag, images, step, max_outputs=3, description=None):
        """Write images: uint8, or floats in [0, 1]; shape (batch, height, width, channels of 1, 3 or 4)."""
        shape = tuple(np.shape(images))
        if len(shape) != 4 or shape[-1] not in (1, 3, 4):
            raise ValueError("Images must have shape (batch, height, width, channels) with 1, 3 or 4 channels, but "
                             f"received {shape}.")
        images = _kept(images)

        def make():
            from tensorboard.plugins.image import metadata
            array = _host(images)[:max_outputs]
            if array.dtype != np.uint8:
                array = np.clip(np.nan_to_num(array.astype(np.float32)) * 255.0, 0, 255).round().astype(np.uint8)
            strings = [str(shape[2]).encode(), str(shape[1]).encode(), *map(png, array)]
            return (np.array(strings, object),
                    metadata.create_summary_metadata(display_name=None, description=description))
        self.summary(tag, step, make)

    def text(self, tag, text, step, description=None):
        """Write a text (Markdown), or an array of texts."""
        def make():
            from tensorboard.plugins.text import metadata
            array = np.asarray(_host(text), object)
            strings = np.array([_bytes(each) for each in array.ravel()], object).reshape(array.shape)
            return strings, metadata.create_summary_metadata(display_name=None, description=description)
        self.summary(tag, step, make)

    def audio(self, tag, audio, sample_rate, step, max_outputs=3, description=None):
        """Write sounds: floats in [-1, 1] of shape (clips, frames, channels)."""
        shape = tuple(np.shape(audio))
        if len(shape) != 3:
            raise ValueError(f"Audio must have shape (clips, frames, channels), but received {shape}.")
        audio = _kept(audio)

        def make():
            from tensorboard.plugins.audio import metadata
            rows = [[wav(clip, int(sample_rate)), b""] for clip in _host(audio)[:max_outputs]]
            return (np.array(rows, object).reshape(-1, 2), metadata.create_summary_metadata(
                display_name=None, description=description, encoding=metadata.Encoding.Value("WAV")))
        self.summary(tag, step, make)

    def keras_model(self, config, step=0):
        """Write a model's configuration (JSON), which TensorBoard shows as its conceptual graph."""
        def make():
            from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
            plugin = SummaryMetadata.PluginData(plugin_name="graph_keras_model", content=b"1")
            return np.array(config.encode(), object), SummaryMetadata(plugin_data=plugin)
        self.summary("keras", step, make)

    def graph(self, nodes):
        """Write a graph: (name, kind, names of inputs, attributes) for each node."""
        now = time.time()

        def work():
            from tensorboard.compat.proto.event_pb2 import Event
            self._write(Event(wall_time=now, graph_def=graph_def(nodes).SerializeToString()))
        self._submit(work)

    def flush(self, wait=False):
        """See to it that what was written reaches the disk; with `wait`, before this returns."""
        self._submit(_nothing)
        if wait:
            THREAD.drain()
            self._submit(_nothing)                             # raises what went wrong

    def close(self):
        """Write everything and close the file; a later record begins another file."""
        def work():
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        THREAD.submit(self._guarded(work))
        THREAD.drain()
        if self._error is not None:
            self._submit(_nothing)


def _kept(value):
    """Return what the thread may read later: arrays that the caller may write into are copied."""
    return np.array(value) if isinstance(value, (np.ndarray, list, tuple)) else value


def _host(value):
    """Device to host, on the thread."""
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)


def _number(step):
    return step if isinstance(step, int) else int(_host(step))


def _nothing():
    pass


@functools.cache
def _scalar_head(tag, description):
    """Return the bytes of a scalar's Summary.Value up to its tensor."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar import metadata
    known = metadata.create_summary_metadata(display_name=None, description=description)
    return Summary.Value(tag=tag, metadata=known).SerializeToString()


def scalar_event(now, step, tag, number, description=None) -> bytes:
    """Return the Event message of one float32 number, composed of its bytes: it costs a tenth of the message classes.

    Event: wall_time = 1, step = 2, summary = 5 {value = 1 {tag, metadata, tensor = 8 {dtype = 1, shape = 2,
    float_val = 5}}}.
    """
    with np.errstate(over="ignore"):
        tensor = b"\x08\x01\x12\x00\x2a\x04" + np.float32(number).tobytes()
    value = _scalar_head(tag, description) + b"\x42" + _varint(len(tensor)) + tensor
    summary = b"\x0a" + _varint(len(value)) + value
    return (b"\x09" + struct.pack("<d", now) + b"\x10" + _varint(step & (1 << 64) - 1)
            + b"\x2a" + _varint(len(summary)) + summary)


def _varint(number):
    if number < 128:
        return bytes((number,))
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes((*parts, number))


def _bytes(text):
    if hasattr(text, "numpy"):
        text = text.numpy()
    if isinstance(text, np.ndarray):
        text = text[()]
    return text if isinstance(text, bytes) else str(text).encode()


def graph_def(nodes):
    """Return nodes (name, kind, names of inputs, attributes) as a GraphDef message."""
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef
    from tensorboard.compat.proto.versions_pb2 import VersionDef
    made = [NodeDef(name=name, op=kind, input=list(inputs),
                    attr={key: AttrValue(s=str(value).encode()) for key, value in attributes.items()})
            for name, kind, inputs, attributes in nodes]
    return GraphDef(node=made, versions=VersionDef(producer=22))


def png(image) -> bytes:
    """Return a uint8 image (height, width, channels of 1, 3 or 4) as a PNG file."""
    height, width, channels = image.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)

    def chunk(kind, content):
        return (struct.pack(">I", len(content)) + kind + content
                + struct.pack(">I", zlib.crc32(kind + content) & 0xFFFFFFFF))
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 6))
            + chunk(b"IEND", b""))


def wav(clip, sample_rate) -> bytes:
    """Return floats in [-1, 1] of shape (frames, channels) as a 16-bit WAV file."""
    frames, channels = clip.shape
    samples = np.clip(np.round(np.nan_to_num(clip.astype(np.float64)) * 32767), -32768, 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, sample_rate, sample_rate * channels * 2, channels * 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body
