# SPDX-License-Identifier: Apache-2.0
import pytest

import fitloom as tf

regularizers = tf.keras.regularizers


def test_names_and_round_trip():
    for name, kind in (("l1", "L1"), ("L2", "L2"), ("l1l2", "L1L2"), ("l1_l2", "L1L2")):
        made = regularizers.get(name)
        assert type(made).__name__ == kind
        again = regularizers.deserialize(regularizers.serialize(made))
        assert again.get_config() == made.get_config()
    assert regularizers.get(None) is None


@pytest.mark.parametrize("value", [-0.1, float("nan"), "a"])
def test_bad_factor(value):
    with pytest.raises(ValueError, match="l2"):
        regularizers.L2(value)


def test_of_a_layer_joins_losses():
    layer = tf.keras.layers.Dense(2, kernel_regularizer="l2", kernel_initializer="ones")
    layer(tf.ones((1, 3)))
    assert [float(loss) for loss in layer.losses] == pytest.approx([0.06])


def test_unknown_name():
    with pytest.raises(ValueError, match="Unknown regularizer 'l3'"):
        regularizers.get("l3")
