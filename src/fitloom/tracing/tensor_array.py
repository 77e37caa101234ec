# SPDX-License-Identifier: Apache-2.0
"""`tf.TensorArray`: a list of tensors that are written and read by index."""
from fitloom.base import dtypes
from fitloom.base.errors import InvalidArgumentError, ValueNotKnownError
from fitloom.engine.context import CONTEXT
from fitloom.engine.recording import _PACK, convert_to_tensor, record
from fitloom.engine.tensor import Tensor
from fitloom.tracing.control_flow import known_value


class TensorArray:
    """A list of tensors of one dtype; each element is written once. Every write returns the array to use from then on.

    Where an index or the size is not known while a tf.function is traced, the function runs as Python (with
    `jit_compile=True` that is an error: use Python loops, `tf.scan` or `tf.map_fn` there).
    """

    def __init__(self, dtype, size=None, dynamic_size=None, clear_after_read=None, tensor_array_name=None, handle=None,
                 flow=None, infer_shape=True, element_shape=None, colocate_with_first_write_call=True, name=None):
        self._dtype, self._dynamic = dtypes.as_dtype(dtype), bool(dynamic_size)
        self._elements = [None] * (0 if size is None else self._position(size))
        self.element_shape, self._trace = element_shape, CONTEXT.trace

    dtype = property(lambda self: self._dtype)
    dynamic_size = property(lambda self: self._dynamic)

    def _position(self, index):
        position = known_value(convert_to_tensor(index))
        if position is None:
            raise ValueNotKnownError("A TensorArray has a size or is used with an index that is not known while the "
                                     "function is traced. tf.scan and tf.map_fn compile loops over tensors.")
        return int(position)

    def _refuse_elsewhere(self):
        """Inside a branch or loop that a tensor decides, what is written would be out of scope afterwards."""
        if CONTEXT.trace.inline and CONTEXT.trace is not self._trace:
            raise ValueNotKnownError("A TensorArray is written in a branch, loop or function other than the one that "
                                     "made it. tf.scan and tf.map_fn compile loops over tensors.")

    def write(self, index, value, name=None):
        """Set element `index`."""
        self._refuse_elsewhere()
        position = self._position(index)
        if position >= len(self._elements):
            if not self._dynamic:
                raise ValueError(f"Index {position} is outside a TensorArray of size {len(self._elements)}. "
                                 "Pass dynamic_size=True to let it grow.")
            self._elements += [None] * (position + 1 - len(self._elements))
        value = convert_to_tensor(value, dtype_hint=self._dtype)
        if value.dtype != self._dtype:
            raise InvalidArgumentError(f"A TensorArray of dtype {self._dtype.name} cannot hold values of dtype "
                                       f"{value.dtype.name}. Cast them: tf.cast(x, tf.{self._dtype.name}).")
        self._elements[position] = value
        return self

    def read(self, index, name=None) -> Tensor:
        """Return element `index`."""
        position = self._position(index)
        value = self._elements[position] if position < len(self._elements) else None
        if value is None:
            raise ValueError(f"Element {position} of the TensorArray was not written.")
        return value

    def size(self, name=None):
        """Return the number of elements."""
        return convert_to_tensor(len(self._elements))

    def stack(self, name=None):
        """Return all elements stacked along a new first axis."""
        return _PACK(*[self.read(i) for i in range(len(self._elements))])

    def unstack(self, value, name=None):
        """Set the elements to the rows of `value`."""
        self._refuse_elsewhere()
        value = convert_to_tensor(value)
        self._elements = [value[i] for i in range(value.aval.shape[0])]
        return self

    def concat(self, name=None):
        """Return all elements joined along their first axis."""
        from fitloom.tracing.mapping import _CONCATENATE
        joined = self.read(0)
        for i in range(1, len(self._elements)):
            joined = _CONCATENATE(joined, self.read(i))
        return joined

    def gather(self, indices, name=None):
        """Return the elements at `indices`, stacked."""
        return _PACK(*[self.read(i) for i in convert_to_tensor(indices).numpy()])

    def scatter(self, indices, value, name=None):
        """Set the elements at `indices` to the rows of `value`."""
        array, value = self, convert_to_tensor(value)
        for row, index in enumerate(convert_to_tensor(indices).numpy().tolist()):
            array = array.write(index, value[row])
        return array

    def split(self, value, lengths, name=None):
        """Set the elements to the parts of `value`, `lengths` rows each."""
        self._refuse_elsewhere()
        value, start, parts = convert_to_tensor(value), 0, []
        for length in convert_to_tensor(lengths).numpy().tolist():
            parts.append(value[start:start + length])
            start += length
        if start != value.aval.shape[0]:
            raise InvalidArgumentError(f"TensorArray.split expected lengths that add up to the {value.aval.shape[0]} "
                                       f"rows, but they add up to {start}.")
        self._elements = parts
        return self

    def identity(self):
        """Return this array."""
        return self

    def close(self, name=None):
        """Forget the elements."""
        self._elements = []
