# SPDX-License-Identifier: Apache-2.0
"""`tf.summary`: writers, the step, and what is written, in plain loops and inside compiled functions.

A value that is still pending work stays in line until it exists, so that writing a loss in the middle of a step does
not cut the step in two; a thread waits for the device and writes.
"""
import contextlib
import threading
from collections import deque

import jax
import numpy as np

from fitloom import engine
from fitloom.base import naming
from fitloom.monitor.event_file import EventFile

LINE = 256                       # values that may wait in line before pending work is run for them


class _State(threading.local):
    writer = None
    step = None
    record = None                # None, a bool, a tensor or a function that returns one
    asked = 0                    # how often something was to be written, whether there was a writer or not


_state = _State()


class SummaryWriter:
    """Where summaries go: `with writer.as_default(step=...)`, or `writer.set_as_default()`.

    Example:
        >>> import fitloom as tf, tempfile
        >>> writer = tf.summary.create_file_writer(tempfile.mkdtemp())
        >>> with writer.as_default(step=1):
        ...     bool(tf.summary.scalar("loss", 0.5))
        True
        >>> writer.close()
    """

    def __init__(self, file=None):
        self._file, self._line, self._closed = file, deque(), False

    def as_default(self, step=None):
        """Return a context in which this is the default writer, and `step` the default step if given."""
        self._check_open()
        return _Default(self, step)

    def set_as_default(self, step=None):
        """Make this the default writer from here on, and `step` the default step if given."""
        self._check_open()
        _state.writer = self
        if step is not None:
            _state.step = step

    def init(self):
        """Do nothing: the file is made when the first record is written."""

    def flush(self):
        """Write everything to disk before returning."""
        self._check_open()
        if self._file is not None:
            _finish_work()
            self._advance(force=True)
            self._file.flush(wait=True)

    def close(self):
        """Write everything and close the file; using the writer again is an error."""
        if not self._closed:
            if self._file is not None:
                _finish_work()
                self._advance(force=True)
                self._file.close()
            self._closed = True

    def _check_open(self):
        if self._closed:
            raise RuntimeError("This SummaryWriter is closed. Make a new one: tf.summary.create_file_writer(logdir).")

    def _put(self, values, write):
        """Call `write(file, *values)` once no value is pending work."""
        self._check_open()
        self._line.append((values, write))
        self._advance()

    def _advance(self, force=False):
        while self._line and (force or len(self._line) > LINE or not any(map(_pending, self._line[0][0]))):
            try:
                values, write = self._line.popleft()
            except IndexError:                       # another thread was quicker
                return
            write(self._file, *[value.array if isinstance(value, engine.Tensor) else value for value in values])


def _finish_work():
    """Run what is recorded, and wait for what compiled functions have to say."""
    engine.begin_steps()
    jax.effects_barrier()


def _pending(value):
    return isinstance(value, engine.Tensor) and value.pending


class _Default:
    def __init__(self, writer, step):
        self.writer, self.step = writer, step

    def __enter__(self):
        self.before = _state.writer, _state.step
        _state.writer = self.writer
        if self.step is not None:
            _state.step = self.step
        return self.writer

    def __exit__(self, *_):
        _state.writer = self.before[0]
        if self.step is not None:
            _state.step = self.before[1]
        self.writer._advance()


def create_file_writer(logdir, max_queue=None, flush_millis=None, filename_suffix=None, name=None,
                       experimental_trackable=False, experimental_mesh=None):
    """Return a SummaryWriter whose event file lies in `logdir`.

    Args:
        logdir: the run's folder; made when the first record is written.
        max_queue, flush_millis: accepted; a thread writes whenever there is something to write.
        filename_suffix: end of the file's name, default '.v2'.
    """
    return SummaryWriter(EventFile(_text(logdir), ".v2" if filename_suffix is None else filename_suffix))


def create_noop_writer():
    """Return a SummaryWriter that writes nothing."""
    return SummaryWriter()


def _text(value):
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.decode() if isinstance(value, bytes) else str(value)


def default_writer():
    """Return this thread's default writer, or None."""
    return _state.writer


class Destination:
    """Notes where a traced program writes, for whoever keeps the program: it writes there for ever.

    Used as a context around the tracing; `elsewhere()` tells whether another writer is the default one now.
    """

    written = None

    def __enter__(self):
        self.asked = _state.asked

    def __exit__(self, *_):
        if _state.asked != self.asked:
            self.written = _state.writer, _state.record

    def elsewhere(self):
        """Whether the program writes something, and what is traced now would write it elsewhere."""
        return self.written is not None and (
            self.written[0] is not _state.writer or self.written[1] is not _state.record)


# -- the step and the condition

def set_step(step):
    """Set the default step of this thread: an integer or a Variable (None for none)."""
    _state.step = step


def get_step():
    """Return the default step of this thread, as it was set."""
    return _state.step


@contextlib.contextmanager
def record_if(condition):
    """Context in which summaries are written only if `condition` is true: a bool, a tensor, or a function of none."""
    before, _state.record = _state.record, condition
    try:
        yield
    finally:
        _state.record = before


def should_record_summaries():
    """Return whether a summary would be written now, as a bool tensor."""
    if _state.writer is None:
        return engine.convert_to_tensor(False)
    return engine.convert_to_tensor(_condition())


def _condition():
    record = _state.record
    record = record() if callable(record) and not isinstance(record, (engine.Tensor, engine.Variable)) else record
    return True if record is None else record


@contextlib.contextmanager
def summary_scope(name, default_name="summary", values=None):
    """Context that yields (tag, scope) of a summary: `name` behind the open name scopes."""
    tag = _tag(name or default_name)
    with naming.name_scope(name or default_name):
        yield tag, naming.current_path() + "/"


