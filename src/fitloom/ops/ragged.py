# SPDX-License-Identifier: Apache-2.0
"""`tf.RaggedTensor`: rows of different lengths, as flat values and row splits.

What training scripts need: making one, rows, lengths, conversion to dense tensors and back, batching, and functions
applied to the flat values. The splits are on the host, so dense results have shapes that are known.
"""

from __future__ import annotations

import builtins
import functools
import itertools
import operator

import numpy as np

from fitloom import engine
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError
from fitloom.base.shapes import TensorShape
from fitloom.ops import indexing
from fitloom.ops.calling import host_value, tensor
from fitloom.ops.casting import bytes_array, cast
from fitloom.ops.fingerprints import concatenated_fingerprint, fingerprint64


class RaggedTensor:
    """Rows of different lengths.

    Args:
        values: the rows one after the other: a tensor, or a RaggedTensor for a second ragged axis.
        row_splits: where each row begins, and the end of the last; int32 stays int32, all else is int64.

    Example:
        >>> import fitloom as tf
        >>> tf.ragged.constant([[1, 2], [3]]).to_tensor().numpy().tolist()
        [[1, 2], [3, 0]]
    """

    _uniform = None

    def __init__(self, values, row_splits, internal=True):
        self.values, self._splits = values, _partition(row_splits, "row splits")

    @classmethod
    def from_row_splits(cls, values, row_splits, name=None, validate=True):
        """Return the ragged tensor whose row i is values[row_splits[i]:row_splits[i + 1]]."""
        made = cls(values if isinstance(values, RaggedTensor) else tensor(values), row_splits)
        if validate:
            splits, count = made._splits, len(values) if isinstance(values, RaggedTensor) else made.values.shape[0]
            if not len(splits) or splits[0] != 0 or (np.diff(splits) < 0).any() or count not in (None, splits[-1]):
                raise InvalidArgumentError(f"The rows of a ragged tensor must cover its {count} values in order, but "
                                           f"its row_splits are {splits[:20].tolist()}.")
        return made

    @classmethod
    def from_row_lengths(cls, values, row_lengths, name=None, validate=True):
        """Return the ragged tensor with the given lengths of rows."""
        lengths = _partition(row_lengths, "row lengths")
        return cls.from_row_splits(values, np.concatenate([[0], np.cumsum(lengths)]).astype(lengths.dtype),
                                   validate=validate)

    @classmethod
    def from_value_rowids(cls, values, value_rowids, nrows=None, name=None, validate=True):
        """Return the ragged tensor in which value i lies in row value_rowids[i]."""
        ids = _partition(value_rowids, "row ids")
        count = int(ids.max(initial=-1)) + 1 if nrows is None else int(nrows)
        return cls.from_row_lengths(values, np.bincount(ids, minlength=count).astype(ids.dtype))

    @classmethod
    def from_uniform_row_length(cls, values, uniform_row_length, nrows=None, validate=True, name=None):
        """Return the ragged tensor whose rows all have `uniform_row_length` values."""
        values, length = values if isinstance(values, RaggedTensor) else tensor(values), int(uniform_row_length)
        count = int(nrows) if nrows is not None else int(values.shape[0]) // length if length else 0
        made = cls.from_row_lengths(values, np.full(count, length))
        made._uniform = length
        return made

    @classmethod
    def from_row_starts(cls, values, row_starts, name=None, validate=True):
        """Return the ragged tensor whose row i begins at row_starts[i]."""
        values = tensor(values)
        starts = _partition(row_starts, "row starts")
        return cls.from_row_splits(values, np.append(starts, values.shape[0]).astype(starts.dtype))

    @classmethod
    def from_row_limits(cls, values, row_limits, name=None, validate=True):
        """Return the ragged tensor whose row i ends at row_limits[i]."""
        limits = _partition(row_limits, "row limits")
        return cls.from_row_splits(values, np.append(0, limits).astype(limits.dtype))

    @classmethod
    def from_tensor(cls, tensor, lengths=None, padding=None, ragged_rank=1, name=None, row_splits_dtype=dtypes.int64):
        """Return the rows of a dense tensor: its first `lengths` values, or without trailing `padding`."""
        array = engine.convert_to_tensor(tensor)
        rows, columns = array.shape[0], array.shape[1]
        if isinstance(lengths, (list, tuple)) and len(lengths) and np.ndim(lengths[0]):
            outer, *inner = lengths
            made = cls.from_tensor(array, outer, row_splits_dtype=row_splits_dtype)
            return made if not inner else made.with_values(cls.from_tensor(
                made.values, inner[0] if len(inner) == 1 else tuple(inner), row_splits_dtype=row_splits_dtype))
        if lengths is not None:
            lengths = np.asarray(host_value(lengths), np.int64)
        elif padding is not None:
            kept = np.asarray(array) != padding
            lengths = columns - np.argmax(kept[:, ::-1], axis=1) * 1
            lengths = np.where(kept.any(1), lengths, 0)
        else:
            lengths = np.full(rows, columns)
        mask = np.arange(columns) < lengths[:, None]
        return cls.from_row_lengths(indexing.boolean_mask(array, mask), lengths).with_row_splits_dtype(row_splits_dtype)

    @classmethod
    def from_nested_row_splits(cls, flat_values, nested_row_splits, name=None, validate=True):
        """Return the ragged tensor with the given splits, outermost first."""
        return functools.reduce(cls.from_row_splits, reversed(list(nested_row_splits)), tensor(flat_values))

    @classmethod
    def from_nested_row_lengths(cls, flat_values, nested_row_lengths, name=None, validate=True):
        """Return the ragged tensor with the given lengths of rows, outermost first."""
        return functools.reduce(cls.from_row_lengths, reversed(list(nested_row_lengths)), tensor(flat_values))

    @classmethod
    def from_nested_value_rowids(cls, flat_values, nested_value_rowids, nested_nrows=None, name=None, validate=True):
        """Return the ragged tensor with the given rows of values, outermost first."""
        counts = [None] * len(nested_value_rowids) if nested_nrows is None else list(nested_nrows)
        made = tensor(flat_values)
        for ids, count in reversed(list(zip(nested_value_rowids, counts, strict=True))):
            made = cls.from_value_rowids(made, ids, count)
        return made

    @classmethod
    def from_sparse(cls, st_input, name=None, row_splits_dtype=dtypes.int64):
        """Return the rows of a sparse matrix whose values fill each row from its first column on."""
        places = np.asarray(st_input.indices)
        if places.shape[1] != 2:
            raise ValueError(f"from_sparse expected a sparse tensor of 2 axes, but received {places.shape[1]}.")
        order = np.lexsort(places.T[::-1])
        rows, columns = places[order].T
        lengths = np.bincount(rows, minlength=int(tuple(st_input.shape)[0]))
        if (columns != np.arange(len(rows)) - (np.cumsum(lengths) - lengths)[rows]).any():
            raise ValueError("SparseTensor is not right-ragged: the values of a row must fill its first columns.")
        return cls.from_row_lengths(indexing.gather(st_input.values, order), lengths)

    # -- what it is

    dtype = property(lambda self: self.values.dtype)
    flat_values = property(
        lambda self: self.values.flat_values if isinstance(self.values, RaggedTensor) else self.values)
    ragged_rank = property(lambda self: 1 + (self.values.ragged_rank if isinstance(self.values, RaggedTensor) else 0))
    row_splits = property(lambda self: engine.Tensor(self._splits))
    nested_row_splits = property(lambda self: (self.row_splits, *(self.values.nested_row_splits if isinstance(
        self.values, RaggedTensor) else ())))

    @property
    def shape(self):
        """The shape; ragged axes are None."""
        return TensorShape([len(self._splits) - 1, self._uniform, *tuple(self.values.shape)[1:]])

    @property
    def uniform_row_length(self):
        """The length of the rows if they were made with one, else None."""
        return None if self._uniform is None else engine.Tensor(np.asarray(self._uniform, self._splits.dtype))

    @property
    def _type_spec(self):
        return RaggedTensorSpec(self.shape, self.dtype, self.ragged_rank, self.row_splits.dtype)

    def get_shape(self):
        """Return the shape."""
        return self.shape

    def nrows(self, out_type=None, name=None):
        """Return the number of rows."""
        return engine.Tensor(np.asarray(len(self._splits) - 1, self._dtype_or(out_type)))

    def _dtype_or(self, out_type):
        return self._splits.dtype if out_type is None else dtypes.numpy_dtype(out_type)

    def with_row_splits_dtype(self, dtype):
        """Return the same rows, counted in int32 or int64."""
        if dtypes.as_dtype(dtype).name not in ("int32", "int64"):
            raise ValueError(f"Row splits are int32 or int64, not {dtypes.as_dtype(dtype).name}.")
        inner = self.values.with_row_splits_dtype(dtype) if isinstance(self.values, RaggedTensor) else self.values
        return RaggedTensor(inner, self._splits.astype(dtypes.numpy_dtype(dtype)))

    def row_lengths(self, axis=1, name=None):
        """Return the length of each row of a ragged axis; for axes after the first in rows themselves."""
        if axis == 0:
            return self.nrows()
        if axis in (1, 1 - len(self.shape)):
            return engine.Tensor(np.diff(self._splits))
        if not isinstance(self.values, RaggedTensor):
            raise ValueError(f"row_lengths expected a ragged axis, but axis {axis} of shape {self.shape} is not one.")
        return self.with_values(self.values.row_lengths(axis - 1 if axis > 0 else axis))

    def nested_row_lengths(self, name=None):
        """Return the lengths of the rows of each ragged axis, outermost first."""
        inner = self.values.nested_row_lengths() if isinstance(self.values, RaggedTensor) else ()
        return (RaggedTensor.row_lengths(self), *inner)

    def nested_value_rowids(self, name=None):
        """Return the row of each value, for each ragged axis, outermost first."""
        inner = self.values.nested_value_rowids() if isinstance(self.values, RaggedTensor) else ()
        return (self.value_rowids(), *inner)

    def row_starts(self, name=None):
        """Return where each row begins in the values."""
        return engine.Tensor(self._splits[:-1].copy())

    def row_limits(self, name=None):
        """Return where each row ends in the values."""
        return engine.Tensor(self._splits[1:].copy())

    def value_rowids(self, name=None):
        """Return the row of each value."""
        return engine.Tensor(np.repeat(np.arange(len(self._splits) - 1, dtype=self._splits.dtype),
                                       np.diff(self._splits)))

    def bounding_shape(self, axis=None, name=None, out_type=None):
        """Return the shape of the dense tensor that holds all rows."""
        inner = self.values.bounding_shape().numpy()[1:] if isinstance(self.values, RaggedTensor) else \
            tuple(self.values.shape)[1:]
        whole = np.asarray([len(self._splits) - 1, np.diff(self._splits).max(initial=0), *inner],
                           self._dtype_or(out_type))
        return engine.Tensor(whole if axis is None else np.asarray(whole[axis]))

    # -- to other forms

    def _rows(self):
        return [self.values[int(a):int(b)] for a, b in zip(self._splits[:-1], self._splits[1:], strict=True)]

    def to_list(self):
        """Return nested Python lists."""
        if isinstance(self.values, RaggedTensor):
            inner = self.values.to_list()
        else:
            inner = np.asarray(self.values).tolist()
        return [inner[a:b] for a, b in zip(self._splits[:-1], self._splits[1:], strict=True)]

    def numpy(self):
        """Return an object array of rows (a plain one if all rows have one length)."""
        rows = [r.numpy() for r in self._rows()]
        if len({r.shape for r in rows}) <= 1:
            return np.stack(rows) if rows else np.zeros((0, 0), self.flat_values.dtype.as_numpy_dtype)
        made = np.empty(len(rows), object)
        made[:] = rows
        return made

    def to_tensor(self, default_value=None, name=None, shape=None):
        """Return a dense tensor, short rows filled with `default_value` (0, or empty text)."""
        rows = None if shape is None else tuple(shape)[0]
        if rows is not None and rows != len(self):
            kept = np.minimum(np.arange(rows + 1), len(self))
            same = RaggedTensor(self.values, self._splits[kept])
            return same.to_tensor(default_value, shape=(None, *tuple(shape)[1:]))
        values = self.values.to_tensor(default_value) if isinstance(self.values, RaggedTensor) else self.values
        lengths = np.diff(self._splits)
        width = int(lengths.max(initial=0))
        if shape is not None and shape[1] is not None:
            width = int(shape[1])
        column = np.arange(width)
        place = np.minimum(self._splits[:-1, None] + column, max(int(values.shape[0]) - 1, 0))
        mask = column < lengths[:, None]
        if dtypes.as_dtype(values.dtype) is dtypes.string:
            flat = np.asarray(values)
            fill = default_value.encode() if isinstance(default_value, str) else (default_value or b"")
            rows = [[flat[place[i, j]] if mask[i, j] else fill for j in column] for i in builtins.range(len(lengths))]
            return engine.Tensor(bytes_array([t for row in rows for t in row], (len(lengths), width)))
        from fitloom.ops.creating import zeros
        from fitloom.ops.shaping import where

        inner = tuple(values.shape)[1:]
        if not values.shape[0]:
            return zeros((len(lengths), width, *inner), values.dtype) + (default_value or 0)
        dense = indexing.gather(values, place)
        mask = engine.Tensor(mask.reshape(mask.shape + (1,) * len(inner)))
        return where(mask, dense, engine.convert_to_tensor(0 if default_value is None else default_value,
                                                           dtype=values.dtype))

    def with_values(self, new_values):
        """Return the same rows over other values."""
        return RaggedTensor(new_values, self._splits)

    def component_tensors(self):
        """Return the tensors that this one is made of, for `tf.nest` with `expand_composites`."""
        return [self.flat_values, *self.nested_row_splits]

    def with_component_tensors(self, tensors):
        """Return a ragged tensor made of `tensors`."""
        return type(self).from_nested_row_splits(tensors[0], tensors[1:])

    def with_flat_values(self, new_values):
        """Return the same rows over other flat values."""
        inner = self.values.with_flat_values(new_values) if isinstance(self.values, RaggedTensor) else new_values
        return RaggedTensor(inner, self._splits)

    def merge_dims(self, outer_axis, inner_axis):
        """Return the values with the axes from `outer_axis` to `inner_axis` joined."""
        ndim = len(self.shape)
        outer, inner = outer_axis % ndim, inner_axis % ndim
        if outer > 0:
            return self.with_values(RaggedTensor.merge_dims(self.values, outer - 1, inner - 1)) if isinstance(
                self.values, RaggedTensor) and not (outer == 1 and inner == 2) else RaggedTensor(
                    self.values.values, self.values._splits[self._splits]) if isinstance(
                        self.values, RaggedTensor) else self._merged_inner(outer, inner)
        values = self.values
        for _ in builtins.range(inner - 1):
            values = values.values if isinstance(values, RaggedTensor) else _reshaped(values)
        return values

    def _merged_inner(self, outer, inner):
        if outer == 1:                                   # a ragged axis with uniform ones after it
            size = int(np.prod(tuple(self.values.shape)[1:inner]))
            values = self.values
            for _ in builtins.range(inner - 1):
                values = _reshaped(values)
            return RaggedTensor(values, self._splits * size)
        from fitloom.ops.shaping import reshape

        shape = tuple(self.values.shape)
        return self.with_values(reshape(self.values, (*shape[:outer - 1], -1, *shape[inner:])))

    def grouped(self, axis):
        """Return the rows in one group (axis 0), or each in a group of its own (axis 1)."""
        return RaggedTensor.from_row_lengths(self, [len(self)] if axis == 0 else np.ones(len(self), np.int64))

    def take(self, positions):
        """Return the rows at `positions`."""
        rows = list(self)
        return stack([rows[int(i)] for i in positions])

    def _arranged(self, rows, arrange):
        """Return the ragged tensor of `rows` in that order, each with the positions of its values arranged anew."""
        if isinstance(self.values, RaggedTensor):
            raise NotImplementedError("tile and reverse take ragged tensors of one ragged axis. Use to_tensor().")
        parts = [arrange(np.arange(self._splits[row], self._splits[row + 1])) for row in rows]
        places = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return RaggedTensor.from_row_lengths(indexing.gather(self.values, places), [len(part) for part in parts])

    def tiled(self, multiples):
        """Return the rows repeated multiples[0] times, and each row's values multiples[1] times."""
        if any(count != 1 for count in multiples[2:]):
            raise NotImplementedError("tile repeats the rows of a ragged tensor and their values, no inner axis.")
        return self._arranged(np.tile(np.arange(len(self)), multiples[0]), lambda part: np.tile(part, multiples[1]))

    def reversed_along(self, axes):
        """Return the rows (axis 0) or the values of each row (axis 1) in reverse order."""
        axes = {axis % len(self.shape) for axis in axes}
        if axes - {0, 1}:
            raise NotImplementedError("reverse takes axes 0 and 1 of a ragged tensor.")
        rows = np.arange(len(self))
        return self._arranged(rows[::-1] if 0 in axes else rows, lambda part: part[::-1] if 1 in axes else part)

    def join(self, values, axis):
        """Return `values`, this tensor among them, joined along axis 0 or 1."""
        return joined_rows(values, axis)

    def reduce(self, kind, function, axis):
        """Return a reduction over all values (None), columns (axis 0), rows (axis 1) or rows of rows (axis 2, ...)."""
        if axis is None or len({each % len(self.shape) for each in np.ravel(axis).tolist()}) == len(self.shape):
            return function(self.flat_values)
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            axis = int(axis[0])
        axis = axis + len(self.shape) if isinstance(axis, int) and axis < 0 else axis
        if isinstance(self.values, RaggedTensor) and isinstance(axis, int) and axis > 1:
            return self.with_values(self.values.reduce(kind, function, axis - 1))
        if kind in ("all", "any"):
            if dtypes.as_dtype(self.dtype) is not dtypes.bool_:
                raise InvalidArgumentError(f"reduce_{kind} expected booleans, but received dtype {self.dtype.name}.")
            counted = self.with_flat_values(cast(self.flat_values if kind == "any" else ~self.flat_values, "int32"))
            found = counted.reduce("sum", None, axis) > 0
            return found if kind == "any" else ~found
        possible = kind in ("sum", "mean", "max", "min", "prod") and axis in (0, 1)
        if not possible or isinstance(self.values, RaggedTensor):
            raise NotImplementedError("Ragged tensors are reduced by 'sum', 'mean', 'max', 'min' or 'prod' over axis 0 "
                                      "or their last ragged axis, or over all axes, not by "
                                      f"'{kind}' over axis {axis}. Use to_tensor().")
        from fitloom.ops.segments import _segment

        if axis == 0:
            lengths = np.diff(self._splits)
            columns = np.arange(int(lengths.sum())) - np.repeat(self._splits[:-1], lengths)
            return _segment(self.values, columns, count=int(lengths.max(initial=0)), kind=kind, is_sorted=False)
        if kind == "mean" and dtypes.is_floating(self.dtype.name):      # an empty row has no mean: NaN
            lengths = np.diff(self._splits).reshape(-1, *(1,) * (len(self.values.shape) - 1))
            return self.reduce("sum", None, axis) / cast(engine.Tensor(lengths), self.dtype)
        return _segment(self.values, self.value_rowids(), count=len(self), kind=kind, is_sorted=False)

    def __len__(self):
        return len(self._splits) - 1

    def __iter__(self):
        return iter(self._rows())

    def __getitem__(self, key):
        if isinstance(key, tuple):
            row = self[key[0]]
            slices = isinstance(key[0], builtins.slice) and isinstance(key[1], builtins.slice)
            if slices and isinstance(row, RaggedTensor):
                return stack([r[key[1]] for r in row._rows()]) if len(row) else row
            return row[key[1:] if len(key) > 2 else key[1]]
        if isinstance(key, builtins.slice):
            kept = list(builtins.range(len(self)))[key]
            return concat_rows([self._rows()[i] for i in kept], self)
        return self._rows()[int(key)]

    def __repr__(self):
        return f"<tf.RaggedTensor {self.to_list()}>"

    @staticmethod
    def stacked(values, axis):
        """Return `tf.stack` of values some of which are ragged."""
        return stack(values, axis)

    # -- arithmetic

    def over_flat_values(self, function, *inputs):
        """Return `function` of the flat values of `inputs`, as rows like theirs.

        Dense inputs broadcast: single numbers, and tensors with one value a row, `(rows, 1)`; so do ragged ones whose
        rows all have length 1.

        Raises:
            InvalidArgumentError: rows of different lengths.
        """
        ragged = [x for x in inputs if isinstance(x, RaggedTensor)]
        like = next((x for x in ragged if (np.diff(x._splits) != 1).any()), ragged[0])
        return like.with_flat_values(function(*[like._flat_of(x) for x in inputs]))

    def _flat_of(self, other):
        """Return the values of `other`, one for each flat value of this tensor (or one for all)."""
        if isinstance(other, RaggedTensor):
            if len(other) == len(self) and other.ragged_rank == self.ragged_rank:
                if all(np.array_equal(a, b) for a, b in zip(self._all_splits(), other._all_splits(), strict=True)):
                    return other.flat_values
                if self.ragged_rank == 1 and (np.diff(other._splits) == 1).all():
                    return indexing.gather(other.values, self.value_rowids())
            raise InvalidArgumentError(f"The rows of two ragged tensors have different lengths: {self._lengths()} and "
                                       f"{other._lengths()}. Broadcasting takes rows of one length, or of length 1.")
        if isinstance(other, (int, float, complex, str, bytes)):
            return other                            # takes the dtype of the values
        dense = tensor(other)
        sizes = tuple(dense.shape)
        if len(sizes) < 2 or self.ragged_rank > 1 and all(size == 1 for size in sizes):
            return dense
        if sizes[0] in (1, len(self)) and sizes[1] == 1 and self.ragged_rank == 1:
            rows = self.value_rowids() if sizes[0] != 1 else engine.Tensor(np.zeros(int(self._splits[-1]), np.int64))
            return indexing.gather(dense[:, 0], rows)
        if self.ragged_rank == 1 and sizes[0] == len(self) and (np.diff(self._splits) == sizes[1]).all():
            return dense[:, :].__class__(dense.numpy().reshape(-1, *sizes[2:]))
        raise InvalidArgumentError(f"A dense tensor of shape {sizes} does not broadcast to rows of lengths "
                                   f"{self._lengths()}. Use shape ({len(self)}, 1), or a ragged tensor.")

    def positions(self):
        """Return where the values are true, (count, ndim) int64: `tf.where` of this tensor."""
        flat = np.argwhere(host_value(self.flat_values, "where's condition"))
        columns = [flat[:, 0], *flat[:, 1:].T]
        for splits in reversed(self._all_splits()):
            row = np.searchsorted(splits, columns[0], side="right") - 1
            columns[:1] = [row, columns[0] - splits[row]]
        return engine.Tensor(np.stack(columns, 1).astype(np.int64))

    def _all_splits(self):
        return [self._splits, *(self.values._all_splits() if isinstance(self.values, RaggedTensor) else [])]

    def _lengths(self):
        return np.diff(self._splits).tolist()

    def __eq__(self, other):
        return False if other is None or isinstance(other, (str, RaggedTensorSpec)) and not _holds_text(self) else \
            self.over_flat_values(operator.eq, self, other)

    def __ne__(self, other):
        return True if other is None or isinstance(other, (str, RaggedTensorSpec)) and not _holds_text(self) else \
            self.over_flat_values(operator.ne, self, other)

    __hash__ = object.__hash__

    def __bool__(self):
        raise TypeError("A RaggedTensor has no truth value: use tf.reduce_all(x) or tf.reduce_any(x).")


