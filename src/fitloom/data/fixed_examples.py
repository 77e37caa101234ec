# SPDX-License-Identifier: Apache-2.0
"""Many serialized Examples with fixed features at once.

Records of one writer mostly have one layout: the same bytes everywhere except in the values. The first record of a
length is read properly and becomes a template; those that match it are cut out of one byte matrix.
"""
import numpy as np

from fitloom.data import wire

MOST_VARINTS = 64          # integers of one feature that are decoded column by column
TEMPLATES = 64


class Template:
    """Where the values are in records of one length, and which bits of a record must be as in the first."""

    def __init__(self, record, features, names):
        found = wire.scan(record, names)
        raw = np.frombuffer(record, np.uint8)
        self.mask, self.places = np.full(len(raw), 0xFF, np.uint8), {}
        for key in features:
            kind, at, end = found.get(key, (0, 0, 0))
            spans = [(first, last) for _, first, last in wire.fields(record, at, end)] if kind else []
            if kind == wire.INT64:
                spans = self._varints(record, spans)
            elif kind == wire.FLOAT and len(spans) != 1:
                spans = None
            if not spans or any(first is None for first, _ in spans):
                self.places = None
                return
            for first, last in spans:
                self.mask[first:last] = 0x80 if kind == wire.INT64 else 0
            self.places[key] = kind, spans
        self.fixed = raw & self.mask

    @staticmethod
    def _varints(record, spans):
        found = []
        for first, last in spans:
            if first is None:
                return None
            while first < last:
                begin = first
                _, first = wire.varint(record, first)
                found.append((begin, first))
        return found if len(found) <= MOST_VARINTS else None

    def columns(self, records, raw, features):
        """Return one stacked column for each feature of records that match."""
        out = []
        for key, feature in features.items():
            kind, spans = self.places[key]
            shape = (len(records), *wire.shape_of(feature))
            if kind == wire.FLOAT:
                (first, last), = spans
                column = np.ascontiguousarray(raw[:, first:last]).view("<f4")
            elif kind == wire.INT64:
                column = np.empty((len(records), len(spans)), np.int64)
                for number, (first, last) in enumerate(spans):
                    parts = raw[:, first:last].astype(np.uint64) & np.uint64(0x7F)
                    shifts = np.arange(last - first, dtype=np.uint64) * np.uint64(7)
                    column[:, number] = np.bitwise_or.reduce(parts << shifts, axis=1).view(np.int64)
            else:
                column = np.empty((len(records), len(spans)), object)
                for number, (first, last) in enumerate(spans):
                    column[:, number] = [record[first:last] for record in records]
            out.append(column.reshape(shape))
        return out


class FixedExamples:
    """`parse_single_example` for lists of records; all features are FixedLenFeature."""

    def __init__(self, features):
        self.features, self.names, self.templates = features, wire.named(features), {}

    def results(self):
        """Return (shape, dtype) of each feature."""
        return [(wire.shape_of(f), f.dtype.numpy_dtype) for f in self.features.values()]

    def __call__(self, records):
        by_length: dict = {}
        for row, record in enumerate(records):
            by_length.setdefault(len(record), []).append(row)
        columns = [np.empty((len(records), *shape), dtype) for shape, dtype in self.results()]
        for length, rows in by_length.items():
            slow = rows if len(rows) < 4 else self._fast(records, rows, length, columns)
            for row in slow:
                for column, value in zip(columns, self._one(records[row])):
                    column[row] = value
        return columns

    def _one(self, record):
        found = wire.scan(record, self.names)
        values = [wire.fixed(record, found, key, feature) for key, feature in self.features.items()]
        return [v[()] if v.dtype == object and v.ndim == 0 else v for v in values]

    def _fast(self, records, rows, length, columns):
        """Fill in the rows that match the template of their length; return the others."""
        template = self.templates.get(length)
        if template is None:
            self._one(records[rows[0]])                     # a wrong type or size is told as usual
            if len(self.templates) >= TEMPLATES:
                self.templates.clear()
            template = self.templates[length] = Template(records[rows[0]], self.features, self.names)
        if template.places is None:
            return rows
        raw = np.frombuffer(b"".join([records[row] for row in rows]), np.uint8).reshape(len(rows), length)
        matches = ((raw & template.mask) == template.fixed).all(axis=1)
        kept = [row for row, fits in zip(rows, matches.tolist()) if fits]
        for column, values in zip(columns, template.columns([records[row] for row in kept], raw[matches],
                                                            self.features)):
            column[kept] = values
        return [row for row, fits in zip(rows, matches.tolist()) if not fits]