def _tag(name):
    path = naming.current_path()
    return f"{path}/{name}" if path else str(name)


# -- writing

def _record(name, values, step, write):
    """Let `write(file, tag, step, *values)` happen on the default writer, now or whenever the traced program runs."""
    writer = _state.writer
    _state.asked += 1
    if writer is None:
        return engine.convert_to_tensor(False)
    step = _state.step if step is None else step
    if step is None:
        raise ValueError("No step set. Please specify one either through the `step` argument or through "
                         "tf.summary.experimental.set_step()")
    condition, tag = _condition(), _tag(name)
    if not engine.executing_eagerly():                       # traced: written whenever the program runs
        file = writer._file
        inputs = [jax.lax.stop_gradient(engine.convert_to_tensor(each).array) for each in (step, condition, *values)]
        if file is not None:
            jax.debug.callback(lambda step, condition, *values: write(file, tag, step, *values) if condition else None,
                               *inputs, ordered=False)
        return engine.convert_to_tensor(condition)
    if isinstance(condition, (engine.Tensor, engine.Variable)):
        condition = bool(condition)
    if not condition or writer._file is None:
        writer._check_open()
        return engine.convert_to_tensor(bool(condition))
    step = step if isinstance(step, (int, np.integer)) else engine.convert_to_tensor(step)
    writer._put([step, *values], lambda file, step, *values: write(file, tag, step, *values))
    return engine.convert_to_tensor(True)


def _given(data):
    """Return data as a tensor, or as an array if it is none; text stays what it is."""
    if isinstance(data, engine.Variable):
        return engine.convert_to_tensor(data)
    return data if isinstance(data, engine.Tensor) else np.array(data)


def scalar(name, data, step=None, description=None):
    """Write one number; returns whether it was written, as a bool tensor.

    Args:
        name: the tag, behind the open name scopes.
        data: a number or a tensor with one element.
        step: an integer or tensor; the default step if None.
        description: Markdown text shown beside the chart.
    """
    data = _given(data)
    if int(np.prod(data.shape)) != 1:
        raise ValueError(f"tf.summary.scalar('{name}') takes one number, but received shape {tuple(data.shape)}. "
                         "Reduce it first, e.g. with tf.reduce_mean.")
    return _record(name, [data], step, lambda file, tag, step, value: file.scalar(tag, value, step, description))


def histogram(name, data, step=None, buckets=None, description=None):
    """Write the distribution of an array in `buckets` (default 30) equal intervals."""
    return _record(name, [_given(data)], step, lambda file, tag, step, values: file.histogram(
        tag, values, step, buckets, description))


def image(name, data, step=None, max_outputs=3, description=None):
    """Write at most `max_outputs` images of shape (batch, height, width, channels): uint8, or floats in [0, 1]."""
    data = _given(data)
    if len(data.shape) != 4:
        raise ValueError(f"tf.summary.image('{name}') takes (batch, height, width, channels), but received shape "
                         f"{tuple(data.shape)}.")
    return _record(name, [data], step, lambda file, tag, step, images: file.image(
        tag, images, step, max_outputs, description))


def text(name, data, step=None, description=None):
    """Write text (Markdown), one string or an array of them."""
    data = data if isinstance(data, (str, bytes, engine.Tensor)) else np.array(data, object)
    return _record(name, [data] if isinstance(data, engine.Tensor) else [], step,
                   lambda file, tag, step, value=data: file.text(tag, value, step, description))


def audio(name, data, sample_rate, step=None, max_outputs=3, encoding=None, description=None):
    """Write at most `max_outputs` sounds of shape (clips, frames, channels), floats in [-1, 1], as WAV."""
    if encoding not in (None, "wav"):
        raise ValueError(f"tf.summary.audio knows the encoding 'wav', but received {encoding!r}.")
    return _record(name, [_given(data)], step, lambda file, tag, step, clips: file.audio(
        tag, clips, sample_rate, step, max_outputs, description))


def write(tag, tensor, step=None, metadata=None, name=None):
    """Write a tensor for a plugin.

    Args:
        metadata: a SummaryMetadata message, or its bytes.
    """
    def put(file, tag, step, value):
        def make():
            from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
            known = metadata if metadata is None else SummaryMetadata.FromString(
                metadata if isinstance(metadata, bytes) else metadata.SerializeToString())
            return np.asarray(value.numpy() if hasattr(value, "numpy") else value), known
        file.summary(tag, step, make)
    return _record(tag, [_given(tensor)], step, put)


def write_raw_pb(tensor, step=None, name=None):
    """Write a serialized Summary message."""
    return _record(name or "raw_pb", [], step, lambda file, tag, step: file.raw(tensor, step))


def graph(graph_data):
    """Write a graph: a GraphDef message, or nodes as (name, kind, names of inputs, attributes)."""
    writer = _state.writer
    if writer is None or writer._file is None:
        return engine.convert_to_tensor(False)
    nodes = graph_data if isinstance(graph_data, (list, tuple)) else [
        (node.name, node.op, node.input, {}) for node in getattr(graph_data, "node", None) or _no_graph(graph_data)]
    writer._put([], lambda file: file.graph(nodes))
    return engine.convert_to_tensor(True)


def _no_graph(value):
    raise TypeError(f"tf.summary.graph takes a GraphDef message, but received {type(value).__name__}. The graph of a "
                    "traced function is written by tf.summary.trace_on() and trace_export().")


def flush(writer=None, name=None):
    """Write what `writer` (default: the default writer) holds to disk before returning."""
    writer = writer or _state.writer
    if writer is not None:
        writer.flush()
