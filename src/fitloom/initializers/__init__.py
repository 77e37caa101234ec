# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.initializers`: how weights get their first values. Drawn on the host with NumPy."""
import numpy as np

from fitloom.base import identifiers, registry, serialization
from fitloom.initializers.constant_initializers import STFT, Constant, Identity, Ones, Zeros
from fitloom.initializers.initializer import Initializer, RandomInitializer
from fitloom.initializers.random_initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    compute_fans,
)

_NAMESPACE = "keras.initializers"
_NAMES = {
    Constant: "constant", Zeros: "zeros zero", Ones: "ones one", Identity: "identity IdentityInitializer",
    STFT: "stft STFTInitializer", RandomNormal: "random_normal normal", RandomUniform: "random_uniform uniform",
    TruncatedNormal: "truncated_normal", VarianceScaling: "variance_scaling",
    GlorotUniform: "glorot_uniform xavier_uniform", GlorotNormal: "glorot_normal xavier_normal",
    HeUniform: "he_uniform", HeNormal: "he_normal", LecunUniform: "lecun_uniform", LecunNormal: "lecun_normal",
    Orthogonal: "orthogonal OrthogonalInitializer",
}
for _class, _aliases in _NAMES.items():
    registry.builtin(_NAMESPACE, *_aliases.split())(_class)
    globals().update(dict.fromkeys(_aliases.split(), _class))   # tf.initializers.glorot_uniform


def get(identifier):
    """Return the initializer for a name, configuration, class, callable or array; None stays None.

    Example:
        >>> import fitloom as tf
        >>> tf.keras.initializers.get("he_normal").get_config()["seed"] is None
        True
    """
    if isinstance(identifier, np.ndarray) or (hasattr(identifier, "shape") and hasattr(identifier, "dtype")):
        return Constant(identifier)
    return identifiers.get("initializer", identifier, _NAMESPACE)


def serialize(initializer):
    """Return the initializer as plain data."""
    return serialization.serialize_keras_object(initializer)


def deserialize(config, custom_objects=None):
    """Return the initializer that `serialize` (or a name) describes."""
    return identifiers.deserialize("initializer", config, _NAMESPACE, custom_objects)
