# SPDX-License-Identifier: Apache-2.0
"""Error classes with TensorFlow's names, and the words that errors are made of.

An error says who expected what, what came, and how to fix it.
"""
import difflib


class OpError(Exception):
    """Base of the errors that an operation raises on a wrong value (`tf.errors.OpError`)."""

    def __init__(self, node_def=None, op=None, message=None, *_):
        # TensorFlow's signature is (node_def, op, message); ours are raised with the message alone.
        if message is None and op is None:
            node_def, message = None, node_def
        super().__init__(message)
        self.node_def, self.op, self.message = node_def, op, message

    def __str__(self):
        return str(self.message)

    @property
    def error_code(self):
        """The number of the error's kind, as in `tf.errors.INVALID_ARGUMENT`."""
        kind = next((c.__name__ for c in type(self).__mro__ if c.__name__ in _CODES), "UnknownError")
        return _CODES[kind]


class InvalidArgumentError(OpError, ValueError):
    """An operation received an argument it cannot work with."""


class ValueNotKnownError(InvalidArgumentError):
    """A value is needed while a function is traced, but the function's inputs decide it."""


class InitialValueNotKnownError(ValueNotKnownError):
    """A variable is created while a function is traced, from a value that is not known yet."""


class OutOfRangeError(OpError, StopIteration):
    """An iterator has no next element."""


class UnimplementedError(OpError, NotImplementedError):
    """The operation exists but not for these arguments."""


class NotFoundError(OpError, FileNotFoundError):
    """A file or a name does not exist."""


class ModelFileNotFoundError(FileNotFoundError, ValueError):
    """A model or weights file does not exist (Keras raises ValueError, everybody else FileNotFoundError)."""


class FailedPreconditionError(OpError):
    """The system is not in the state the operation needs."""


class ResourceExhaustedError(OpError, MemoryError):
    """Memory or another resource ran out."""


class AlreadyExistsError(OpError):
    """What should be created exists."""


class CancelledError(OpError):
    """The operation was cancelled."""


class DataLossError(OpError):
    """Stored data is damaged."""


class DeadlineExceededError(OpError, TimeoutError):
    """A deadline passed before the operation finished."""


class AbortedError(OpError):
    """The operation was aborted."""


class InternalError(OpError):
    """An invariant of the system does not hold."""


class PermissionDeniedError(OpError, PermissionError):
    """The caller may not do this."""


class UnauthenticatedError(OpError):
    """The caller is not known."""


class UnavailableError(OpError):
    """A service is not available now."""


class UnknownError(OpError):
    """An error without a better class."""


_CODES = {"CancelledError": 1, "UnknownError": 2, "InvalidArgumentError": 3, "DeadlineExceededError": 4,
          "NotFoundError": 5, "AlreadyExistsError": 6, "PermissionDeniedError": 7, "ResourceExhaustedError": 8,
          "FailedPreconditionError": 9, "AbortedError": 10, "OutOfRangeError": 11, "UnimplementedError": 12,
          "InternalError": 13, "UnavailableError": 14, "DataLossError": 15, "UnauthenticatedError": 16}


class NoValueError(NotImplementedError, AttributeError):
    """The value of a tensor was asked for while the function that computes it is traced."""


class OperatorNotAllowedInGraphError(TypeError):
    """A tensor inside a traced function was used as a Python bool, int, float or iterator."""


def did_you_mean(name, known, most=3) -> str:
    """Return " Did you mean 'x'?" with the known names nearest to `name`, or ""."""
    name, known = str(name), [str(k) for k in known]
    lowered = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=most, cutoff=0.6)
    if not near and len(name) > 1:
        near = [k for k in lowered if k.startswith(name.lower())][:most]            # 'acc' for 'accuracy'
    if not near:
        return ""
    return " Did you mean " + " or ".join(f"'{lowered[k]}'" for k in near) + "?"


def unknown_name(kind, name, known, fix="") -> ValueError:
    """Build the error for a string that names nothing: `raise unknown_name("optimizer", "adm", names)`."""
    known = sorted({str(k) for k in known})
    listing = ", ".join(known) if len(known) <= 40 else ", ".join(known[:40]) + ", ..."
    hint = did_you_mean(name, known) or f" Known names: {listing}."
    return ValueError(f"Unknown {kind} '{name}'.{hint}{' ' + fix if fix else ''}")
