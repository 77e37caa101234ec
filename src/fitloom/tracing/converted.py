# SPDX-License-Identifier: Apache-2.0
"""What rewritten source calls (autograph.py): it asks at run time whether a tensor decides, and stays Python if not."""
import types

import numpy as np

from fitloom.base import nest
from fitloom.base.errors import InvalidArgumentError, ValueNotKnownError
from fitloom.engine.context import CONTEXT
from fitloom.engine.recording import convert_to_tensor, is_tensor
from fitloom.engine.tensor import Tensor
from fitloom.tracing import control_flow
from fitloom.tracing.control_flow import Body, Scan

UNROLLED = 8        # a loop over a tensor of at most so many rows is written out
FLAG, VALUE = "__fitloom_flag", "__fitloom_value"     # names the rewriting adds: "left the loop", "what it returned"


class Undefined:
    """Stands for a name that has no value; whoever uses it is told why."""

    def __init__(self, name, reason="it was assigned in a branch or loop that did not run"):
        self.name, self.reason = name, reason

    def _refuse(self, *_):
        raise UnboundLocalError(f"'{self.name}' has no value here: {self.reason}.")

    def __getattr__(self, name):
        if name[:2] == "__" or name[0] == "_" or name in ("numpy", "shape", "dtype", "is_variable"):
            raise AttributeError(name)
        self._refuse()

    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __bool__ = __len__ = __iter__ = _refuse
    __getitem__ = __call__ = __tf_tensor__ = __lt__ = __gt__ = __matmul__ = __neg__ = _refuse


_OTHERS = ("fitloom", "jax", "numpy", "builtins", "keras")     # packages whose functions stay as they are
_TENSOR = object()       # in an outline: a tensor stands here


def refuse_undefined(values):
    """Raise if one of a function's results has no value."""
    for value in values:
        if value.__class__ is Undefined:
            value._refuse()


class _Keep:
    """In the place of an attribute's value: leave the attribute as it is."""

    def __repr__(self):
        return "KEEP"


KEEP = _Keep()


class Attribute:
    """An attribute or element that a branch assigns; it is read only if a tensor decides."""

    def __init__(self, read, name):
        self.read, self.name = read, name


def value_of(read, name):
    """Return read(), or Undefined where the name has no value."""
    try:
        return read()
    except NameError:
        return Undefined(name)


def _python(values):
    return tuple([KEEP if v.__class__ is Attribute else v for v in values])


def _tensors(values):
    def read(v):
        try:
            return v.read() if v.__class__ is Attribute else v
        except (AttributeError, KeyError, IndexError):
            return KEEP
    return tuple([read(v) for v in values])


def decides(value):
    """Whether a traced tensor decides (its value is not known)."""
    if getattr(value.__class__, "is_variable", False):
        if not CONTEXT.trace.inline:
            return False
        value = value.value_tensor()
    return isinstance(value, Tensor) and control_flow.known_value(value) is None


# ---------------------------------------------------------------- branches

def _becomes_tensor(leaf):
    return is_tensor(leaf) or isinstance(leaf, (bool, int, float, np.ndarray, np.generic))


def _outline(values):
    """Return (flat tensors, outline of everything else) of a list of values."""
    flat, outline = [], []
    for value in values:
        places = []
        leaves = [value] if isinstance(value, (Undefined, _Keep)) else nest.flatten(value)
        for leaf in leaves:
            if _becomes_tensor(leaf):
                flat.append(control_flow.as_tensor(leaf))
                places.append(_TENSOR)
            else:
                places.append(leaf)
        single = len(leaves) == 1 and leaves[0] is value
        outline.append((None if single else nest.map_structure(lambda _: None, value), places))
    return flat, outline


def _rebuild(flat, outline):
    flat, values = iter(flat), []
    for structure, places in outline:
        leaves = [next(flat) if p is _TENSOR else p for p in places]
        values.append(leaves[0] if structure is None else nest.pack_sequence_as(structure, leaves))
    return values


