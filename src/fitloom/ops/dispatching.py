# SPDX-License-Identifier: Apache-2.0
"""`tf.experimental.dispatch_for_api` and its kin: a meaning for operations on your own types."""

from __future__ import annotations

import collections.abc as abc
import functools
import inspect
import sys
import types
import typing

from fitloom import engine
from fitloom.base import nest

UNARY = """
    abs acos acosh asin asinh atan atan2 atanh cast clip_by_value cos cosh exp floor identity negative ones_like round
    saturate_cast sigmoid sign sin sinh sqrt square tan tanh zeros_like math.angle math.ceil math.conj math.digamma
    math.erf math.erfc math.erfinv math.expm1 math.imag math.is_finite math.is_inf math.is_nan math.lgamma math.log
    math.log1p math.log_sigmoid math.logical_not math.ndtri math.real math.reciprocal math.reciprocal_no_nan math.rint
    math.rsqrt math.softplus nn.elu nn.gelu nn.leaky_relu nn.relu nn.relu6 nn.selu nn.silu nn.softsign strings.lower
    strings.upper strings.length strings.strip strings.to_number strings.regex_replace
""".split()
BINARY = """
    add subtract multiply divide truediv pow equal not_equal less less_equal greater greater_equal maximum minimum
    logical_and logical_or math.atan2 math.divide_no_nan math.floordiv math.floormod math.logical_xor
    math.multiply_no_nan math.squared_difference math.xdivy math.xlog1py math.xlogy bitwise.bitwise_and
    bitwise.bitwise_or bitwise.bitwise_xor
""".split()
ASSERTS = """
    debugging.assert_equal debugging.assert_none_equal debugging.assert_less debugging.assert_less_equal
    debugging.assert_greater debugging.assert_greater_equal debugging.assert_near
""".split()


class _Dispatched:
    """What is known of an operation that has handlers: (handler, matches) pairs and the wrapper that asks them."""

    def __init__(self, api):
        self.api, self.signature, self.handlers = api, inspect.signature(api), []

        @functools.wraps(api)
        def public(*args, **kwargs):
            for handler, matches in self.handlers:
                if matches(args, kwargs):
                    return handler(*args, **kwargs)
            return api(*args, **kwargs)
        public._dispatched = self
        self.public = public


def _dispatched(api):
    """Return the _Dispatched of an operation; the first time, its public names come to mean the wrapper."""
    found = getattr(api, "_dispatched", None)
    if found is None:
        found = _Dispatched(api)
        for name, module in list(sys.modules.items()):
            if module is not None and (name in ("fitloom", "fitloom.ops") or name.startswith("fitloom.")
                                       and "." not in name[8:]):
                for key, value in list(vars(module).items()):
                    if value is api:
                        setattr(module, key, found.public)
    return found


def _matched(value, wanted):
    """Return 0 if `value` is not of an annotated type, 1 if it is, 2 if one of your own types is in it."""
    if value.__class__ is wanted and issubclass(value.__class__, nest.Composite):
        return 2
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return max(_matched(value, option) for option in arguments)
    if origin in (list, abc.Sequence, tuple):
        if not isinstance(value, (list, tuple)) or not value:
            return 0
        kinds = [arguments[0]] * len(value) if origin is not tuple or ... in arguments else arguments
        found = [_matched(*pair) for pair in zip(value, kinds)] if len(kinds) == len(value) else [0]
        return max(found) if min(found) else 0
    if origin in (abc.Mapping, dict):
        found = [_matched(each, arguments[1]) for each in value.values()] if isinstance(value, abc.Mapping) else [0]
        return max(found, default=0) if min(found, default=0) else 0
    if wanted is engine.Tensor:
        return int(engine.is_tensor(value))
    if isinstance(wanted, type) and isinstance(value, wanted):
        return 2 if isinstance(value, nest.Composite) or hasattr(value, "with_values") else 1
    return 0


