# SPDX-License-Identifier: Apache-2.0
"""What a layer's `call`, `build` or `compute_output_shape` takes, and how shapes find their arguments."""
import functools
import inspect

from fitloom import engine
from fitloom.base import nest
from fitloom.engine.symbolic import KerasTensor

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY)


class CallSignature:
    """The arguments of one `call` method (without self)."""

    def __init__(self, method):
        self.signature = inspect.signature(method)
        parameters = self.signature.parameters
        self.names = list(parameters)
        self.takes_anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self.has_training = "training" in parameters
        self.has_mask = "mask" in parameters
        default = parameters["training"].default if self.has_training else None
        self.needs_training = default is inspect.Parameter.empty
        self.training_default = None if self.needs_training else default
        self.owner = getattr(getattr(method, "func", method), "__qualname__", "call")
        self.mask_names = [name for name in self.names if name.endswith("_mask")]
        self.first = self.names[0] if self.names else None

    def bind(self, args, kwargs):
        """Return {name: value} with the defaults filled in; what is missing, the call itself complains about."""
        try:
            bound = self.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.owner}() {error}; it takes {', '.join(self.names) or 'no arguments'}.") from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def check_complete(self, arguments, from_context):
        """Raise if an argument without a default is neither bound nor one that the context gives (or a mask)."""
        missing = [name for name, p in self.signature.parameters.items()
                   if p.kind in _NAMED and p.default is p.empty and name not in arguments
                   and name not in from_context and not name.endswith("mask")]
        if missing:
            raise TypeError(f"{self.owner}() misses {', '.join(missing)}; it takes {', '.join(self.names)}.")


@functools.lru_cache(maxsize=4096)
def _of_function(function):
    return CallSignature(functools.partial(function, None))


def signature_of(method) -> CallSignature:
    """Return the (cached) signature of a bound method."""
    function = getattr(method, "__func__", None)
    if function is None:
        return CallSignature(method)
    return _of_function(function)


def is_tensor(x) -> bool:
    """Whether `x` is a tensor, a variable or a symbolic tensor."""
    return isinstance(x, (engine.Tensor, engine.Variable, KerasTensor)) or getattr(x, "_is_tensor", False)


def is_shape(x) -> bool:
    """Whether `x` is one shape rather than a structure of shapes."""
    return isinstance(x, (list, tuple)) and all(d is None or isinstance(d, int) for d in x)


def map_shapes(function, shapes):
    """Apply `function` to each shape in a structure of shapes."""
    if is_shape(shapes):
        return function(tuple(shapes))
    if isinstance(shapes, dict):
        return {key: map_shapes(function, value) for key, value in shapes.items()}
    if isinstance(shapes, (list, tuple)):
        return type(shapes)(map_shapes(function, value) for value in shapes)
    if shapes is None:
        return None
    return function(tuple(shapes))


def tensor_arguments(arguments):
    """Return the arguments that are tensors or non-empty structures of tensors.

    Raises:
        ValueError: a structure that mixes tensors with other things.
    """
    found = {}
    for name, value in arguments.items():
        if is_tensor(value):
            found[name] = value
        elif nest.is_nested(value) and len(value):
            leaves = nest.flatten(value)
            if leaves and all(x is None or is_tensor(x) for x in leaves):
                if any(x is not None for x in leaves):
                    found[name] = value
            elif any(is_tensor(x) for x in leaves) and name not in ("args", "kwargs"):
                raise ValueError("In a nested call() argument, you cannot mix tensors and non-tensors. "
                                 f"Received invalid mixed argument: {name}={value}")
    return found


def shapes_of(arguments):
    """Return {'inputs_shape': (None, 3), ...} for the tensor arguments other than the mask.

    A `call(self, *args)` hands its arguments on: the first of them counts.
    """
    arguments = {**arguments, "inputs": arguments["args"][0]} if arguments.get("args") else arguments
    return {f"{name}_shape": nest.map_structure(lambda x: None if x is None else engine.known_shape(x.shape), value)
            for name, value in tensor_arguments(arguments).items() if name not in ("mask", "args", "kwargs")}


def shapes_for(method, shapes, arguments, class_name):
    """Return the keyword arguments with which `build` or `compute_output_shape` is to be called.

    A method with one argument gets the shape of the first tensor. One with several gets each `x_shape` for
    the call's argument `x`.
    """
    names = [name for name, p in inspect.signature(method).parameters.items() if p.kind in _NAMED]
    if len(names) == 1:
        return {names[0]: next(iter(shapes.values()), None)}
    chosen = {}
    for name in names:
        wrong = None
        if not name.endswith("_shape"):
            wrong = f"received `{method.__name__}()` argument `{name}`, which does not end in `_shape`"
        elif name[:-len("_shape")] not in arguments:
            wrong = (f"received `{method.__name__}()` argument `{name}`, but `call()` does not have argument "
                     f"`{name[:-len('_shape')]}`")
        if wrong:
            raise ValueError(
                f"For a `{method.__name__}()` method with more than one argument, all arguments should have a "
                f"`_shape` suffix and match an argument from `call()`. E.g. `{method.__name__}(self, foo_shape, "
                f"bar_shape)`. For layer '{class_name}', {wrong}.")
        if name in shapes:
            chosen[name] = shapes[name]
    return chosen