def _count(places):
    return sum(p is _TENSOR for p in places)


def _same_value(a, b):
    if a is b or isinstance(a, Undefined) and isinstance(b, Undefined):
        return True
    if a is _TENSOR or b is _TENSOR:
        return False
    try:
        return bool(a == b)
    except Exception:                  # objects that cannot be compared are different ones
        return False


def _same_outline(a, b):
    return len(a[1]) == len(b[1]) and a[0] == b[0] and all(map(_same_value, a[1], b[1]))


class _Converted(control_flow.Branches):
    """Two branches whose results are the values of names.

    A name that has no value in one branch, or values that cannot be joined, has none afterwards; using it is the error.
    """

    def __init__(self, functions, names):
        super().__init__(functions, "cond")
        self.names, self.outlines, self.kept = names, {}, []

    def unify(self, parts):
        picked, count, at = ([], []), 0, [0, 0]
        for number, name in enumerate(self.names):
            both = self.outlines[0][number], self.outlines[1][number]
            avals = [[parts[k].outputs[at[k] + i] for i in range(_count(both[k][1]))] for k in (0, 1)]
            missing = [len(places) == 1 and isinstance(places[0], Undefined) for _, places in both]
            reason = None
            if missing[0] != missing[1]:
                there = 0 if missing[1] else 1
                if name.startswith((VALUE, FLAG)) and _count(both[there][1]) == len(both[there][1]):
                    picked[there].extend(range(at[there], at[there] + len(avals[there])))
                    picked[1 - there].extend(np.zeros(a.shape, a.dtype) for a in avals[there])
                    self.kept.append(both[there])
                    count += len(avals[there])
                else:
                    reason = ("it has one in only one branch of an `if` on a tensor. Give it a value in both, or "
                              "before")
            elif not _same_outline(*both):
                reason = ("it is a different Python value in the two branches of an `if` on a tensor, and which of "
                          "them runs is not known while the function is traced. Make it a tensor in both")
            elif avals[0] != avals[1]:
                reason = (f"it is {', '.join(map(str, avals[1]))} in one branch of an `if` on a tensor and "
                          f"{', '.join(map(str, avals[0]))} in the other. Give it the same shape and dtype in both")
            else:
                for k in (0, 1):
                    picked[k].extend(range(at[k], at[k] + len(avals[k])))
                self.kept.append(both[0])
                count += len(avals[0])
            if reason is not None:
                self.kept.append((None, [Undefined(name, reason)]))
            at = [at[0] + len(avals[0]), at[1] + len(avals[1])]
        return picked, list(range(count)), [None] * count


def if_statement(test, then, otherwise, values, names):
    """Run one of two branches that map the names' values to new ones."""
    if not decides(test):
        return then(*_python(values)) if test else otherwise(*_python(values))
    start = _tensors(values)

    def branch(function, number):
        def run():
            flat, conditional.outlines[number] = _outline(function(*start))
            return flat
        return run
    conditional = _Converted(None, names)
    conditional.functions = [branch(otherwise, 0), branch(then, 1)]
    return tuple(_rebuild(control_flow.choose(conditional, test), conditional.kept))


def if_return(test, then, otherwise):
    """Return what one of two branches returns."""
    if not decides(test):
        return then() if test else otherwise()
    result, = if_statement(test, lambda _: (then(),), lambda _: (otherwise(),), (None,), ("the result",))
    if isinstance(result, Undefined):
        result._refuse()
    return result


# ---------------------------------------------------------------- loops

def _loop_start(body, values, names, element=()):
    """Return (values as tensors, outline): names without a value before the loop start as zeros."""
    start = list(_tensors(values))
    if any(isinstance(v, Undefined) for v in start):
        flat, outline = _outline(start)
        probed: list = []

        def probe(*tensors):
            found, places = _outline(body(*tensors[:given], *_rebuild(tensors[given:], outline)))
            probed.append(places)
            return found
        given = len(element)
        part = Body(probe, "while_loop body").instruction(tuple(t.aval for t in (*element, *flat)))
        position = 0
        for number, (structure, places) in enumerate(probed[0]):
            count = _count(places)
            if isinstance(start[number], Undefined) and count == len(places) > 0:
                zeros = [control_flow.as_tensor(np.zeros(a.shape, a.dtype))
                         for a in part.outputs[position:position + count]]
                start[number] = zeros[0] if structure is None else nest.pack_sequence_as(structure, zeros)
            position += count
    return _outline(start)