def _holds_text(ragged):
    return dtypes.as_dtype(ragged.dtype) is dtypes.string


def _add_operators():
    """Give RaggedTensor Python's operators: each works on the flat values."""
    def forward(function):
        return lambda self, other: self.over_flat_values(function, self, other)

    def reflected(function):
        return lambda self, other: self.over_flat_values(function, other, self)

    def alone(function):
        return lambda self: self.with_flat_values(function(self.flat_values))

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)
        setattr(RaggedTensor, f"__{name}__", forward(function))
        setattr(RaggedTensor, f"__r{name}__", reflected(function))
    for name in ("lt", "le", "gt", "ge"):
        setattr(RaggedTensor, f"__{name}__", forward(getattr(operator, name)))
    for name in ("neg", "abs", "invert"):
        setattr(RaggedTensor, f"__{name}__", alone(getattr(operator, name)))


_add_operators()


def _partition(values, what):
    """Return row splits, lengths or numbers as NumPy integers, int32 where they came so."""
    found = np.asarray(host_value(values, what))
    return found if found.dtype == np.int32 else found.astype(np.int64)


def _reshaped(values):
    """Return a tensor with its first two axes joined."""
    from fitloom.ops.shaping import reshape

    return reshape(values, (-1, *tuple(values.shape)[2:]))


