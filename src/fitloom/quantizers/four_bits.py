# SPDX-License-Identifier: Apache-2.0
"""Two numbers of four bits in one byte."""
import numpy as np

from fitloom import ops


def _check(dtype, tensor, allowed):
    if dtype not in ("int8", "uint8"):
        raise ValueError(f"Expected dtype to be 'int8' or 'uint8', but got '{dtype}'.")
    if tensor.dtype.name not in allowed:
        raise TypeError(f"Expected {' or '.join(allowed)} tensor, but got {tensor.dtype.name}.")


def pack_int4(arr, axis=0, dtype="int8"):
    """Return (packed, shape of packed, length of `axis` before): pairs along `axis` share a byte, the first one low.

    Args:
        arr: numbers from -8 to 7 (int8) or 0 to 15 (uint8); an odd length is filled up with 0.
        axis: axis that is halved.
        dtype: dtype of `arr` and of the result.
    """
    arr = ops.convert_to_tensor(arr)
    _check(dtype, arr, (dtype,))
    numbers = np.moveaxis(arr.numpy(), axis, 0)
    length = numbers.shape[0]
    if length % 2:
        numbers = np.concatenate([numbers, np.zeros_like(numbers[:1])])
    numbers = numbers.view("uint8") & 0x0F
    packed = (numbers[0::2] | numbers[1::2] << 4).astype("uint8").view(dtype)
    packed = ops.convert_to_tensor(np.ascontiguousarray(np.moveaxis(packed, 0, axis)))
    return packed, tuple(packed.shape), length


def unpack_int4(packed, orig_len, axis=0, dtype="int8"):
    """Return the numbers that `pack_int4` packed.

    Args:
        packed: its first result.
        orig_len: its last.
        axis, dtype: as given to it.
    """
    packed = ops.convert_to_tensor(packed)
    _check(dtype, packed, ("int8", "uint8"))
    if len(packed.shape) == 0:
        raise ValueError("unpack_int4 expected a tensor with at least one axis.")
    axis = axis % len(packed.shape)
    if dtype == "int8":
        both = ops.cast(packed, "int32")
        pair = [ops.bitwise_and(both, 15), ops.bitwise_and(ops.right_shift(both, 4), 15)]
        pair = [ops.bitwise_xor(half, 8) - 8 for half in pair]     # 8 .. 15 are -8 .. -1
    else:
        both = ops.cast(ops.cast(packed, "uint8"), "int32")
        pair = [ops.bitwise_and(both, 15), ops.bitwise_and(ops.right_shift(both, 4), 15)]
    sizes = list(packed.shape)
    sizes[axis] *= 2
    numbers = ops.reshape(ops.stack(pair, axis=axis + 1), sizes)
    kept = tuple(slice(0, int(orig_len)) if at == axis else slice(None) for at in range(len(sizes)))
    return ops.cast(numbers[kept], dtype)