def _checked(body, outline, names):
    """Return the loop body over flat tensors."""
    def run(*flat):
        found, places = _outline(body(*_rebuild(flat, outline)))
        position = 0
        for name, before, after in zip(names, outline, places):
            if len(before[1]) == 1 and isinstance(before[1][0], Undefined):     # an object of the body: none afterwards
                before[1][0].reason = "it is assigned in a loop over tensors, and is not a tensor"
                del found[position:position + _count(after[1])]
                continue
            if not _same_outline(before, after):
                raise ValueError(f"'{name}' must stay a tensor, or the same Python value, throughout a loop over "
                                 "tensors: how often the loop runs is not known while the function is traced.")
            for _ in range(_count(after[1])):
                if found[position].aval != flat[position].aval:
                    raise InvalidArgumentError(
                        f"'{name}' changes from {flat[position].aval} to {found[position].aval} in a loop over "
                        "tensors. Give it its final dtype and shape before the loop.")
                position += 1
        return found
    return run


def while_statement(test, body, values, names):
    """Repeat the body while the test holds; values are those of the names that the body assigns."""
    python = _python(values)
    decision = test(*python)
    while not decides(decision):
        if not decision:
            return python
        python = body(*python)
        decision = test(*python)
        values = tuple([v if p is KEEP else p for v, p in zip(values, python)])
    flat, outline = _loop_start(body, values, names)
    result = control_flow.while_loop(lambda *t: test(*_rebuild(t, outline)), _checked(body, outline, names), flat)
    return tuple(_rebuild(result, outline))


def for_statement(iterated, body, values, names, stop=None, single=False):
    """Run the body for each element until the name `stop` is true; over tensors as a loop on the device.

    `single` says that the loop's target is one name, the first.
    """
    place = None if stop is None else names.index(stop)
    if hasattr(iterated, "element_spec") and CONTEXT.trace.inline:
        raise ValueNotKnownError("It iterates over a dataset, whose elements come from the host (the loop is compiled "
                                 "all the same, one program a step).")
    if isinstance(iterated, TensorRange):
        return _for_range(iterated, body, _begun(values, place, iterated.start if single else None), names, place)
    if isinstance(iterated, Tensor) and CONTEXT.trace.inline and (*iterated.aval.shape, 0)[0] > UNROLLED:
        return _for_rows(iterated, body, _begun(values, place, iterated[0] if single else None), names, place)
    values = tuple([KEEP if v.__class__ is Attribute else v for v in values])
    for element in iterated:
        flag = False if place is None else values[place]
        if decides(flag):                       # a tensor says whether the loop was left
            values = if_statement(flag, lambda *v: v, lambda *v, element=element: body(element, *v), values, names)
        elif flag:
            break
        else:
            values = body(element, *values)
    return values


def _begun(values, place, element):
    values = list(values)
    if element is not None and isinstance(values[0], Undefined):
        values[0] = element
    if place is not None:
        values[place] = control_flow.as_tensor(False)
    return values


def _for_range(iterated, body, values, names, place):
    flat, outline = _loop_start(body, values, names, (iterated.start,))

    def step(i, *rest):
        return [i + iterated.delta, *_checked(lambda *v: body(i, *v), outline, names)(*rest)]

    def test(i, *rest):
        more = i < iterated.limit if iterated.upward else i > iterated.limit
        return more if place is None else _logic("logical_and")(more, negate(_rebuild(rest, outline)[place]))
    result = control_flow.while_loop(test, step, [iterated.start, *flat])
    return tuple(_rebuild(result[1:], outline))


