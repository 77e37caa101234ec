# SPDX-License-Identifier: Apache-2.0
"""`plot_model`: the graph, or the word on what is missing."""
import importlib.util

import pytest

import fitloom as tf
from fitloom import models

keras = tf.keras
HAS_PYDOT = importlib.util.find_spec("pydot") is not None


def net():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu")], name="inner")
    i = keras.Input((4,), name="first")
    return keras.Model(i, keras.layers.Add(name="plus")([inner(i), inner(i)]), name="net")


@pytest.mark.skipif(HAS_PYDOT, reason="pydot is installed")
def test_without_pydot_it_says_what_to_install():
    with pytest.raises(ImportError, match="pip install pydot"):
        models.plot_model(net(), to_file=None)


@pytest.mark.skipif(not HAS_PYDOT, reason="needs pydot")
@pytest.mark.parametrize("expand_nested", [False, True])
def test_nodes_and_edges(expand_nested, tmp_path):
    dot = models.model_to_dot(net(), show_shapes=True, show_dtype=True, show_trainable=True,
                              show_layer_activations=True, expand_nested=expand_nested)
    text = dot.to_string()
    assert "first" in text and "(None, 3)" in text and "plus" in text
    path = tmp_path / "net.dot"
    models.plot_model(net(), to_file=path)
    assert "digraph" in path.read_text()


@pytest.mark.skipif(not HAS_PYDOT, reason="needs pydot")
def test_an_unbuilt_model():
    with pytest.raises(ValueError, match="not yet been built"):
        models.model_to_dot(keras.Sequential([keras.layers.Dense(1)]))
