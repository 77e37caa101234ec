# SPDX-License-Identifier: Apache-2.0
"""`keras.ops`: tensors from nothing, their dtypes and shapes, by NumPy's names."""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from fitloom import engine
from fitloom.base import config, dtypes
from fitloom.engine import op
from fitloom.ops import arithmetic, creating, shaping
from fitloom.ops.calling import as_index, host_value, is_composite, static_axis, static_int, static_ints
from fitloom.ops.casting import cast as _cast
from fitloom.ops.casting import saturate_cast as _saturate_cast
from fitloom.ops.numpy_elementwise import divide, subtract
from fitloom.ops.numpy_rules import as_float, as_number, as_tensor, one, promoted, two, with_attributes

# ---- dtypes and tensors


def convert_to_tensor(x, dtype=None, sparse=None, ragged=None):
    """Return `x` as a tensor."""
    return as_tensor(x, dtype)


def convert_to_numpy(x):
    """Return the value as a NumPy array."""
    return np.array(host_value(x, "convert_to_numpy's input"))


def is_tensor(x):
    """Return whether `x` is a tensor."""
    return engine.is_tensor(x)


def array(x, dtype=None):
    """Return `x` as a tensor."""
    return as_tensor(x, dtype)


def cast(x, dtype):
    """Return `x` as another dtype."""
    return _cast(x, dtype) if is_composite(x) else as_tensor(x, dtype)


def saturate_cast(x, dtype):
    """Return `x` as another dtype, limited to its range."""
    return _saturate_cast(as_tensor(x), dtype)


def dtype(x):
    """Return the name of the dtype."""
    return dtypes.name_of(as_tensor(x).dtype)


def shape(x):
    """Return the shape as a tuple, None for sizes that are not known."""
    return tuple(as_tensor(x).shape)


def ndim(x):
    """Return the number of axes."""
    return len(as_tensor(x).shape)


def size(x):
    """Return the number of elements."""
    count = 1
    for length in as_tensor(x).shape:
        count = None if length is None or count is None else count * length
    return count


@op(name="view")
def _view(x, *, dtype):
    return jax.lax.bitcast_convert_type(x, dtype) if x.dtype.itemsize == jnp.dtype(dtype).itemsize else x.view(dtype)


def view(x, dtype=None):
    """Return the same bits read as another dtype."""
    return _view(as_tensor(x), dtype=dtypes.name_of(dtype or as_tensor(x).dtype))


# ---- from nothing


def _dtype(dtype):
    return config.floatx() if dtype is None else dtypes.name_of(dtype)


def zeros(shape, dtype=None):
    """Return zeros."""
    return creating.zeros(shape, _dtype(dtype))


def ones(shape, dtype=None):
    """Return ones."""
    return creating.ones(shape, _dtype(dtype))


empty = zeros


def full(shape, fill_value, dtype=None):
    """Return a tensor of `fill_value`."""
    return shaping.broadcast_to(as_tensor(fill_value, _dtype(dtype)), static_ints(shape))


def zeros_like(x, dtype=None):
    """Return zeros in the shape of `x`."""
    return creating.zeros_like(as_tensor(x), dtype=dtype)


def ones_like(x, dtype=None):
    """Return ones in the shape of `x`."""
    return creating.ones_like(as_tensor(x), dtype=dtype)


empty_like = zeros_like


@op(name="full_like")
def _full_like(x, value, *, dtype):
    return jnp.broadcast_to(value.astype(dtype), x.shape)


def full_like(x, fill_value, dtype=None):
    """Return `fill_value` in the shape of `x`."""
    x = as_tensor(x)
    return _full_like(x, as_tensor(fill_value), dtype=dtypes.name_of(dtype or x.dtype))


def arange(start, stop=None, step=None, dtype=None):
    """Return start, start + step, ... without `stop`."""
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    parts = [host_value(p, "arange's bounds") for p in (start, stop, step)]
    if dtype is None:
        dtype = config.floatx() if builtins.any(p.dtype.kind == "f" for p in parts) else "int32"
    return engine.Tensor(np.arange(*[p.item() for p in parts]).astype(dtypes.numpy_dtype(dtype)))


def eye(N, M=None, k=0, dtype=None):
    """Return ones on the k-th diagonal."""
    return engine.Tensor(np.eye(static_int(N), None if M is None else static_int(M), int(k),
                                dtype=dtypes.numpy_dtype(_dtype(dtype))))


def identity(n, dtype=None):
    """Return the identity matrix."""
    return eye(n, dtype=dtype)


def tri(N, M=None, k=0, dtype=None):
    """Return ones on and below the k-th diagonal."""
    return engine.Tensor(np.tri(static_int(N), M, int(k), dtype=dtypes.numpy_dtype(_dtype(dtype))))


def _spaced(name, function):
    @op(name=name)
    def recorded(start, stop, *, num, endpoint, dtype, axis, options):
        out = function(start, stop, num, endpoint=endpoint, axis=axis, **dict(options))
        return out.astype(dtype)
    return recorded