def joined_rows(values, axis):
    """Return ragged tensors joined along axis 0 (rows one after the other) or 1 (row by row)."""
    values = [constant(v) if isinstance(v, (list, tuple)) else v for v in values]
    rows = [list(v if isinstance(v, RaggedTensor) else tensor(v)) for v in values]
    if axis == 0:
        return concat_rows([r for part in rows for r in part], values[0])
    from fitloom.ops.shaping import concat

    return concat_rows([concat(list(parts), 0) for parts in zip(*rows, strict=True)], values[0])


def concat_rows(rows, like):
    """Return a ragged tensor of tensors as rows; `like` gives the dtype if there are none."""
    from fitloom.ops.shaping import concat

    if not rows:
        return RaggedTensor.from_row_lengths(like.values[:0], [])
    lengths = np.asarray([r.shape[0] for r in rows], like._splits.dtype if isinstance(like, RaggedTensor) else np.int64)
    if dtypes.as_dtype(rows[0].dtype) is dtypes.string:
        flat = [t for r in rows for t in np.asarray(r)]
        return RaggedTensor.from_row_lengths(engine.Tensor(bytes_array(flat, (len(flat),))), lengths)
    return RaggedTensor.from_row_lengths(concat(rows, 0), lengths)


def constant(pylist, dtype=None, ragged_rank=None, inner_shape=None, name=None, row_splits_dtype=dtypes.int64):
    """Return the ragged tensor of nested lists."""
    depth = _depth(pylist)
    _refuse_mixed(pylist, depth)
    if depth == 0:
        return engine.convert_to_tensor(pylist, dtype=dtype)
    if depth == 1:
        return engine.convert_to_tensor(pylist if len(pylist) else np.zeros(0, np.float32), dtype=dtype)
    lengths = np.asarray([len(row) for row in pylist], dtypes.numpy_dtype(row_splits_dtype))
    flat = [item for row in pylist for item in row]
    if depth == 2 or ragged_rank == 1:
        values = engine.convert_to_tensor(flat if flat else np.zeros(0, dtypes.numpy_dtype(dtype or "float32")),
                                          dtype=dtype)
    else:
        values = constant(flat, dtype, None if ragged_rank is None else ragged_rank - 1,
                          row_splits_dtype=row_splits_dtype)
    return RaggedTensor.from_row_lengths(values, lengths)


