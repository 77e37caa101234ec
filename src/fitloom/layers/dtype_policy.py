# SPDX-License-Identifier: Apache-2.0
"""Dtype policies: in which precision a layer computes and in which it keeps its weights."""
from fitloom.base import config, dtypes, registry
from fitloom.base.errors import unknown_name
from fitloom.quantizers.configurations import MODES

_global_policy = None
_POLICY_NAMES = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "int8")


@registry.builtin("keras", "FloatDTypePolicy")
@registry.builtin("keras.dtype_policies", "FloatDTypePolicy")
class DTypePolicy:
    """The precision of a layer: a dtype to compute in and a dtype to keep variables in.

    Args:
        name: 'mixed_float16' or 'mixed_bfloat16' (compute in half precision, variables in float32), or a
            dtype name, which is then used for both.

    Example:
        >>> import fitloom as tf
        >>> policy = tf.keras.mixed_precision.Policy("mixed_bfloat16")
        >>> policy.compute_dtype, policy.variable_dtype
        ('bfloat16', 'float32')
    """

    quantization_mode = None

    def __init__(self, name=None):
        if isinstance(name, DTypePolicy):
            name = name.name
        name = getattr(dtype_policy(), "default_policy", dtype_policy()).name if name is None else name
        if not isinstance(name, str):
            name = dtypes.name_of(name)
        self._name = name
        if name.startswith("mixed_"):
            self._compute_dtype = name[len("mixed_"):]
            self._variable_dtype = "float32"
            if self._compute_dtype not in ("float16", "bfloat16"):
                raise unknown_name("dtype policy", name, _POLICY_NAMES)
            return
        try:
            self._compute_dtype = self._variable_dtype = dtypes.name_of(name)
        except TypeError:
            if "_from_" in name:
                raise ValueError(f"'{name}' is a quantized policy: make it with tf.keras.dtype_policies.get('{name}') "
                                 "or QuantizedDTypePolicy.") from None
            raise unknown_name("dtype policy", name, _POLICY_NAMES) from None

    name = property(lambda self: self._name)
    compute_dtype = property(lambda self: self._compute_dtype)
    variable_dtype = property(lambda self: self._variable_dtype)

    def get_config(self):
        """Return {'name': ...}."""
        return {"name": self._name}

    @classmethod
    def from_config(cls, config):
        """Make a policy from `get_config`'s dict."""
        return cls(**config)

    def __eq__(self, other):
        return self is other or (type(other) is type(self) and other.name == self.name)

    def __hash__(self):
        return hash(self._name)

    def __repr__(self):
        return f'<DTypePolicy "{self._name}">'


FloatDTypePolicy = Policy = DTypePolicy


@registry.builtin("keras.dtype_policies")
class QuantizedDTypePolicy(DTypePolicy):
    """The precision of a layer whose weights are quantized, such as 'int8_from_mixed_bfloat16'.

    Args:
        mode: 'int8' (implemented by Dense, EinsumDense and Embedding), 'int4', 'float8', 'gptq' or 'awq' (names only:
            layers refuse them).
        source_name: name of the policy for everything but the quantized weights; the global one by default.

    Raises:
        ValueError: an unknown mode, or int8 computed in float16.
    """

    def __init__(self, mode=None, source_name=None):
        source = DTypePolicy(source_name)
        if mode not in MODES:
            raise ValueError(f"Invalid quantization mode. Expected one of {MODES}. Received: mode={mode}")
        if mode == "int8" and source.compute_dtype == "float16":
            raise ValueError("Quantization mode='int8' doesn't work well with compute_dtype='float16': its largest "
                             "number is too small. Use 'int8_from_float32' or 'int8_from_mixed_bfloat16'.")
        self._name = f"{mode}_from_{source.name}"
        self._source_name, self._mode = source.name, mode
        self._compute_dtype, self._variable_dtype = source.compute_dtype, source.variable_dtype

    quantization_mode = property(lambda self: self._mode, doc="The mode.")

    def get_config(self):
        """Return the constructor's arguments."""
        return {"mode": self._mode, "source_name": self._source_name}

    def __repr__(self):
        return f'<QuantizedDTypePolicy "{self._name}">'


@registry.builtin("keras.dtype_policies")
class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """A policy of float8 weights: the name exists, layers refuse it.

    Args:
        mode, source_name: as in QuantizedDTypePolicy.
        amax_history_length: steps over which the largest magnitude is taken.
    """

    default_amax_history_length = 1024

    def __init__(self, mode, source_name=None, amax_history_length=1024):
        super().__init__(mode, source_name)
        if not isinstance(amax_history_length, int):
            raise TypeError("`amax_history_length` must be an integer. Received: "
                            f"amax_history_length={amax_history_length}")
        self.amax_history_length = amax_history_length

    def __eq__(self, other):
        return super().__eq__(other) and other.amax_history_length == self.amax_history_length

    __hash__ = QuantizedDTypePolicy.__hash__

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "amax_history_length": self.amax_history_length}