_linspace = _spaced("linspace", jnp.linspace)
_logspace = _spaced("logspace", jnp.logspace)
_geomspace = _spaced("geomspace", jnp.geomspace)


def _space(recorded, start, stop, num, endpoint, dtype, axis, **options):
    start, stop = promoted(start, stop, floats=True)
    return recorded(start, stop, num=static_int(num), endpoint=bool(endpoint),
                    dtype=dtypes.name_of(dtype or start.dtype), axis=int(axis), options=tuple(options.items()))


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """Return `num` evenly spaced values (and the step, if `retstep`)."""
    values = _space(_linspace, start, stop, num, endpoint, dtype, axis)
    if not retstep:
        return values
    return values, divide(subtract(stop, start), float(builtins.max(num - 1 if endpoint else num, 1)))


def logspace(start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0):
    """Return base ** evenly spaced exponents."""
    return _space(_logspace, start, stop, num, endpoint, dtype, axis, base=base)


def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """Return values whose logarithms are evenly spaced."""
    return _space(_geomspace, start, stop, num, endpoint, dtype, axis)


def _window(function):
    def public(x):
        return engine.Tensor(np.asarray(function(static_int(x)), config.floatx()))
    public.__name__ = public.__qualname__ = function.__name__
    public.__doc__ = f"Return the {function.__name__} window of length x."
    return public


bartlett, blackman, hamming, hanning = map(_window, (np.bartlett, np.blackman, np.hamming, np.hanning))


def kaiser(x, beta):
    """Return the Kaiser window of length x and shape `beta`."""
    return engine.Tensor(np.asarray(np.kaiser(static_int(x), float(beta)), config.floatx()))


def meshgrid(*x, indexing="xy"):
    """Return coordinate tensors of the grid spanned by vectors."""
    return creating.meshgrid(*[as_tensor(v) for v in x], indexing=indexing)


def one_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    """Return vectors with 1 at each index."""
    _no_sparse(sparse)
    return creating.one_hot(as_tensor(x), num_classes, axis=axis, dtype=_dtype(dtype))


def _no_sparse(sparse):
    if sparse:
        raise NotImplementedError("Sparse results are not made here; use sparse=False.")


def multi_hot(inputs, num_classes=None, axis=-1, dtype=None, sparse=False, **kwargs):
    """Return 1 at every class that occurs along the axis after the batch (the only axis of a vector).

    Args:
        axis: where the axis of the classes goes in the one-hot form, before that maximum is taken.
    """
    from fitloom.ops.reductions import reduce_any, reduce_max

    num_classes = kwargs.pop("num_tokens", num_classes)
    if num_classes is None:
        raise ValueError("multi_hot expected num_classes.")
    _no_sparse(sparse)
    inputs = as_tensor(inputs)
    hot = creating.one_hot(inputs, num_classes, axis=axis, dtype=_dtype(dtype))
    if len(inputs.shape) == 0:
        return hot
    axis = 1 if len(inputs.shape) > 1 else 0
    return reduce_any(hot, axis=axis) if hot.dtype == "bool" else reduce_max(hot, axis=axis)


# ---- shapes


def reshape(x, newshape):
    """Return the same elements in another shape; one size may be -1 (or None)."""
    return shaping.reshape(as_tensor(x), newshape)


def transpose(x, axes=None):
    """Return x with its axes permuted."""
    return shaping.transpose(as_tensor(x), axes)


def broadcast_to(x, shape):
    """Return x repeated to `shape`."""
    return shaping.broadcast_to(as_tensor(x), shape)


def expand_dims(x, axis):
    """Return x with new axes of size 1 (a number, or a tuple of positions)."""
    return shaping.expand_dims(as_tensor(x), axis)


def squeeze(x, axis=None):
    """Return x without axes of size 1."""
    return shaping.squeeze(as_tensor(x), axis)


def concatenate(xs, axis=0):
    """Return tensors joined along an axis."""
    return shaping.concat(list(promoted(*xs)), axis)


def stack(x, axis=0):
    """Return tensors joined along a new axis."""
    return shaping.stack(list(promoted(*x)) if isinstance(x, (list, tuple)) else x, axis)


def unstack(x, num=None, axis=0):
    """Return the list of slices along an axis."""
    return shaping.unstack(as_tensor(x), num, axis)


def _stacking(name, function):
    recorded = op(lambda *xs: function(xs), name=name)

    def public(xs):
        return recorded(*promoted(*xs))
    public.__name__ = public.__qualname__ = name
    public.__doc__ = f"Return the tensors joined as NumPy's {name} does."
    return public


dstack, hstack, vstack = (_stacking(n, getattr(jnp, n)) for n in ("dstack", "hstack", "vstack"))


@op(name="split")
def _split(x, *, parts, axis, kind):
    return tuple(getattr(jnp, kind)(x, parts, axis) if axis is not None else getattr(jnp, kind)(x, parts))


