# SPDX-License-Identifier: Apache-2.0
"""Functions over the first axis: `tf.map_fn`, `tf.scan`, `tf.foldl`, `tf.foldr`, `tf.vectorized_map`."""
import jax

from fitloom.base import nest
from fitloom.base.errors import ValueNotKnownError
from fitloom.engine.context import CONTEXT
from fitloom.engine.recording import convert_to_tensor
from fitloom.engine.tensor import Tensor
from fitloom.tracing.control_flow import Body, Scan, _Compound


def _leading(tensors, name):
    sizes = {t.aval.shape[0] if t.aval.shape else None for t in tensors}
    if len(sizes) != 1 or None in sizes:
        raise ValueError(f"{name} needs elements with one common first dimension, but received shapes "
                         f"{[t.aval.shape for t in tensors]}.")
    return sizes.pop()


def map_fn(fn, elems, dtype=None, parallel_iterations=None, back_prop=True, swap_memory=False, infer_shape=True,
           name=None, fn_output_signature=None):
    """Apply `fn` to each row of `elems` and stack the results along a new first axis.

    Rows of text, of sparse tensors, of different lengths, or with results of different lengths are mapped one by one.
    """
    flat = [e if hasattr(e, "component_tensors") else convert_to_tensor(e) for e in nest.flatten(elems)]
    if any(hasattr(e, "component_tensors") or e.dtype.name == "string" for e in flat):
        return _row_by_row(fn, elems, flat)
    _leading(flat, "map_fn")
    try:
        return Scan(lambda *row: fn(nest.pack_sequence_as(elems, row)), 0, "map_fn")(flat)
    except ValueNotKnownError:
        if CONTEXT.trace.inline:
            raise
        return _row_by_row(fn, elems, flat)


def _row_by_row(fn, elems, flat):
    from fitloom.ops import stack
    from fitloom.ops.ragged import stack as ragged_stack

    from fitloom.ops.sparse import rows_of, stack_rows

    each = [rows_of(e) if _is_sparse(e) else e for e in flat]
    results = [fn(nest.pack_sequence_as(elems, list(row))) for row in zip(*each, strict=True)]
    columns = zip(*[nest.flatten(r) for r in results])
    ragged = any(hasattr(e, "with_flat_values") for e in flat)
    made = []
    for column in columns:
        column = [x if hasattr(x, "component_tensors") else convert_to_tensor(x) for x in column]
        if _is_sparse(column[0]):
            made.append(stack_rows(column))
        elif hasattr(column[0], "with_flat_values") or ragged and len(column[0].shape) \
                or len({tuple(x.shape) for x in column}) > 1:
            made.append(ragged_stack(column))
        else:
            made.append(stack(column))
    return nest.pack_sequence_as(results[0], made)


def _is_sparse(value):
    return hasattr(value, "component_tensors") and hasattr(value, "indices")


def scan(fn, elems, initializer=None, parallel_iterations=10, back_prop=True, swap_memory=False, infer_shape=True,
         reverse=False, name=None):
    """Return all intermediate values of `value = fn(value, row)`, stacked along the first axis."""
    flat = [convert_to_tensor(e) for e in nest.flatten(elems)]
    _leading(flat, "scan")
    if initializer is None:
        first = -1 if reverse else 0
        start = nest.pack_sequence_as(elems, [e[first] for e in flat])
        rest = nest.pack_sequence_as(elems, [e[:-1] if reverse else e[1:] for e in flat])
        stacked = scan(fn, rest, start, reverse=reverse)
        from fitloom.engine.recording import _PACK
        head = [_PACK(t) for t in nest.flatten(start)]
        joined = [_CONCATENATE(*((s, h) if reverse else (h, s))) for h, s in zip(head, nest.flatten(stacked))]
        return nest.pack_sequence_as(start, joined)
    initial = [convert_to_tensor(i) for i in nest.flatten(initializer)]
    count = len(initial)

    def step(*tensors):
        value = fn(nest.pack_sequence_as(initializer, tensors[:count]), nest.pack_sequence_as(elems, tensors[count:]))
        return [value, value]
    return Scan(step, count, "scan", reverse)(initial + flat)[1]


def _fold(fn, elems, initializer, reverse, name):
    flat = [convert_to_tensor(e) for e in nest.flatten(elems)]
    _leading(flat, name)
    if initializer is None:
        initializer = nest.pack_sequence_as(elems, [e[-1 if reverse else 0] for e in flat])
        flat = [e[:-1] if reverse else e[1:] for e in flat]
    initial = [convert_to_tensor(i) for i in nest.flatten(initializer)]
    count = len(initial)

    def step(*tensors):
        return fn(nest.pack_sequence_as(initializer, tensors[:count]), nest.pack_sequence_as(elems, tensors[count:]))
    return Scan(step, count, name, reverse)(initial + flat)


def foldl(fn, elems, initializer=None, parallel_iterations=10, back_prop=True, swap_memory=False, name=None):
    """Return the last `value = fn(value, row)`, first row first."""
    return _fold(fn, elems, initializer, False, "foldl")


def foldr(fn, elems, initializer=None, parallel_iterations=10, back_prop=True, swap_memory=False, name=None):
    """Return the last `value = fn(value, row)`, last row first."""
    return _fold(fn, elems, initializer, True, "foldr")


class _Vectorized(_Compound):
    def __init__(self, fn, elems):
        super().__init__("vectorized_map")
        self.function = lambda *row: fn(nest.pack_sequence_as(elems, row))

    def make(self, avals, attributes):
        from fitloom.engine.avals import aval
        rows = tuple(aval(a.shape[1:], a.dtype) for a in avals)
        part = Body(self.function, self.name).instruction(rows)
        if part.layout.written:
            raise ValueError("vectorized_map: the function assigns to a variable; use tf.map_fn.")
        layout = self._combine([part.layout])
        layout.structure, layout.tensors = part.layout.structure, part.layout.tensors

        def fn(*arrays):
            outer, size = arrays[len(avals):], arrays[0].shape[0]

            def one(step, *row):
                return tuple(part.fn(*self._inputs_of(part.layout, layout, outer, row, step)))
            return jax.vmap(one)(jax.numpy.arange(size, dtype=jax.numpy.int32), *arrays[:len(avals)])
        return self._finish(fn, avals, layout, (part,))


def vectorized_map(fn, elems, fallback_to_while_loop=True, warn=True):
    """Apply `fn` to each row of `elems`, all rows at once (jax.vmap)."""
    flat = [convert_to_tensor(e) for e in nest.flatten(elems)]
    _leading(flat, "vectorized_map")
    return _Vectorized(fn, elems)(flat)


def _concatenate():
    from fitloom.engine.recording import op

    @op(name="concat", same_dtype=True)
    def concat(a, b):
        return jax.numpy.concatenate([a, b])
    return concat


_CONCATENATE = _concatenate()
