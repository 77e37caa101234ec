# SPDX-License-Identifier: Apache-2.0
"""Dtype policies, by name, by object, by path, globally."""
import pytest

import fitloom as tf

keras = tf.keras
layers = keras.layers


@pytest.fixture
def restore_policy():
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("name, compute, variable", [
    ("float32", "float32", "float32"), ("mixed_float16", "float16", "float32"),
    ("mixed_bfloat16", "bfloat16", "float32"), ("float16", "float16", "float16"), ("float64", "float64", "float64")])
def test_names(name, compute, variable):
    policy = keras.mixed_precision.Policy(name)
    assert (policy.name, policy.compute_dtype, policy.variable_dtype) == (name, compute, variable)
    assert policy == keras.dtype_policies.DTypePolicy(name) and hash(policy) == hash(keras.DTypePolicy(name))
    assert keras.dtype_policies.deserialize(keras.dtype_policies.serialize(policy)) == policy
    assert repr(policy) == f'<DTypePolicy "{name}">'


def test_unknown_names_have_near_ones():
    with pytest.raises(ValueError, match="mixed_bfloat16"):
        keras.mixed_precision.Policy("mixed_bfloat61")
    with pytest.raises(ValueError, match="float32"):
        keras.mixed_precision.Policy("flot32")
    with pytest.raises(ValueError, match="policy"):
        keras.dtype_policies.get(3.5)
    with pytest.raises(ValueError, match="quantized policy"):
        keras.mixed_precision.Policy("int8_from_float32")
    with pytest.raises(ValueError, match="Invalid quantization mode"):
        keras.dtype_policies.QuantizedDTypePolicy("int7", "float32")


def test_global_policy(restore_policy):
    assert keras.mixed_precision.global_policy().name == "float32"
    keras.mixed_precision.set_global_policy("mixed_float16")
    layer = layers.Dense(2)
    assert layer.dtype_policy.name == "mixed_float16" and layer.compute_dtype == "float16"
    assert layers.Dense(2, dtype="float32").compute_dtype == "float32"
    keras.mixed_precision.set_global_policy(keras.mixed_precision.Policy("bfloat16"))
    assert layers.Dense(2).dtype == "bfloat16"


def test_no_cast_stands_in_the_graph(restore_policy):
    keras.mixed_precision.set_global_policy("mixed_float16")
    i = keras.Input((3,), dtype="float32")
    model = keras.Model(i, layers.Dense(2)(i))
    assert len(model.operations) == 2 and model.output.dtype == "float16"


def test_a_policy_by_path():
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["net/half"] = "mixed_float16"
    policies[".*/b.*"] = keras.dtype_policies.DTypePolicy("bfloat16")
    assert policies["net/half"].name == "mixed_float16"
    assert policies["net/brain"].name == "bfloat16" and policies["other"].name == "float32"
    again = keras.dtype_policies.deserialize(keras.dtype_policies.serialize(policies))
    assert again["net/half"].name == "mixed_float16" and len(again) == 2
    with pytest.raises(ValueError, match="already"):
        policies["net/half"] = "float32"
    policies["net/b1.*"] = "float64"
    with pytest.raises(ValueError, match="several"):
        policies["net/b1"]


def test_a_configuration_keeps_the_policy():
    layer = layers.Dense(2, dtype="mixed_bfloat16")
    assert layers.Dense.from_config(layer.get_config()).dtype_policy.name == "mixed_bfloat16"


def test_a_policy_without_a_name_is_the_global_one(restore_policy):
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert keras.DTypePolicy().name == "mixed_bfloat16"