def _refuse_mixed(pylist, depth):
    """Raise for numbers at different depths, and for text beside numbers."""
    level = [pylist]
    for _ in builtins.range(depth):
        if any(not isinstance(item, (list, tuple, np.ndarray)) for item in level):
            raise ValueError("ragged.constant expected all values at one depth of nesting, but some lie at "
                             f"different depths of {pylist!r:.100}.")
        level = [inner for item in level for inner in item]
    if len({isinstance(item, (str, bytes)) for item in level}) > 1:
        raise ValueError(f"ragged.constant cannot hold text and numbers: {pylist!r:.100}.")


def _depth(value):
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.ndim
    if not isinstance(value, (list, tuple, np.ndarray)):
        return 0
    return 1 + max((_depth(v) for v in value), default=0)


def stack(values, axis=0, name=None):
    """Return the ragged tensor whose rows are the given vectors."""
    if axis == 1:
        return concat_rows_of_rows([stack(list(row)) for row in zip(*[list(v) for v in values], strict=True)])
    if axis != 0:
        raise NotImplementedError("ragged.stack joins along axis 0 or 1.")
    values = [v if isinstance(v, RaggedTensor) else tensor(v) for v in values]
    if any(isinstance(v, RaggedTensor) for v in values) or len(values[0].shape) > 1:
        return concat_rows_of_rows([v if isinstance(v, RaggedTensor) else RaggedTensor.from_tensor(v) for v in values])
    return concat_rows(values, None)