def _quantized(name):
    """Make the policy that a name such as 'int8_from_float32' says."""
    mode, _, source = name.partition("_from_")
    return (QuantizedFloat8DTypePolicy if mode == "float8" else QuantizedDTypePolicy)(mode, source)


class AWQDTypePolicy(QuantizedDTypePolicy):
    """A policy of activation-aware quantized weights; not implemented."""

    def __init__(self, mode=None, source_name=None):
        raise NotImplementedError(f"AWQDTypePolicy({mode!r}) is not implemented: use 'int8_from_float32' or a float "
                                  "policy.")


@registry.builtin("keras.dtype_policies")
class DTypePolicyMap(dict):
    """A dict from layer paths (exact, or regular expressions) to dtype policies.

    Args:
        default_policy: policy of layers that no key matches; None follows the global policy.
        policy_map: initial dict.
    """

    quantization_mode = None

    def __init__(self, default_policy=None, policy_map=None):
        super().__init__()
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError("If specified, `policy_map` must be a dict. "
                            f"Received: policy_map={policy_map} (of type {type(policy_map)})")
        self._default_policy = None if default_policy is None else get(default_policy)
        for key, policy in (policy_map or {}).items():
            self[key] = policy

    name = property(lambda self: "map_" + self.default_policy.name)
    default_policy = property(lambda self: self._default_policy or dtype_policy())
    compute_dtype = property(lambda self: self.default_policy.compute_dtype)
    variable_dtype = property(lambda self: self.default_policy.variable_dtype)

    def __setitem__(self, layer_path, policy):
        if layer_path in self:
            raise ValueError(f"'{layer_path}' already has the policy {dict.__getitem__(self, layer_path)} in this "
                             "DTypePolicyMap. Delete it first.")
        super().__setitem__(layer_path, get(policy))

    def __getitem__(self, layer_path):
        if layer_path in self:
            return super().__getitem__(layer_path)
        import re
        found = [key for key in self if re.search(key, layer_path)]
        if len(found) > 1:
            raise ValueError(f"Path '{layer_path}' matches several keys of the DTypePolicyMap: {found}.")
        return super().__getitem__(found[0]) if found else self.default_policy

    def __repr__(self):
        mapping = [(key, policy.name) for key, policy in self.items()]
        default = self._default_policy.name if self._default_policy is not None else None
        return f"<DTypePolicyMap at {hex(id(self))} default_policy={default}, mapping={mapping}>"

    def __eq__(self, other):
        return isinstance(other, DTypePolicyMap) and self._default_policy == other._default_policy and \
            dict.__eq__(self, other)

    __hash__ = None

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {"default_policy": None if self._default_policy is None else serialize(self._default_policy),
                "policy_map": {key: serialize(policy) for key, policy in self.items()}}

    @classmethod
    def from_config(cls, config):
        """Make a map from `get_config`'s dict."""
        return cls(config.get("default_policy"), config.get("policy_map"))


def dtype_policy():
    """Return the policy of layers that are given no dtype."""
    global _global_policy
    if _global_policy is None:
        return DTypePolicy(config.floatx())
    return _global_policy


def set_dtype_policy(policy):
    """Set the policy of layers made from now on: a DTypePolicy or its name, such as 'mixed_float16'."""
    global _global_policy
    _global_policy = None if policy is None else get(policy)


global_policy, set_global_policy = dtype_policy, set_dtype_policy


def get(identifier):
    """Return the policy for None (the global one), a policy, a name, a dtype or a serialized dict."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, (DTypePolicy, DTypePolicyMap)):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str) and identifier.partition("_from_")[0].startswith(MODES) and "_from_" in identifier:
        return _quantized(identifier)
    try:
        return DTypePolicy(identifier)
    except TypeError:
        raise ValueError(f"Cannot read {identifier!r} as a dtype policy. Use a name such as 'mixed_float16' or "
                         "'float32', or a DTypePolicy.") from None


def serialize(policy):
    """Return a policy as plain data."""
    return {"module": "keras", "class_name": type(policy).__name__, "config": policy.get_config(),
            "registered_name": None}


def deserialize(config, custom_objects=None):
    """Make a policy from `serialize`'s dict."""
    classes = {"DTypePolicy": DTypePolicy, "FloatDTypePolicy": DTypePolicy, "Policy": DTypePolicy,
               "DTypePolicyMap": DTypePolicyMap, "QuantizedDTypePolicy": QuantizedDTypePolicy,
               "QuantizedFloat8DTypePolicy": QuantizedFloat8DTypePolicy}
    name = config.get("class_name")
    if name in classes:
        return classes[name].from_config(config["config"])
    raise unknown_name("dtype policy class", name, classes)
