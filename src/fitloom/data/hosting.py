# SPDX-License-Identifier: Apache-2.0
"""Work on strings inside a function that is being traced.

A string component of an element is a HostValue there. Parsing one is noted as a host call; what it gives enters the
traced function as inputs. So a function that parses records and computes on the numbers still runs compiled, for many
elements at once: the host calls first, then the program.
"""
import jax.numpy as jnp
import numpy as np

from fitloom import engine


class HostCall:
    """`compute(list of bytes) -> columns`, one for each result; `results` are (shape, dtype, column number)."""

    __slots__ = ("compute", "source", "results")

    def __init__(self, compute, source, results):
        self.compute, self.source, self.results = compute, source, results


class HostTrace:
    """The host calls of one traced function, in order.

    Args:
        arrays: one tracer for each numeric result, in order; None while they are being found out.
    """

    def __init__(self, arrays=None):
        self.calls, self.columns = [], 0
        self.arrays = None if arrays is None else iter(arrays)

    def column(self):
        """Return a HostValue for a new column of strings."""
        self.columns += 1
        return HostValue(self, self.columns - 1)

    def avals(self):
        """Return (shape, dtype) of the numeric results, in order."""
        return [(shape, dtype) for call in self.calls for shape, dtype, column in call.results if column is None]


class HostValue:
    """A string tensor in a traced function; only functions that know it can use it.

    It can be compared with a text. Whatever else Python does with any object (text, truth, hash, an array of it)
    needs the value: the function is then run element by element.
    """

    __slots__ = ("trace", "number")
    __array_ufunc__ = None
    shape = ()

    def __init__(self, trace, number):
        self.trace, self.number = trace, number

    def call(self, compute, results):
        """Note a host call; return its results: Tensors, or HostValues for strings.

        Args:
            compute: takes a list of bytes, returns one stacked column for each result.
            results: (shape, NumPy dtype) of each result for one element.
        """
        made, noted = [], []
        for shape, dtype in results:
            if dtype.hasobject:
                if shape != ():
                    raise TypeError("A traced function takes scalar strings only.")
                value = self.trace.column()
                noted.append((shape, dtype, value.number))
            else:
                array = jnp.zeros(shape, dtype) if self.trace.arrays is None else next(self.trace.arrays)
                value = engine.Tensor(array)
                noted.append((shape, dtype, None))
            made.append(value)
        self.trace.calls.append(HostCall(compute, self.number, noted))
        return made

    def __eq__(self, other):
        return self._compared(other, True)

    def __ne__(self, other):
        return self._compared(other, False)

    def _compared(self, other, equal):
        if not isinstance(other, (str, bytes)):
            self._needs_the_value()
        text = other.encode() if isinstance(other, str) else other
        result, = self.call(lambda strings: (np.array([(s == text) == equal for s in strings], bool),),
                            [((), np.dtype(bool))])
        return result

    def _needs_the_value(self, *_, **__):
        raise TypeError("The value of a string is not known while a function is traced.")

    __hash__ = __bool__ = __str__ = __repr__ = __format__ = __array__ = _needs_the_value  # type: ignore[assignment]


def run(calls, strings):
    """Make the host calls on lists of bytes; return (numeric columns in order, all string columns by number)."""
    numeric = []
    strings = dict(enumerate(strings))
    for call in calls:
        for (_, _, number), column in zip(call.results, call.compute(strings[call.source])):
            if number is None:
                numeric.append(column)
            else:
                strings[number] = column
    return numeric, strings