def concat_rows_of_rows(parts):
    """Return a ragged tensor with the given ragged tensors as its rows."""
    return RaggedTensor.from_row_lengths(joined_rows(parts, 0), [len(p) for p in parts])


def range(starts, limits=None, deltas=1, dtype=None, name=None, row_splits_dtype=dtypes.int64):
    """Return rows that count from starts[i] to limits[i]."""
    if limits is None:
        starts, limits = 0, starts
    inferred = np.result_type(*map(_number_type, (starts, limits, deltas)))
    parts = np.broadcast_arrays(*[np.asarray(host_value(v)) for v in (starts, limits, deltas)])
    rows = [np.arange(a, b, d) for a, b, d in zip(*[p.ravel() for p in parts], strict=True)]
    flat = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    kind = inferred if dtype is None else dtypes.numpy_dtype(dtype)
    lengths = np.asarray([len(r) for r in rows], dtypes.numpy_dtype(row_splits_dtype))
    return RaggedTensor.from_row_lengths(engine.Tensor(flat.astype(kind)), lengths)


def _number_type(value):
    """Return the dtype of an argument of `range`: Python numbers are int32 or float32."""
    if hasattr(value, "dtype"):
        return dtypes.numpy_dtype(value.dtype)
    return np.float32 if np.asarray(value).dtype.kind == "f" else np.int32


