# SPDX-License-Identifier: Apache-2.0
"""Makes the files in this folder with Keras on TensorFlow: `KERAS_BACKEND=tensorflow python make_files.py FOLDER`."""
import sys

import keras
import numpy as np
import tensorflow as tf

RESULTS = {"text": [["c b zz"], ["e"]], "look": [["x"], ["q"]], "ints": [[7], [4]], "hash": [["x"], ["q"]]}


def models():
    """Yield (name, model): a text or whole number goes through one layer."""
    layers = keras.layers
    text = layers.TextVectorization(output_mode="int", output_sequence_length=4, name="text")
    text.adapt(np.array(["a b c", "b c d e"]))
    look = layers.StringLookup(name="look")
    look.adapt(np.array(["x", "y", "y"]))
    ints = layers.IntegerLookup(name="ints", output_mode="one_hot")
    ints.adapt(np.array([3, 3, 7]))
    for layer, shape, dtype in ((text, (), "string"), (look, (1,), "string"), (ints, (1,), "int64"),
                                (layers.Hashing(7, name="hash"), (1,), "string")):
        i = keras.Input(shape, dtype=dtype)
        yield layer.name, keras.Model(i, layer(i))


if __name__ == "__main__":
    for name, model in models():
        model.save(f"{sys.argv[1]}/{name}.keras")
        print(name, np.asarray(model(tf.constant(RESULTS[name]))).tolist())
