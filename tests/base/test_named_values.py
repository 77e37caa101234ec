# SPDX-License-Identifier: Apache-2.0
"""`keras.utils.Config`."""
import copy
import pickle

import pytest

import fitloom as tf


def test_values_by_attribute_and_by_key():
    config = tf.keras.utils.Config(rate=0.1)
    config.seed = 3
    config["name"] = "a"
    assert config.rate == config["rate"] == 0.1 and list(config) == ["name", "rate", "seed"] and len(config) == 3
    assert config.to_json() == '{"rate": 0.1, "seed": 3, "name": "a"}' and "seed" in config
    assert config.pop("name") == "a" and config.get("name", 1) == 1
    assert copy.deepcopy(config).as_dict() == pickle.loads(pickle.dumps(config)).as_dict() == config.as_dict()
    with pytest.raises(AttributeError, match="Did you mean 'rate'"):
        config.rates
    with pytest.raises(AttributeError, match="method"):
        config.keys = 1


def test_a_frozen_config_refuses_changes():
    config = tf.keras.utils.Config(rate=0.1)
    config.freeze()
    assert config.frozen
    for change in (lambda: setattr(config, "rate", 1), lambda: config.update(rate=1), lambda: config.pop("rate")):
        with pytest.raises(ValueError, match="frozen"):
            change()
    config.unfreeze()
    config.rate = 1
    assert config.rate == 1


def test_the_only_engine_may_be_set():
    tf.keras.config.set_backend("jax")
    assert not tf.keras.config.is_nnx_enabled()
    with pytest.raises(ValueError, match="jax"):
        tf.keras.config.set_backend("torch")