def _for_rows(rows, body, values, names, place):
    flat, outline = _loop_start(body, values, names, (rows[0],))

    def step(*tensors):
        element, before = tensors[-1], tensors[:-1]
        if place is None:
            return _checked(lambda *v: body(element, *v), outline, names)(*before)
        kept = _rebuild(before, outline)
        after = if_statement(kept[place], lambda *v: v, lambda *v: body(element, *v), tuple(kept), names)
        return _checked(lambda *v: after, outline, names)(*before)
    return tuple(_rebuild(Scan(step, len(flat), "for")([*flat, rows]), outline))


class TensorRange:
    """A range whose bounds are not all known while the function is traced."""

    def __init__(self, *arguments):
        arguments = [control_flow.as_tensor(a) for a in arguments]
        self.start, self.limit = (convert_to_tensor(0, dtype_hint=arguments[0].dtype), arguments[0]) \
            if len(arguments) == 1 else arguments[:2]
        self.delta = arguments[2] if len(arguments) > 2 else convert_to_tensor(1, dtype_hint=self.start.dtype)
        step = control_flow.known_value(self.delta)
        self.upward = step is None or step > 0

    def _as_value(self, *_, **__):
        raise ValueNotKnownError("The size of a tf.range depends on the function's inputs, and the range is used other "
                                 "than as what a `for` goes through: the shape of the result is not known.")

    __getitem__ = __len__ = __array__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _as_value
    __truediv__ = __floordiv__ = __mod__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = _as_value

    def __getattr__(self, name):
        if name[:1] == "_" or name == "element_spec":              # asked for by whoever looks for a dataset
            raise AttributeError(name)
        self._as_value()


# ---------------------------------------------------------------- expressions

def both(first, second):
    """`first() and second()`."""
    left = first()
    return _logic("logical_and")(left, second()) if decides(left) else (left and second())


def either(first, second):
    """`first() or second()`."""
    left = first()
    return _logic("logical_or")(left, second()) if decides(left) else (left or second())


def negate(value):
    """`not value`."""
    return _logic("logical_not")(value) if decides(value) else not value


def assert_statement(test, message):
    """`assert test, message`; a tensor's test is checked when the program runs."""
    value = test()
    if decides(value):
        from fitloom.ops import debugging
        debugging.Assert(value, [message() if message is not None else "assertion failed"])
    elif not value:
        raise AssertionError(*([] if message is None else [message()]))


def _logic(name):
    from fitloom import ops
    return getattr(ops, name)


def caller(convert):
    """Return `call(function)`: what to call instead, so that user functions are converted too."""
    def call(function):
        if function is range or getattr(function, "__name__", "") == "range" and \
                getattr(function, "__module__", "").startswith("fitloom"):
            return lambda *arguments, **keywords: _range(function, arguments, keywords)
        if function in (int, float, bool):
            return lambda *arguments: _number(function, *arguments)
        if not isinstance(function, (types.FunctionType, types.MethodType, type)):
            method = getattr(function, "__call__", function)         # noqa: B004 (of an object that can be called)
            function = method if isinstance(method, types.MethodType) else function
        target = function.__func__ if isinstance(function, types.MethodType) else function
        if not isinstance(target, types.FunctionType) or getattr(target, "_do_not_convert", False) \
                or str(target.__globals__.get("__name__")).split(".")[0] in _OTHERS:
            return function
        return convert(function)
    return call


def _range(function, arguments, keywords):
    if any(decides(a) for a in arguments):
        return TensorRange(*arguments)
    if function is range:
        return range(*[int(a) if is_tensor(a) else a for a in arguments])
    return function(*arguments, **keywords)


def _number(function, *arguments):
    """int(x), float(x), bool(x) of a traced tensor: a cast, as TensorFlow does."""
    if arguments and decides(arguments[0]):
        from fitloom import ops
        return ops.cast(arguments[0], {int: "int32", float: "float32", bool: "bool"}[function])
    return function(*arguments)
