# SPDX-License-Identifier: Apache-2.0
"""Functions over tensors as portable StableHLO programs, by `jax.export`."""
import jax
import numpy as np
from jax import export

from fitloom.base import nest
from fitloom.engine.functional import unwrap, wrap
from fitloom.engine.inline import InlineTrace
from fitloom.engine.recording import op
from fitloom.engine.specs import TensorSpec
from fitloom.engine.tensor import Tensor
from fitloom.ops.kernels.platform import native
from fitloom.tracing import artefact

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


class ExportedFunction:
    """What `export_function` returns.

    Attributes: `content`, the serialized program of (variables, inputs); `variables`; `written`, the positions of
    those that it assigns; `structure`, the result with the outputs' numbers in the tensors' places; `specs`, those of
    the outputs.
    """

    def __init__(self, content, variables, written, structure, specs):
        self.content, self.variables, self.written = content, variables, written
        self.structure, self.specs = structure, specs


def export_function(fn, variables, inputs, name="function"):
    """Return `fn(*tensors)` as an ExportedFunction.

    An unknown first axis (None) stays open: the program is then the function of one row, mapped over the rows, and
    it is compared with the function itself on three rows.

    Args:
        fn: function of tensors; returns a structure of tensors.
        variables: the variables it may touch; others become constants.
        inputs: TensorSpecs.
        name: what errors call it.

    Raises:
        ValueError: an unknown size on another axis, or a function that mixes the rows of an open batch.
    """
    inputs, variables = [TensorSpec(s.shape, s.dtype) for s in inputs], list(variables)
    for spec in inputs:
        if any(d is None for d in tuple(spec.shape)[1:]):
            raise ValueError(f"'{name}' cannot be exported for inputs of shape {tuple(spec.shape)}: only the first "
                             "axis may be open (None). Give input_signature with fixed sizes for the others.")
    is_open = [len(spec.shape) > 0 and spec.shape[0] is None for spec in inputs]
    found: dict = {}

    def pure(values, arrays):
        trace = InlineTrace(dict(zip(variables, values)), seed=np.uint64(0))
        with trace, native(False):
            result = fn(*wrap(arrays))
            trace.close()
        leaves = nest.flatten(result)
        tensors = [leaf for leaf in leaves if _is_tensor(leaf)]
        numbers = iter(range(len(tensors)))
        found["structure"] = nest.map_structure(lambda leaf: next(numbers) if _is_tensor(leaf) else leaf, result)
        found["written"] = [i for i, v in enumerate(variables) if v in trace.written]
        found["draws"] = trace.draws
        return [*unwrap([_tensor(leaf) for leaf in tensors]), *(trace.bindings[variables[i]] for i in found["written"])]

    def rows(values, arrays):
        axes = [0 if o else None for o in is_open]

        def one(arrays):
            outputs = pure(values, [a[None] if o else a for a, o in zip(arrays, is_open)])
            count = len(outputs) - len(found["written"])
            return [_without_row(output, name) for output in outputs[:count]]
        return jax.vmap(one, in_axes=(axes,))(arrays)

    size = export.symbolic_shape("batch")[0] if any(is_open) else None
    values = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in variables]

    def shaped(first):
        return [jax.ShapeDtypeStruct((first, *tuple(s.shape)[1:]) if o else tuple(s.shape), s.dtype.numpy_dtype)
                for s, o in zip(inputs, is_open)]
    program = jax.jit(rows if any(is_open) else pure)
    with native(False):                   # also for parts that were traced before
        exported = export.export(program, platforms=PLATFORMS)(values, shaped(size))
    if any(is_open):
        if found["written"]:
            raise ValueError(f"'{name}' assigns variables, so it cannot be exported with an open batch axis. Give "
                             "input_signature with fixed sizes.")
        if not found["draws"]:
            _compare(exported, pure, variables, shaped(3), name)
    count = len(exported.out_avals) - len(found["written"])
    specs = [TensorSpec([None if not isinstance(d, int) else d for d in aval.shape], aval.dtype.name)
             for aval in exported.out_avals[:count]]
    return ExportedFunction(_serialized(exported), variables, found["written"], found["structure"], specs)


def _serialized(exported):
    """Return the program's bytes, with its derivative where it has one."""
    with native(False):
        try:
            return bytes(exported.serialize(vjp_order=1))
        except (ValueError, TypeError, NotImplementedError):
            return bytes(exported.serialize())


def _is_tensor(leaf):
    return isinstance(leaf, (Tensor, np.ndarray, jax.Array)) or getattr(type(leaf), "is_variable", False)


def _tensor(leaf):
    return leaf if isinstance(leaf, Tensor) else leaf.value_tensor() if hasattr(leaf, "value_tensor") else Tensor(leaf)


def _without_row(output, name):
    if not output.shape or output.shape[0] != 1:
        raise ValueError(f"'{name}' returns an array of shape {output.shape} for one row, so its batch axis cannot "
                         "stay open. Give input_signature with fixed sizes.")
    return output[0]


def _compare(exported, pure, variables, shapes, name):
    """Raise if the mapped program and the function itself disagree on a batch."""
    generator = np.random.default_rng(0)
    inputs = [generator.random(s.shape).astype(s.dtype) if s.dtype.kind == "f" else np.zeros(s.shape, s.dtype)
              for s in shapes]
    values = [v.numpy() for v in variables]
    for left, right in zip(exported.call(values, inputs), jax.jit(lambda v, a: pure(v, a))(values, inputs)):
        left, right = np.asarray(left), np.asarray(right)
        if left.shape != right.shape or not np.allclose(left.astype(np.complex128), right.astype(np.complex128),
                                                        rtol=1e-2, atol=1e-3, equal_nan=True):
            raise ValueError(f"'{name}' mixes the rows of a batch (its result for three rows is not that of the rows "
                             "alone), so its batch axis cannot stay open. Give input_signature with fixed sizes.")


def loaded_function(content, count):
    """Return a function (weights, inputs) -> list of Tensors that runs a serialized program, also inside traces."""
    program = artefact.Program(content)

    @op(name="exported_program")
    def run(*arrays):
        return tuple(program.exported.call(list(arrays[:count]), list(arrays[count:])))

    def call(weights, inputs):
        results = run(*weights, *inputs)
        return list(results) if isinstance(results, (tuple, list)) else [results]
    return call, program.exported
