# SPDX-License-Identifier: Apache-2.0
"""Which operation of a computation is the first to give NaN or infinity: its jaxpr, run one operation at a time."""
from dataclasses import dataclass

import jax
import numpy as np

from fitloom import engine


@dataclass(frozen=True)
class BadOperation:
    """An operation whose result is not finite.

    Attributes:
        name: the operation of XLA, such as 'log' or 'div'.
        what: 'NaN' or 'infinity'.
        shape: of its result.
        inputs: (least, largest finite value) of each input.
    """

    name: str
    what: str
    shape: tuple
    inputs: tuple

    def __str__(self):
        ranges = ", ".join(f"[{low:.3g}, {high:.3g}]" for low, high in self.inputs)
        return f"'{self.name}' gives {self.what} (shape {self.shape}) for inputs within {ranges}"


def first_bad_operation(fn, arrays):
    """Return the first BadOperation of a pure function of arrays: one that gives NaN, else infinity; None if none."""
    with engine.outside():
        closed = jax.make_jaxpr(fn)(*arrays)
        found = {}
        _run(closed.jaxpr, closed.consts, jax.tree_util.tree_leaves(arrays), found)
    return found.get("NaN") or found.get("infinity")


def _run(jaxpr, consts, arguments, found):
    values = dict(zip(jaxpr.constvars, consts)) | dict(zip(jaxpr.invars, arguments))

    def read(atom):
        return atom.val if hasattr(atom, "val") else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        inner = next((equation.params[name] for name in ("jaxpr", "call_jaxpr") if name in equation.params), None)
        if inner is not None and len(getattr(inner, "jaxpr", inner).invars) == len(inputs):
            outputs = _run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), inputs, found)
        else:
            given = equation.primitive.get_bind_params(equation.params)      # before jax 0.11 a pair
            functions, parameters = given if isinstance(given, tuple) else ((), given)
            outputs = equation.primitive.bind(*functions, *inputs, **parameters)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
            _note(equation.primitive.name, inputs, outputs, found)
        if "NaN" in found:
            return [None] * len(jaxpr.outvars)                     # nothing after it matters
        values.update(zip(equation.outvars, outputs))
    return [read(atom) for atom in jaxpr.outvars]


def _note(name, inputs, outputs, found):
    for output in outputs:
        kind = getattr(output, "dtype", None)
        if kind is None or not jax.numpy.issubdtype(kind, jax.numpy.floating):
            continue
        host = np.asarray(output, np.float64)
        what = "NaN" if np.isnan(host).any() else "infinity" if np.isinf(host).any() else None
        # an infinity that was written down (a mask, the start of a maximum) is none that was computed
        if what is None or what in found or (what == "infinity" and name in ("broadcast_in_dim", "select_n")):
            continue
        found[what] = BadOperation(name, what, host.shape, tuple(_range(each) for each in inputs))


def _range(value):
    host = np.asarray(value)
    if host.dtype.kind not in "biuf" and host.dtype.name != "bfloat16":
        return (np.nan, np.nan)
    host = host.astype(np.float64)
    host = host[np.isfinite(host)]
    return (float(host.min()), float(host.max())) if host.size else (np.nan, np.nan)
