# SPDX-License-Identifier: Apache-2.0
"""`tf.experimental.ExtensionType`: classes of named, typed fields that go where tensors go."""

from __future__ import annotations

import collections
import collections.abc as abc
import inspect
import sys
import types
import typing

from fitloom import engine
from fitloom.base import nest
from fitloom.base.dtypes import DType, as_dtype
from fitloom.base.shapes import TensorShape

_PLAIN = (int, float, str, bytes, bool, type(None), DType, TensorShape)


class _Frozen(dict):
    """The value of a Mapping field."""

    def _refuse(self, *_, **__):
        raise TypeError("The mappings of an ExtensionType cannot be changed: make a new value.")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = _refuse


def _name_of(wanted):
    return getattr(wanted, "__name__", str(wanted).replace("typing.", ""))


def _converted(value, wanted, where):
    """Return `value` as a field of the annotated type; raise TypeError if it is none."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if isinstance(value, engine.TypeSpec) and not (isinstance(wanted, type) and isinstance(value, wanted)):
        return value                                                      # a field of a specification
    if origin in (typing.Union, types.UnionType):
        for option in sorted(arguments, key=lambda a: a is engine.Tensor):         # what converts comes last
            try:
                return _converted(value, option, where)
            except (TypeError, ValueError):
                continue
        raise TypeError(f"{where}: expected one of {', '.join(map(_name_of, arguments))}, but received {value!r:.60}.")
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{where}: expected a tuple, but received {value!r:.60}.")
        if origin is list or len(arguments) == 2 and arguments[1] is ...:
            return tuple(_converted(each, arguments[0], where) for each in value)
        if len(arguments) != len(value):
            raise TypeError(f"{where}: expected a tuple of {len(arguments)}, but received one of {len(value)}.")
        return tuple(_converted(each, kind, where) for each, kind in zip(value, arguments, strict=True))
    if origin in (abc.Mapping, dict):
        if not isinstance(value, abc.Mapping):
            raise TypeError(f"{where}: expected a mapping, but received {value!r:.60}.")
        return _Frozen({_converted(key, arguments[0], where): _converted(each, arguments[1], f"{where}[{key!r}]")
                        for key, each in value.items()})
    if wanted is engine.Tensor:
        if value is None or isinstance(value, nest.Composite):
            raise TypeError(f"{where}: expected a Tensor, but received {value!r:.60}.")
        try:
            return engine.convert_to_tensor(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{where}: expected a Tensor, but received {value!r:.60}: {error}") from None
    if wanted is TensorShape:
        return TensorShape(value)
    if wanted is DType:
        return as_dtype(value)
    wanted = type(None) if wanted is None else wanted
    if wanted is float and type(value) is int:
        return value
    if isinstance(wanted, type) and isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    raise TypeError(f"{where}: expected {_name_of(wanted)}, but received {value!r:.60} of type "
                    f"{type(value).__name__}.")


class _Fields(type):
    """Reads the fields off the annotations of a class; a value is checked when its constructor has run."""

    def __new__(mcs, name, bases, namespace, **options):
        spec = namespace.pop("Spec", None)
        cls = super().__new__(mcs, name, bases, namespace, **options)
        if any(isinstance(base, _Fields) for base in bases):
            inherited = [f for base in reversed(cls.__mro__[1:]) for f in vars(base).get("_own_fields", ())]
            if any(isinstance(kind, str) for kind in vars(cls).get("__annotations__", {}).values()):
                frame = sys._getframe(1)            # where names in annotations that are text have their meaning
                cls._where = collections.ChainMap(frame.f_locals, frame.f_globals)
            cls._own_fields = tuple(f for f in vars(cls).get("__annotations__", {}) if not f.startswith("__"))
            cls._fields_of_type = tuple(dict.fromkeys([*inherited, *cls._own_fields]))
            for field in cls._own_fields:
                if hasattr(ExtensionType, field):
                    raise ValueError(f"{name}.{field}: this name of a field is taken by ExtensionType.")
            cls.Spec = type("Spec", (*((spec,) if spec else ()), ExtensionTypeSpec), {
                "__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.Spec", "value_type": cls})
        return cls

    def __call__(cls, *args, **kwargs):
        value = cls.__new__(cls)
        object.__setattr__(value, "_open", True)
        value.__init__(*args, **kwargs)
        value._close()
        return value

    def _types(cls):
        if "_hints" not in vars(cls):
            own = {base.__name__: base for base in cls.__mro__}
            places = [vars(base)["_where"] for base in cls.__mro__ if "_where" in vars(base)]
            cls._hints = typing.get_type_hints(cls, localns=collections.ChainMap(own, *places))
        return cls._hints


class ExtensionType(nest.Composite, metaclass=_Fields):
    """Base of your own types of tensors and other values: fields with annotations, as in a dataclass.

    A value goes through `tf.function`, loops, branches, `tf.data` and layers. Its fields cannot be changed, are
    converted to their types (`tf.Tensor`, numbers, text, shapes, dtypes, tuples, mappings, other extension types) and
    then checked by `__validate__`, if there is one. `tf.experimental.dispatch_for_api` gives operations a meaning.

    Raises:
        TypeError: a field of another type.

    Example:
        >>> import fitloom as tf
        >>> class Masked(tf.experimental.ExtensionType):
        ...     values: tf.Tensor
        ...     mask: tf.Tensor
        >>> Masked([1, 2], [True, False]).values.shape
        TensorShape([2])
    """

    _fields_of_type: tuple = ()
    _own_fields: tuple = ()
    _inner: tuple

    def __init__(self, *args, **kwargs):
        fields = type(self)._fields_of_type
        signature = inspect.Signature([inspect.Parameter(
            f, inspect.Parameter.POSITIONAL_OR_KEYWORD if not _has_gap(type(self), f) else
            inspect.Parameter.KEYWORD_ONLY, default=getattr(type(self), f, inspect.Parameter.empty)) for f in fields])
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}(): {error}") from None
        bound.apply_defaults()
        for field, value in bound.arguments.items():
            object.__setattr__(self, field, value)

    def _close(self):
        cls = type(self)
        hints = cls._types()
        for field in cls._fields_of_type:
            if field not in self.__dict__:
                raise AttributeError(f"{cls.__name__}.__init__ must set the field {field!r}.")
            object.__setattr__(self, field, _converted(self.__dict__[field], hints[field], f"{cls.__name__}.{field}"))
        others = set(self.__dict__) - set(cls._fields_of_type) - {"_open"}
        if others:
            raise AttributeError(f"{cls.__name__}.__init__ set {sorted(others)}, which are no fields: declare them "
                                 "with a type.")
        del self.__dict__["_open"]
        object.__setattr__(self, "_inner", tuple(f for f in cls._fields_of_type
                                                 if not isinstance(self.__dict__[f], _PLAIN)))
        self.__validate__()
        shapes = [getattr(part, "shape", None) for part in self.parts()]
        object.__setattr__(self, "_ranks", tuple(None if s is None else TensorShape(s).rank for s in shapes))

    def __validate__(self):
        """Check the fields; a subclass may raise here."""

    def __setattr__(self, name, value):
        if "_open" not in self.__dict__:
            raise AttributeError(f"Cannot mutate attribute '{name}' of {type(self).__name__}: make a new value.")
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        raise AttributeError(f"Cannot delete attribute '{name}' of {type(self).__name__}.")

    def __repr__(self):
        fields = ", ".join(f"{field}={getattr(self, field)!r}" for field in type(self)._fields_of_type)
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other):
        if type(self) is not type(other) or self.kind() != other.kind():
            return False
        from fitloom.ops import equal, logical_and, reduce_all

        ours, theirs = nest.flatten(self), nest.flatten(other)
        if len(ours) != len(theirs) or any(tuple(a.shape) != tuple(b.shape) for a, b in zip(ours, theirs)):
            return False
        result = True
        for a, b in zip(ours, theirs, strict=True):
            same = reduce_all(equal(a, b))
            result = same if result is True else logical_and(result, same)
        return result

    def __ne__(self, other):
        from fitloom.ops import logical_not

        same = self.__eq__(other)
        return not same if isinstance(same, bool) else logical_not(same)

    __hash__ = None     # type: ignore[assignment]  # values with tensors have no hash

    @property
    def _type_spec(self):
        spec = object.__new__(type(self).Spec)
        spec.__dict__.update({field: _spec_of(getattr(self, field)) for field in type(self)._fields_of_type})
        return spec

    # -- as a structure

    def parts(self):
        """Return the fields that hold tensors, or things that may."""
        return [self.__dict__[field] for field in self._inner]

    def with_parts(self, parts):
        """Return the value with other such fields; shapes of a batch follow where a batch axis came or went."""
        made, given = object.__new__(type(self)), list(parts)
        ranks = tuple(getattr(part, "ndim", getattr(getattr(part, "shape", None), "rank", None)) for part in given)
        known = [(old, new) for old, new in zip(self.__dict__.get("_ranks", ()), ranks) if None not in (old, new)]
        moved = known[0][1] - known[0][0] if known and len({new - old for old, new in known}) == 1 else 0
        following = iter(given)
        for field in type(self)._fields_of_type:
            value = getattr(self, field)
            if field not in self._inner and moved in (1, -1) and getattr(value, "rank", None) is not None:
                size = None if isinstance(given[0], nest.Composite) else given[0].shape[0]
                value = TensorShape([size, *value]) if moved == 1 else value[1:]
            object.__setattr__(made, field, next(following) if field in self._inner else value)
        object.__setattr__(made, "_inner", self._inner)
        object.__setattr__(made, "_ranks", ranks if None not in ranks else self.__dict__.get("_ranks", ()))
        return made

    def kind(self):
        """Return the class and the fields that are no tensors."""
        return type(self), tuple((f, _key(getattr(self, f))) for f in type(self)._fields_of_type
                                 if f not in self._inner)


def _has_gap(cls, field):
    """Whether a field without a default follows one with a default: it is given by name."""
    fields = cls._fields_of_type
    earlier = fields[:fields.index(field)]
    return any(hasattr(cls, other) for other in earlier) and any(
        not hasattr(cls, other) for other in fields[len(earlier):])


def _key(value):
    return tuple(value.as_list()) if isinstance(value, TensorShape) and value.rank is not None else str(value) \
        if isinstance(value, (TensorShape, DType)) else value


def _spec_of(value):
    if isinstance(value, (*_PLAIN, engine.TypeSpec)):
        return value
    if isinstance(value, abc.Mapping):
        return _Frozen({key: _spec_of(each) for key, each in value.items()})
    if isinstance(value, tuple):
        return tuple(map(_spec_of, value))
    return engine.type_spec_from_value(value)


class ExtensionTypeSpec(engine.TypeSpec):
    """The type of a value of an ExtensionType: its fields, with specs in the places of tensors."""

    value_type: type

    def __init__(self, *args, **kwargs):
        fields = self.value_type._fields_of_type
        self.__dict__.update(zip(fields, args))
        self.__dict__.update(kwargs)
        wrong = set(self.__dict__) ^ set(fields)
        if wrong:
            raise TypeError(f"{self.value_type.__name__}.Spec takes {', '.join(fields)}; {', '.join(sorted(wrong))} "
                            "is unknown or missing.")

    def is_compatible_with(self, value):
        """Return whether a value, or a value of a spec, fits."""
        other = value if isinstance(value, ExtensionTypeSpec) else getattr(value, "_type_spec", None)
        return type(other) is type(self) and nest.map_structure(str, self._plain()) == nest.map_structure(
            str, other._plain())

    def _plain(self):
        return {field: getattr(self, field) for field in self.value_type._fields_of_type}

    def __eq__(self, other):
        return type(other) is type(self) and self._plain() == other._plain()

    def __hash__(self):
        return hash(str(self._plain()))

    def __repr__(self):
        fields = ", ".join(f"{field}={value!r}" for field, value in self._plain().items())
        return f"{self.value_type.__name__}.Spec({fields})"


class BatchableExtensionType(ExtensionType):
    """An ExtensionType one value of which can stand for a batch: `tf.data` and `tf.map_fn` batch its tensors."""
