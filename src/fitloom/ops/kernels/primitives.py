# SPDX-License-Identifier: Apache-2.0
"""Functions that run native code on the CPU and keep all of JAX's transformations.

`Accelerated` is for any function: its derivative is that of its reference. `Bilinear` is for
functions linear in each of two arguments, such as convolutions: their derivatives are such
functions again, so derivatives of any order run native code too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from fitloom.engine import interpreter
from fitloom.ops.kernels import platform
from fitloom.ops.kernels.native import library


class Accelerated:
    """A function with a native version for the CPU.

    Args:
        name: For error messages and printed programs.
        reference: `reference(*arrays, **static) -> tuple of arrays`, in plain JAX. `static`
            are hashable keyword arguments.
        native: The same by foreign calls; it is used on one CPU only.

    `jvp`, `vjp` and `vmap` are those of the reference.
    """

    def __init__(self, name: str, reference: Callable, native: Callable) -> None:
        self._reference = reference
        primitive = self.primitive = Primitive(f"fitloom_{name}")
        primitive.multiple_results = True
        compiled = functools.lru_cache(maxsize=4096)(self._compiled)
        primitive.def_impl(lambda *o, **p: compiled(tuple(sorted(p.items())))(*o))
        primitive.def_abstract_eval(self._abstract)
        interpreter.REFERENCES[primitive] = reference
        ad.primitive_jvps[primitive] = self._jvp
        batching.primitive_batchers[primitive] = self._batch
        platform.register_lowering(primitive, reference, native)
        self._shapes = functools.lru_cache(maxsize=4096)(self._shapes_of)

    def __call__(self, *operands: jax.Array, **static: Any) -> list[jax.Array]:
        """Run the native version if the program being traced may, else the reference."""
        if not platform.native_enabled():
            return self._reference(*operands, **static)
        return self.primitive.bind(*operands, **static)

    def _compiled(self, items):
        return jax.jit(lambda *o: self.primitive.bind(*o, **dict(items)))

    def _abstract(self, *operands, **static):
        shapes = self._shapes(tuple((o.shape, o.dtype) for o in operands), tuple(sorted(static.items())))
        return [jax.core.ShapedArray(shape, dtype) for shape, dtype in shapes]

    def _shapes_of(self, operands, items):
        """Trace the reference for the shapes of its results: milliseconds, and every layer asks again."""
        reference = functools.partial(self._reference, **dict(items))
        results = jax.eval_shape(reference, *(jax.ShapeDtypeStruct(*operand) for operand in operands))
        return [(result.shape, result.dtype) for result in results]

    def _jvp(self, primals, tangents, /, **static):
        outputs = self.primitive.bind(*primals, **static)
        moving = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]

        def along(*chosen):
            operands = list(primals)
            for i, operand in zip(moving, chosen, strict=True):
                operands[i] = operand
            return list(self._reference(*operands, **static))

        chosen = tuple(primals[i] for i in moving)
        _, out_tangents = jax.jvp(along, chosen, tuple(tangents[i] for i in moving))
        return outputs, out_tangents

    def _batch(self, operands, axes, /, **static):
        function = functools.partial(self._reference, **static)
        outputs = list(jax.vmap(lambda *o: tuple(function(*o)), in_axes=tuple(axes))(*operands))
        return outputs, [0] * len(outputs)


class Bilinear:
    """A function of two arrays, linear in each, with a native version for the CPU.

    Args:
        name: For error messages and printed programs.
        reference: `reference(a, b, **static) -> array`, in plain JAX.
        target: The native function that does the same (see `library.call`); its attributes are
            `static` without `sizes`. It is used on one CPU only.
        result: `result(a, b, **static) -> jax.ShapeDtypeStruct`.
        batched: The argument whose first axis is also the first axis of the result, each entry
            by itself, or None. A `vmap` over that argument alone is folded into that axis.

    Before use, give it its transposes with `set_transposes`.
    """

    def __init__(
        self, name: str, reference: Callable, target: str, result: Callable, batched: int | None
    ) -> None:
        self._reference = reference
        self._batched = batched
        primitive = self.primitive = Primitive(f"fitloom_{name}")

        def abstract(a, b, **static):
            shape = result(a, b, **static)
            return jax.core.ShapedArray(shape.shape, shape.dtype)

        def run_reference(a, b, **static):
            return [reference(a, b, **static)]

        def run_native(a, b, **static):
            shape = result(a, b, **static)
            attributes = {key: value for key, value in static.items() if key != "sizes"}
            return [library.call(target, shape, a, b, **attributes)]

        compiled = functools.lru_cache(maxsize=4096)(self._compiled)
        primitive.def_impl(lambda a, b, **p: compiled(tuple(sorted(p.items())))(a, b))
        primitive.def_abstract_eval(abstract)
        batching.primitive_batchers[primitive] = self._batch
        platform.register_lowering(primitive, run_reference, run_native)

    def set_transposes(self, first: Callable, second: Callable) -> None:
        """Set the transposes.

        Args:
            first: `first(cotangent, a, b, **static) -> cotangent of a`, where only a's shape and
                dtype are known (`a.aval`).
            second: The same for b.
        """
        ad.defbilinear(self.primitive, first, second)

    def __call__(self, a: jax.Array, b: jax.Array, **static: Any) -> jax.Array:
        return self.primitive.bind(a, b, **static)

    def _compiled(self, items):
        return jax.jit(lambda a, b: self.primitive.bind(a, b, **dict(items)))

    def _batch(self, operands, axes, /, **static):
        foldable = self._batched is not None and axes[1 - self._batched] is None
        if not foldable:
            function = functools.partial(self._reference, **static)
            return jax.vmap(function, in_axes=tuple(axes))(*operands), 0
        operands = list(operands)
        mapped = jnp.moveaxis(operands[self._batched], axes[self._batched], 0)
        size, count, *rest = mapped.shape
        operands[self._batched] = mapped.reshape(size * count, *rest)
        result = self.primitive.bind(*operands, **static)
        return result.reshape(size, count, *result.shape[1:]), 0
