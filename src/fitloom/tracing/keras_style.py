# SPDX-License-Identifier: Apache-2.0
"""`keras.ops`: control flow and derivatives with Keras's signatures."""
from fitloom import ops
from fitloom.autodiff import ForwardAccumulator
from fitloom.base import nest
from fitloom.engine import composed, convert_to_tensor
from fitloom.tracing import control_flow, mapping


def cond(pred, true_fn, false_fn):
    """Return `true_fn()` if `pred` holds, else `false_fn()`."""
    return control_flow.cond(pred, true_fn, false_fn)


@composed
def switch(index, branches, *operands):
    """Return `branches[index](*operands)`; an index out of range takes the nearest branch."""
    index = ops.clip_by_value(ops.cast(index, "int32"), 0, len(branches) - 1)
    return control_flow.switch_case(index, [lambda branch=branch: branch(*operands) for branch in branches])


@composed
def while_loop(cond, body, loop_vars, maximum_iterations=None):
    """Repeat `loop_vars = body(*loop_vars)` while `cond(*loop_vars)` holds."""
    single = not isinstance(loop_vars, (list, tuple))
    result = control_flow.while_loop(cond, body, [loop_vars] if single else loop_vars,
                                     maximum_iterations=maximum_iterations)
    return result[0] if single else type(loop_vars)(result)


@composed
def fori_loop(lower, upper, body_fun, init_val):
    """Return `value` after `value = body_fun(i, value)` for i from lower to upper - 1."""
    structure = init_val
    start = [convert_to_tensor(lower, dtype="int32") if isinstance(lower, int) else lower]
    flat = [convert_to_tensor(v) for v in nest.flatten(init_val)]
    count = upper - lower if isinstance(upper, int) and isinstance(lower, int) else None

    def body(i, *values):
        return [i + 1, *nest.flatten(body_fun(i, nest.pack_sequence_as(structure, values)))]
    result = control_flow.while_loop(lambda i, *_: i < upper, body, start + flat, maximum_iterations=count)
    return nest.pack_sequence_as(structure, result[1:])


@composed
def scan(f, init, xs=None, length=None, reverse=False, unroll=1):
    """Return (last carry, stacked ys) of `carry, y = f(carry, x)` over the first axis of xs.

    `unroll` is a hint about compilation and does not change the result.
    """
    initial = [convert_to_tensor(v) for v in nest.flatten(init)]
    count = len(initial)
    if xs is None:
        if length is None:
            raise ValueError("scan expected xs or length.")
        rows = [ops.range(length)]
    else:
        rows = [convert_to_tensor(v) for v in nest.flatten(xs)]
    has_output = []

    def step(*tensors):
        carry = nest.pack_sequence_as(init, tensors[:count])
        x = None if xs is None else nest.pack_sequence_as(xs, tensors[count:])
        carry, y = f(carry, x)
        has_output[:] = [y is not None]
        return [carry, [] if y is None else y]
    result = mapping.Scan(step, count, "scan", reverse)(initial + rows)
    return result[0], (result[1] if has_output and has_output[0] else None)


@composed
def map(f, xs):
    """Apply `f` to each row of xs and stack the results."""
    return mapping.map_fn(f, xs)


@composed
def vectorized_map(function, elements):
    """Apply `function` to each row of the elements, all rows at once."""
    return mapping.vectorized_map(function, elements)


def vectorize(pyfunc, *, excluded=None, signature=None):
    """Return `pyfunc`, a function of scalars, as a function of tensors that broadcast."""
    if excluded or signature:
        raise NotImplementedError("vectorize takes functions of scalars: no `excluded` and no `signature`.")

    def vectorized(*args):
        args = [convert_to_tensor(a) for a in args]
        shape = args[0].shape
        for a in args[1:]:
            shape = ops.broadcast_static_shape(shape, a.shape)
        flat = [ops.reshape(ops.broadcast_to(a, shape), [-1]) for a in args]
        out = mapping.vectorized_map(lambda row: pyfunc(*row), flat)
        return nest.map_structure(lambda t: ops.reshape(t, [*shape, *t.shape[1:]]), out)
    return vectorized


@composed
def associative_scan(f, elems, reverse=False, axis=0):
    """Return all running combinations of the elements along `axis` by an associative function f(earlier, later)."""
    flat = [ops.convert_to_tensor(e) for e in nest.flatten(elems)]
    if reverse:
        flat = [ops.reverse(e, [axis]) for e in flat]
    length, distance = flat[0].shape[axis], 1

    def part(x, start, stop):
        key = [slice(None)] * len(x.shape)
        key[axis] = slice(start, stop)
        return x[tuple(key)]
    while distance < length:  # after k rounds each place holds the combination of its last 2 ** k elements
        earlier = nest.pack_sequence_as(elems, [part(x, 0, length - distance) for x in flat])
        later = nest.pack_sequence_as(elems, [part(x, distance, length) for x in flat])
        combined = nest.flatten(f(earlier, later))
        flat = [ops.concat([part(x, 0, distance), c], axis) for x, c in zip(flat, combined, strict=True)]
        distance *= 2
    if reverse:
        flat = [ops.reverse(e, [axis]) for e in flat]
    return nest.pack_sequence_as(elems, flat)


def jvp(fun, primals, tangents, has_aux=False):
    """Return (fun(*primals), its derivative in the direction of the tangents[, auxiliary output])."""
    primals = [convert_to_tensor(p) for p in primals]
    tangents = [convert_to_tensor(t) for t in tangents]
    with ForwardAccumulator(primals, tangents) as accumulator:
        result = fun(*primals)
    out, aux = result if has_aux else (result, None)
    derivative = nest.map_structure(lambda t: accumulator.jvp(t, "zero"), out)
    return (out, derivative, aux) if has_aux else (out, derivative)


