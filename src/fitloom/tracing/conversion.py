# SPDX-License-Identifier: Apache-2.0
"""`tf.autograph`: how Python control flow inside tf.function is treated."""

import enum
import sys


class Feature(enum.Enum):
    """Optional parts of the conversion; they are accepted and change nothing."""

    ALL = "ALL"
    AUTO_CONTROL_DEPS = "AUTO_CONTROL_DEPS"
    ASSERT_STATEMENTS = "ASSERT_STATEMENTS"
    BUILTIN_FUNCTIONS = "BUILTIN_FUNCTIONS"
    EQUALITY_OPERATORS = "EQUALITY_OPERATORS"
    LISTS = "LISTS"
    NAME_SCOPES = "NAME_SCOPES"


def do_not_convert(func=None):
    """Return the function, marked so that its Python control flow stays Python inside tf.function."""
    if func is None:
        return do_not_convert
    func._do_not_convert = True
    return func


def set_loop_options(parallel_iterations=None, swap_memory=None, maximum_iterations=None, shape_invariants=None):
    """Do nothing: hints about a loop's execution do not change its result."""


class experimental:
    """`tf.autograph.experimental`."""

    Feature = Feature
    do_not_convert = staticmethod(do_not_convert)
    set_loop_options = staticmethod(set_loop_options)


def set_verbosity(level, alsologtostdout=False):
    """Do nothing: the conversion logs nothing."""


def trace(*args):
    """Print the arguments while a function is traced."""
    sys.stdout.write(" ".join(map(str, args)) + "\n")
