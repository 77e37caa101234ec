# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.backend.function`: the values between some symbolic tensors."""
from fitloom import engine
from fitloom.base import nest
from fitloom.models.model import Model


def function(inputs, outputs, updates=None, name=None):
    """Return a function from values of symbolic `inputs` to the NumPy values of `outputs`.

    Args:
        inputs: symbolic tensors; `K.learning_phase()` among them stands for the flag `training`.
        outputs: symbolic tensor, or list of them.
        updates: must be empty: assignments belong into layers.
        name: name of the model inside.

    Example:
        >>> import fitloom as tf
        >>> x = tf.keras.Input((2,))
        >>> double = tf.keras.backend.function([x], [x * 2.0])
        >>> double([[[1.0, 2.0]]])[0].tolist()
        [[2.0, 4.0]]
    """
    if updates:
        raise ValueError("K.function() takes no `updates` here: assign to variables in a layer's call().")
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    symbols = [x for x in inputs if isinstance(x, engine.KerasTensor)]
    model = Model(symbols, outputs, name=name)

    def call(values):
        """Return the outputs for these values."""
        values = list(values) if isinstance(values, (list, tuple)) else [values]
        if len(values) != len(inputs):
            raise ValueError(f"The function takes {len(inputs)} values, but received {len(values)}.")
        given = [engine.convert_to_tensor(v, dtype=x.dtype) for v, x in zip(values, inputs)
                 if isinstance(x, engine.KerasTensor)]
        flags = [bool(v) for v, x in zip(values, inputs) if not isinstance(x, engine.KerasTensor)]
        found = model(given if len(given) > 1 else given[0], training=flags[0] if flags else None)
        found = nest.map_structure(lambda tensor: tensor.numpy(), found)
        return [found] if isinstance(outputs, list) and not isinstance(found, list) else found

    return call
