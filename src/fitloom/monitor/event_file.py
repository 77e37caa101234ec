# SPDX-License-Identifier: Apache-2.0
"""TensorBoard event files, written by a thread of the `tensorboard` package's own writer. No TensorFlow."""
import math
import struct
import time
import zlib

import numpy as np

HISTOGRAM_BUCKETS = 30


class EventFile:
    """One event file of one run folder.

    Args:
        log_dir: the run's folder; made when the first record is written.
        suffix: end of the file's name.
        max_queue: records kept before the writer's thread must catch up.
        flush_seconds: how often the thread writes to disk.
    """

    def __init__(self, log_dir, suffix=".v2", max_queue=1000, flush_seconds=10):
        self.log_dir, self._arguments, self._writer = str(log_dir), (max_queue, flush_seconds, suffix), None

    def _add(self, **content):
        from tensorboard.compat.proto.event_pb2 import Event
        if self._writer is None:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
            self._writer = EventFileWriter(self.log_dir, *self._arguments)
        self._writer.add_event(Event(wall_time=time.time(), **content))

    def _summary(self, tag, tensor, metadata, step):
        from tensorboard.compat.proto.summary_pb2 import Summary
        self._add(summary=Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]), step=int(step))

    def scalar(self, tag, value, step, description=None):
        """Write one number."""
        from tensorboard.plugins.scalar import metadata
        self._summary(tag, _tensor(np.float32(value)),
                      metadata.create_summary_metadata(display_name=None, description=description), step)

    def histogram(self, tag, values, step, buckets=None, description=None):
        """Write the distribution of an array: rows of (left, right, count)."""
        from tensorboard.plugins.histogram import metadata
        rows = histogram_rows(np.asarray(values), buckets or HISTOGRAM_BUCKETS)
        self._summary(tag, _tensor(rows),
                      metadata.create_summary_metadata(display_name=None, description=description), step)

    def image(self, tag, images, step, max_outputs=3, description=None):
        """Write images: uint8, or floats in [0, 1]; shape (batch, height, width, channels of 1, 3 or 4)."""
        from tensorboard.plugins.image import metadata
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
            raise ValueError("Images must have shape (batch, height, width, channels) with 1, 3 or 4 channels, but "
                             f"received {images.shape}.")
        if images.dtype != np.uint8:
            images = np.clip(np.nan_to_num(images.astype(np.float32)) * 255.0, 0, 255).round().astype(np.uint8)
        height, width = images.shape[1:3]
        strings = [str(width).encode(), str(height).encode(), *[png(image) for image in images[:max_outputs]]]
        self._summary(tag, _tensor(np.array(strings, object)),
                      metadata.create_summary_metadata(display_name=None, description=description), step)

    def text(self, tag, text, step, description=None):
        """Write a text (Markdown), or an array of texts."""
        from tensorboard.plugins.text import metadata
        strings = np.array([str(each).encode() for each in np.atleast_1d(np.asarray(text, object)).ravel()], object)
        strings = strings.reshape(np.shape(text)) if np.shape(text) else strings.reshape(())
        self._summary(tag, _tensor(strings),
                      metadata.create_summary_metadata(display_name=None, description=description), step)

    def graph(self, nodes):
        """Write a graph: (name, kind, names of inputs, attributes) for each node."""
        from tensorboard.compat.proto.attr_value_pb2 import AttrValue
        from tensorboard.compat.proto.graph_pb2 import GraphDef
        from tensorboard.compat.proto.node_def_pb2 import NodeDef
        from tensorboard.compat.proto.versions_pb2 import VersionDef
        made = [NodeDef(name=name, op=kind, input=list(inputs),
                        attr={key: AttrValue(s=str(value).encode()) for key, value in attributes.items()})
                for name, kind, inputs, attributes in nodes]
        self._add(graph_def=GraphDef(node=made, versions=VersionDef(producer=22)).SerializeToString())

    def flush(self):
        """Write everything to disk now."""
        if self._writer is not None:
            self._writer.flush()

    def close(self):
        """Write everything and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _tensor(array):
    from tensorboard.util.tensor_util import make_tensor_proto
    return make_tensor_proto(array)


def histogram_rows(values, buckets):
    """Return (left, right, count) for each of `buckets` equal intervals between the least and the largest value.

    Values that are not finite are left out; equal values make one interval of width 1 around them.
    """
    flat = np.asarray(values, np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    if flat.size == 0:
        return np.zeros((buckets, 3), np.float64)
    low, high = float(flat.min()), float(flat.max())
    if math.isclose(low, high, rel_tol=0, abs_tol=0):
        rows = np.zeros((buckets, 3), np.float64)
        rows[:, 0], rows[:, 1] = low - 0.5, high + 0.5
        rows[-1, 2] = flat.size
        return rows
    counts, edges = np.histogram(flat, buckets, (low, high))
    return np.stack([edges[:-1], edges[1:], counts], axis=1).astype(np.float64)


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