def boolean_mask(data, mask, name=None):
    """Return the values where `mask` is true, row by row."""
    if isinstance(data, RaggedTensor):
        flat = mask.flat_values if isinstance(mask, RaggedTensor) else mask
        if isinstance(mask, RaggedTensor):
            kept = np.asarray(host_value(flat)).astype(bool)
            counts = np.add.reduceat(np.append(kept, False).astype(np.int64), data._splits[:-1]) * (
                np.diff(data._splits) > 0)
            return RaggedTensor.from_row_lengths(indexing.boolean_mask(data.flat_values, kept), counts)
        rows = data._rows()
        return concat_rows([rows[i] for i in np.flatnonzero(np.asarray(host_value(mask)))], data)
    mask = np.asarray(host_value(mask))
    return RaggedTensor.from_row_lengths(indexing.boolean_mask(data, mask), mask.sum(1))


class RaggedTensorSpec:
    """The type of a RaggedTensor: shape, dtype, number of ragged axes (0: a plain row of one), dtype of row splits."""

    def __init__(self, shape=None, dtype=dtypes.float32, ragged_rank=None, row_splits_dtype=dtypes.int64,
                 flat_values_spec=None):
        if flat_values_spec is not None:
            raise NotImplementedError("RaggedTensorSpec(flat_values_spec=) is not supported. Give shape and dtype.")
        self.shape, self.dtype = TensorShape(shape), dtypes.as_dtype(dtype)
        self.ragged_rank = (self.shape.rank or 1) - 1 if ragged_rank is None else ragged_rank
        self.row_splits_dtype = dtypes.as_dtype(row_splits_dtype)

    def __repr__(self):
        return f"RaggedTensorSpec({self.shape!r}, {self.dtype!r}, {self.ragged_rank}, {self.row_splits_dtype!r})"

    def __eq__(self, other):
        return isinstance(other, RaggedTensorSpec) and repr(self) == repr(other)

    def __hash__(self):
        return hash(repr(self))


