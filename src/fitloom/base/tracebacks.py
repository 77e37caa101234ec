# SPDX-License-Identifier: Apache-2.0
"""Short tracebacks: at the package's doors an error loses the frames of this package and of JAX.

What stays is the user's own lines and the line that raised. `tf.debugging.disable_traceback_filtering()` keeps all.
"""
import functools
import os
import sys
import types

from fitloom.base import config

# What this package never raises on purpose where the last frame is its own: a fault of ours, whose frames are needed.
_FAULTS = (AssertionError, AttributeError, LookupError, ArithmeticError, NameError, RecursionError)
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep


def shorten(error):
    """Take the package's frames, JAX's and JAX's note about its own out of an error that is about to leave."""
    if not config.is_traceback_filtering_enabled():
        return
    notes = getattr(error, "__notes__", None)
    if notes:
        notes[:] = [note for note in notes if "JAX has removed its internal frames" not in note]
    entries, entry = [], error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    internal = [_is_internal(each) for each in entries]
    if not entries or internal[-1] and isinstance(error, _FAULTS):
        return
    short = None
    for each, inside in zip(reversed(entries), reversed(internal)):
        if short is None or not inside:
            short = types.TracebackType(short, each.tb_frame, each.tb_lasti, each.tb_lineno)
    error.__traceback__ = short


def _is_internal(entry):
    file, jax = entry.tb_frame.f_code.co_filename, sys.modules.get("jax")
    return file.startswith(_OURS) or jax is not None and file.startswith(os.path.dirname(jax.__file__) + os.sep)


def short(function):
    """Wrap a function that users call: errors that leave it are shortened."""
    @functools.wraps(function)
    def door(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as error:
            shorten(error)
            raise

    return door
