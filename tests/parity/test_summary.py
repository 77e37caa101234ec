# SPDX-License-Identifier: Apache-2.0
"""`summary()` prints Keras' text, character for character."""
import keras as reference
import pytest

import fitloom as tf


def mlp(keras):
    return keras.Sequential([keras.Input((784,)), keras.layers.Dense(512, activation="relu", name="a"),
                             keras.layers.Dropout(0.2, name="b"), keras.layers.Dense(10, name="c")], name="mlp")


def cnn(keras):
    i = keras.Input((28, 28, 1), name="image")
    x = keras.layers.Conv2D(8, 3, name="conv")(i)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(i, keras.layers.Dense(10, name="head")(x), name="cnn")


def branches(keras):
    a, b = keras.Input((4,), name="first_input"), keras.Input((None, 4), name="second_input")
    shared = keras.layers.Dense(8, name="shared")
    x = keras.layers.Concatenate(name="join")([shared(a), keras.layers.GlobalAveragePooling1D(name="pool")(shared(b))])
    y = keras.layers.Dense(1, name="score")(x)
    return keras.Model([a, b], [y, x], name="two_inputs")


def nested(keras):
    inner = mlp(keras)
    inner.trainable = False
    i = keras.Input((784,), name="i")
    return keras.Model(i, keras.layers.Dense(2, name="top")(inner(i)), name="outer")


def deferred(keras):
    return keras.Sequential([keras.layers.Dense(3, name="d")], name="later")


def subclass(keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.d1 = keras.layers.Dense(3, name="d1")
            self.d2 = keras.layers.Dense(2, name="d2")

        def build(self, shape):
            self.d1.build(shape)
            self.d2.build((None, 3))

        def call(self, x):
            return self.d2(self.d1(x))

    net = Net()
    net.build((None, 5))
    return net


def text_of(model, **kwargs):
    lines = []
    model.summary(print_fn=lambda text, line_break=True: lines.append(text), **kwargs)
    return "\n".join(lines)


@pytest.mark.parametrize("kwargs", [{}, {"show_trainable": True}, {"expand_nested": True, "line_length": 100},
                                    {"positions": [0.4, 0.7, 0.8, 1.0], "line_length": 90}], ids=str)
@pytest.mark.parametrize("make", [mlp, cnn, branches, nested, deferred, subclass])
def test_text(make, kwargs):
    if "positions" in kwargs and make is not branches:
        kwargs = {"positions": [0.4, 0.8, 1.0], "line_length": 90}
    assert text_of(make(tf.keras), **kwargs) == text_of(make(reference), **kwargs)


def test_layer_range():
    ours, theirs = cnn(tf.keras), cnn(reference)
    for chosen in (["conv", "pool"], ["norm", "head"], ["p.*", "f.*"]):
        assert text_of(ours, layer_range=chosen) == text_of(theirs, layer_range=chosen)
    with pytest.raises(ValueError, match="do not match"):
        text_of(ours, layer_range=["nothing", "head"])
    with pytest.raises(ValueError, match="[Ii]nsufficient console width"):
        text_of(ours, line_length=5)
