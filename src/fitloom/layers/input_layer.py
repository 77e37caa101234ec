# SPDX-License-Identifier: Apache-2.0
"""`Input`: where the graph of a functional model begins."""
from fitloom import engine
from fitloom.base import config, dtypes
from fitloom.base.shapes import TensorShape
from fitloom.layers.layer import Layer

KerasTensor = engine.KerasTensor


class InputLayer(Layer):
    """The beginning of a graph: a symbolic tensor of a given shape and dtype.

    Args:
        shape: shape without the batch axis.
        batch_size: size of the batch axis; None for any.
        dtype: dtype of the input; floatx by default.
        sparse: whether sparse tensors are expected; they are made dense as they come.
        ragged: must be False (not implemented here).
        batch_shape: shape with the batch axis, instead of `shape` and `batch_size`.
        input_tensor: an existing symbolic tensor to begin with.
        optional: whether None may be passed for it.
        name: name of the input.
    """

    def __init__(self, shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None,
                 input_tensor=None, optional=False, name=None, **kwargs):
        super().__init__(name=name)
        if "input_shape" in kwargs:
            shape = kwargs.pop("input_shape")
        if "batch_input_shape" in kwargs:
            batch_shape = kwargs.pop("batch_input_shape")
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments: {kwargs}")
        if ragged:
            raise ValueError("`ragged=True` is not supported by Input: feed padded tensors, "
                             "ragged.to_tensor(), with Embedding(mask_zero=True) or a Masking layer.")
        if input_tensor is not None:
            batch_shape, dtype = self._take(input_tensor, dtype, shape, batch_size, batch_shape)
        elif shape is not None and batch_shape is not None:
            raise ValueError("You cannot pass both `shape` and `batch_shape` at the same time.")
        elif batch_size is not None and batch_shape is not None:
            raise ValueError("You cannot pass both `batch_size` and `batch_shape` at the same time.")
        elif shape is None and batch_shape is None:
            raise ValueError("You must pass a `shape` argument.")
        elif shape is not None:
            if isinstance(shape, (str, float)):
                raise ValueError(f"The shape of an Input must be a tuple of ints, but received {shape!r}.")
            batch_shape = (batch_size, *TensorShape(shape))
        batch_shape = tuple(TensorShape(batch_shape))
        for size in batch_shape:
            if size is not None and size < 0:
                raise ValueError(f"Every dimension of an Input must be positive or None, but received {batch_shape}.")
        self.__dict__.update(_batch_shape=batch_shape, _input_dtype=dtypes.name_of(dtype or config.floatx()))
        self.sparse, self.ragged = bool(sparse), False
        self.optional = bool(optional)
        if input_tensor is None:
            input_tensor = KerasTensor(batch_shape, dtype=self._input_dtype, sparse=self.sparse, name=name)
        self._add_node((), {}, input_tensor)
        self.built = True

    @staticmethod
    def _take(tensor, dtype, shape, batch_size, batch_shape):
        """Check the other arguments against an existing tensor; return its shape and dtype."""
        if not isinstance(tensor, KerasTensor):
            raise ValueError("Argument `input_tensor` must be a KerasTensor. Received invalid type: "
                             f"input_tensor={tensor} (of type {type(tensor)})")
        for name, given, own in (("shape", shape, tensor.shape[1:]), ("batch_size", batch_size, tensor.shape[0]),
                                 ("batch_shape", batch_shape, tensor.shape), ("dtype", dtype, tensor.dtype)):
            if given is None:
                continue
            same = dtypes.name_of(given) == own if name == "dtype" else given == own if name == "batch_size" else \
                tuple(given) == tuple(own)
            if not same:
                raise ValueError("When providing the `input_tensor` argument, you cannot provide an incompatible "
                                 f"`{name}` argument: the tensor has {own}, but {given} was given.")
        return tensor.shape, tensor.dtype

    def call(self):
        """Return nothing: an input computes nothing."""

    batch_shape = property(lambda self: self._batch_shape, doc="The shape, batch axis included.")
    dtype = property(lambda self: self._input_dtype, doc="The dtype of the input.")
    input_shape = batch_shape
    input = property(lambda self: self.output, doc="The symbolic tensor that it begins with.")

    def get_config(self):
        """Return the constructor's arguments."""
        return {"batch_shape": self.batch_shape, "dtype": self.dtype, "sparse": self.sparse, "ragged": False,
                "name": self.name, "optional": self.optional}


def Input(shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None, name=None, tensor=None,
          optional=False):
    """Return a symbolic tensor from which a functional model is built.

    Args:
        shape: shape without the batch axis; None dimensions accept any size.
        batch_size: fixed size of the batch axis.
        dtype: dtype of the input.
        sparse: whether sparse tensors are expected; they are made dense as they come.
        ragged: must be False.
        batch_shape: shape with the batch axis.
        name: name of the input.
        tensor: an existing symbolic tensor to use.
        optional: whether None may be passed for it.

    Example:
        >>> import fitloom as tf
        >>> x = tf.keras.Input(shape=(3,))
        >>> tf.keras.Model(x, x * 2.0)(tf.ones((1, 3))).numpy().tolist()
        [[2.0, 2.0, 2.0]]
    """
    return InputLayer(shape=shape, batch_size=batch_size, dtype=dtype, sparse=sparse, ragged=ragged,
                      batch_shape=batch_shape, name=name, input_tensor=tensor, optional=optional).output