def _parts(value):
    return static_int(value) if np.ndim(value) == 0 else static_ints(value)


def split(x, indices_or_sections, axis=0):
    """Return equal parts (a number), or the parts between positions (a list)."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=int(axis), kind="split"))


def array_split(x, indices_or_sections, axis=0):
    """Return parts whose sizes differ by at most 1."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=int(axis), kind="array_split"))


def dsplit(x, indices_or_sections):
    """Return parts along axis 2."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=None, kind="dsplit"))


def hsplit(x, indices_or_sections):
    """Return parts along axis 1 (0 for vectors)."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=None, kind="hsplit"))


def vsplit(x, indices_or_sections):
    """Return parts along axis 0."""
    return list(_split(as_tensor(x), parts=_parts(indices_or_sections), axis=None, kind="vsplit"))


def tile(x, repeats):
    """Return x repeated as a whole."""
    return with_attributes_tile(as_tensor(x), repeats)


with_attributes_tile = with_attributes("tile", jnp.tile, "Return x repeated as a whole.")
flip = with_attributes("flip", lambda x, axis=None: jnp.flip(x, axis), "Return x reversed along `axis`.")
fliplr = one("fliplr", jnp.fliplr, "Return x reversed along axis 1.")
flipud = one("flipud", jnp.flipud, "Return x reversed along axis 0.")
moveaxis = with_attributes("moveaxis", lambda x, source, destination: jnp.moveaxis(x, source, destination),
                           "Return x with axes moved.")
swapaxes = with_attributes("swapaxes", lambda x, axis1, axis2: jnp.swapaxes(x, axis1, axis2),
                           "Return x with two axes exchanged.")
rot90 = with_attributes("rot90", lambda array, k=1, axes=(0, 1): jnp.rot90(array, k, axes), "Return x turned.")
roll = with_attributes("roll", lambda x, shift, axis=None: jnp.roll(x, shift, axis), "Return x shifted in a circle.")
diag = with_attributes("diag", lambda x, k=0: jnp.diag(x, k), "Return a diagonal matrix, or the diagonal of one.")
diagflat = with_attributes("diagflat", lambda x, k=0: jnp.diagflat(x, k), "Return x on the diagonal of a matrix.")
diagonal = with_attributes("diagonal", lambda x, offset=0, axis1=0, axis2=1: jnp.diagonal(x, offset, axis1, axis2),
                           "Return the diagonal.")
trace = with_attributes(
    "trace", lambda x, offset=0, axis1=0, axis2=1: jnp.trace(x, offset, axis1, axis2, dtype=x.dtype),
    "Return the sum of the diagonal.", as_number)
tril = with_attributes("tril", lambda x, k=0: jnp.tril(x, k), "Return x with zeros above the k-th diagonal.")
triu = with_attributes("triu", lambda x, k=0: jnp.triu(x, k), "Return x with zeros below the k-th diagonal.")
diff = with_attributes("diff", lambda a, n=1, axis=-1: jnp.diff(a, n, axis), "Return differences of neighbours.")
sort = with_attributes("sort", lambda x, axis=-1: jnp.sort(x, axis), "Return x sorted.")
argsort = with_attributes("argsort", lambda x, axis=-1: jnp.argsort(x, axis, stable=True).astype(jnp.int32),
                          "Return the positions that sort x, int32.")
argpartition = with_attributes("argpartition", lambda x, kth, axis=-1: jnp.argpartition(x, kth, axis).astype(jnp.int32),
                               "Return positions that put the kth smallest at place kth.")
vander = with_attributes("vander", lambda x, N=None, increasing=False: jnp.vander(x, N, increasing),
                         "Return the Vandermonde matrix.")


def repeat(x, repeats, axis=None):
    """Return each element repeated."""
    return shaping.repeat(as_tensor(x), repeats, axis)


@op(name="append")
def _append(x1, x2, *, axis):
    return jnp.append(x1, x2, axis)


def append(x1, x2, axis=None):
    """Return x2 joined to the end of x1 (both flattened, if `axis` is None)."""
    return _append(*promoted(x1, x2), axis=static_axis(axis))


@op(name="pad")
def _pad(x, value, *, widths, mode):
    return jnp.pad(x, widths, mode, **({"constant_values": value} if mode == "constant" else {}))


def pad(x, pad_width, mode="constant", constant_values=None):
    """Return x with elements added: NumPy's modes 'constant', 'reflect', 'symmetric', 'edge', ..."""
    if constant_values is not None and mode != "constant":
        raise ValueError(f"pad takes constant_values in mode 'constant' only, but received mode '{mode}'.")
    x = as_tensor(x)
    widths = np.broadcast_to(np.asarray(pad_width), (len(x.shape), 2))
    value = as_tensor(0 if constant_values is None else constant_values, x.dtype)
    return _pad(x, value, widths=tuple((int(a), int(b)) for a, b in widths), mode=mode)


def get_item(x, key):
    """Return x[key]."""
    return as_tensor(x)[key]
