# SPDX-License-Identifier: Apache-2.0
"""`InputSpec`: what is accepted, and the words when it is not."""
import numpy as np
import pytest

import fitloom as tf

InputSpec = tf.keras.layers.InputSpec


def layer_with(spec):
    class Checked(tf.keras.layers.Layer):
        def __init__(self):
            super().__init__(name="checked")
            self.input_spec = spec

        def call(self, x):
            return x

    return Checked()


@pytest.mark.parametrize("spec, good, bad, words", [
    (dict(ndim=2), (2, 3), (2, 3, 4), "expected ndim=2, found ndim=3"),
    (dict(min_ndim=3), (1, 2, 3), (2, 3), "expected min_ndim=3, found ndim=2"),
    (dict(max_ndim=2), (1, 2), (2, 3, 4), "expected max_ndim=2, found ndim=3"),
    (dict(axes={-1: 4}), (2, 4), (2, 5), "expected axis -1 of input shape to have value 4"),
    (dict(shape=(None, 3)), (7, 3), (7, 4), r"expected shape=\(None, 3\), found shape=\(7, 4\)"),
    (dict(dtype="float32"), (2,), None, "expected dtype=float32, found dtype=int64"),
], ids=str)
def test_each_expectation(spec, good, bad, words):
    layer = layer_with(InputSpec(**spec))
    assert layer(np.ones(good)).shape == good
    with pytest.raises(ValueError, match=f"checked.*{words}"):
        layer(np.ones(bad) if bad else np.arange(2))


def test_several_inputs():
    layer = layer_with([InputSpec(ndim=1), InputSpec(ndim=2)])
    layer([np.ones(2), np.ones((2, 2))])
    with pytest.raises(ValueError, match="expects 2 input.* received 1"):
        layer(np.ones(2))
    named = layer_with([InputSpec(ndim=1, name="a"), InputSpec(ndim=1, name="b")])
    named({"a": np.ones(2), "b": np.ones(2)})
    with pytest.raises(ValueError, match="'b' is missing"):
        named({"a": np.ones(2)})


def test_the_constructor_checks():
    with pytest.raises(ValueError, match="Axis 3"):
        InputSpec(ndim=2, axes={3: 4})
    with pytest.raises(TypeError, match="axes"):
        InputSpec(axes=[1, 2])
    assert InputSpec(shape=(None, 3)).ndim == 2
    assert InputSpec.from_config(InputSpec(ndim=2, axes={1: 3}).get_config()).axes == {1: 3}
    assert repr(InputSpec(ndim=2, axes={1: 3})) == "InputSpec(ndim=2, axes={1: 3})"