def _matcher(entry, wanted):
    """Return a function of a call's arguments: whether they have the types of `wanted`, by name or position."""
    names = list(entry.signature.parameters)

    def matches(args, kwargs):
        given = {**dict(zip(names, args)), **kwargs}
        found = [_matched(given[name], kind) if name in given else 0 for name, kind in wanted.items()]
        return bool(found) and min(found) > 0 and max(found) == 2
    return matches


def dispatch_for_api(api, *signatures):
    """Return a decorator: the function is called instead of an operation whose arguments have certain types.

    Args:
        api: the operation, such as `tf.stack`.
        signatures: dicts from parameters to types; by default the annotations of the function. One of your own types
            must be in them.

    Example:
        >>> import fitloom as tf
        >>> class Length(tf.experimental.ExtensionType):
        ...     value: tf.Tensor
        >>> @tf.experimental.dispatch_for_api(tf.abs)
        ... def length_abs(x: Length):
        ...     return Length(tf.abs(x.value))
        >>> int(tf.abs(Length(-5)).value)
        5
    """
    entry = _dispatched(api)

    def decorate(function):
        hints = signatures or ({name: kind for name, kind in typing.get_type_hints(function).items()
                                if name != "return"},)
        names = list(entry.signature.parameters)
        for hint in hints:
            hint = {names[key] if isinstance(key, int) else key: kind for key, kind in hint.items()}
            unknown = set(hint) - set(names)
            if not hint or unknown:
                raise ValueError(f"dispatch_for_api({api.__name__}) expected types for parameters of it, {names}, but "
                                 f"received {sorted(hint)}. Annotate the parameters of {function.__name__}.")
            entry.handlers.append((function, _matcher(entry, hint)))
        return function
    return decorate


def _operations(names):
    for name in names:
        part = sys.modules["fitloom"]
        for step in name.split("."):
            part = getattr(part, step)
        yield part


def _elementwise(names, kinds):
    def decorate(function):
        for api in _operations(names):
            entry = _dispatched(api)
            first = list(entry.signature.parameters)[:len(kinds)]

            def call(*args, entry=entry, first=first, **kwargs):
                bound = entry.signature.bind(*args, **kwargs)
                values = [bound.arguments.pop(name) for name in first]
                rest = bound.arguments

                def operation(*given):
                    return entry.public(**dict(zip(first, given, strict=True)), **rest)
                return function(operation, *values)
            call.registered_for = function
            entry.handlers.append((call, _matcher(entry, dict(zip(first, kinds, strict=True)))))
        return function
    return decorate


def dispatch_for_unary_elementwise_apis(x_type):
    """Return a decorator: `function(operation, x)` is called for all operations on each element of an `x_type`."""
    return _elementwise(UNARY, [x_type])


def dispatch_for_binary_elementwise_apis(x_type, y_type):
    """Return a decorator: `function(operation, x, y)` is called for all operations on pairs of elements."""
    return _elementwise(BINARY, [x_type, y_type])


def dispatch_for_binary_elementwise_assert_apis(x_type, y_type):
    """Return a decorator: `function(operation, x, y)` is called for all assertions about pairs of elements."""
    return _elementwise(ASSERTS, [x_type, y_type])


def unregister_dispatch_for(dispatch_target):
    """Undo a registration; ValueError if there is none."""
    found = False
    for module in [sys.modules["fitloom"], *[m for n, m in list(sys.modules.items()) if n.startswith("fitloom.")]]:
        for value in list(vars(module).values()):
            entry = getattr(value, "_dispatched", None)
            if isinstance(entry, _Dispatched):
                kept = [pair for pair in entry.handlers if pair[0] is not dispatch_target
                        and getattr(pair[0], "registered_for", None) is not dispatch_target]
                found |= len(kept) < len(entry.handlers)
                entry.handlers[:] = kept
    if not found:
        raise ValueError(f"{dispatch_target!r} is not registered for any operation.")