def row_splits_to_segment_ids(splits, name=None, out_type=None):
    """Return the row of each value of a ragged tensor with these row splits."""
    splits = _partition(splits, "row splits")
    kind = splits.dtype if out_type is None else dtypes.numpy_dtype(out_type)
    return engine.Tensor(np.repeat(np.arange(len(splits) - 1, dtype=kind), np.diff(splits)))


def segment_ids_to_row_splits(segment_ids, num_segments=None, out_type=None, name=None):
    """Return the row splits of a ragged tensor whose value i lies in row segment_ids[i]."""
    ids = _partition(segment_ids, "segment ids")
    kind = ids.dtype if out_type is None else dtypes.numpy_dtype(out_type)
    counts = np.bincount(ids, minlength=0 if num_segments is None else int(host_value(num_segments)))
    return engine.Tensor(np.concatenate([[0], np.cumsum(counts)]).astype(kind))


def stack_dynamic_partitions(data, partitions, num_partitions, name=None):
    """Return the ragged tensor whose row i holds the values of `data` with partition i, in their order."""
    ids = host_value(engine.convert_to_tensor(partitions), "partitions").astype(np.int64)
    if isinstance(data, RaggedTensor):
        values = concat_rows_of_rows if isinstance(data.values, RaggedTensor) else None
        if values is not None or ids.ndim != 1:
            raise NotImplementedError("stack_dynamic_partitions takes dense data, or whole rows of a ragged tensor of "
                                      "one ragged axis.")
    else:
        data = tensor(data)
        for _ in builtins.range(ids.ndim - 1):
            data = _reshaped(data)
    ids = ids.ravel()
    count = int(host_value(num_partitions))
    if ((ids < 0) | (ids >= count)).any():
        raise InvalidArgumentError(f"stack_dynamic_partitions expected partitions in [0, {count}), but received "
                                   f"{int(ids.min())} to {int(ids.max())}.")
    order = np.argsort(ids, kind="stable")
    kept = data.take(order) if isinstance(data, RaggedTensor) else indexing.gather(data, order)
    return RaggedTensor.from_row_lengths(kept, np.bincount(ids, minlength=count))


def _crossed(inputs, join):
    """Return the ragged matrix of `join` over all combinations of one value of each input, row by row."""
    rows = []
    for each in inputs:
        each = each if hasattr(each, "dense_shape") or isinstance(each, RaggedTensor) else tensor(each)
        each = RaggedTensor.from_sparse(each) if hasattr(each, "dense_shape") else each
        rows.append(each.to_list() if isinstance(each, RaggedTensor) else np.asarray(each).tolist())
    crossed = [[join(parts) for parts in itertools.product(*parts)] for parts in zip(*rows, strict=True)]
    flat = [value for row in crossed for value in row]
    return flat, [len(row) for row in crossed]


def cross(inputs, name=None, separator="_X_"):
    """Return all combinations of one value of each input, row by row, as texts joined by '_X_'."""
    flat, lengths = _crossed(inputs, lambda parts: separator.encode().join(
        part if isinstance(part, bytes) else str(part).encode() for part in parts))
    return RaggedTensor.from_row_lengths(engine.Tensor(bytes_array(flat, (len(flat),))), lengths)


def cross_hashed(inputs, num_buckets=0, hash_key=None, name=None):
    """Return the buckets of all combinations of one value of each input, row by row: TensorFlow's numbers."""
    key = 0xDECAFCAFFE if hash_key is None else int(hash_key)

    def bucket(parts):
        hashed = key
        for part in parts:
            hashed = concatenated_fingerprint(
                hashed, fingerprint64(part) if isinstance(part, bytes) else int(part) & (1 << 64) - 1)
        return hashed % num_buckets if num_buckets else hashed % (2 ** 63 - 1)
    flat, lengths = _crossed(inputs, bucket)
    return RaggedTensor.from_row_lengths(engine.Tensor(np.asarray(flat, np.int64)), lengths)


def map_flat_values(op, *args, **kwargs):
    """Return `op` applied to the flat values of ragged arguments, with the rows of the first."""
    first = next(a for a in [*args, *kwargs.values()] if isinstance(a, RaggedTensor))

    def flat(value):
        return value.flat_values if isinstance(value, RaggedTensor) else value
    return first.with_flat_values(op(*[flat(a) for a in args], **{k: flat(v) for k, v in kwargs.items()}))
