# SPDX-License-Identifier: Apache-2.0
"""Finding metrics by name, and their configurations."""
from fitloom.base import identifiers, naming, registry, serialization


def register_snake_case():
    """Let every metric class be found by its name in snake case too ('auc', 'f1_score', 'true_positives')."""
    for name in registry.names_in("keras.metrics"):
        found = registry.lookup(name, "keras.metrics")
        if isinstance(found, type):
            registry.builtin("keras.metrics", naming.to_snake_case(found.__name__))(found)


def serialize(metric):
    """Return the configuration of a Metric or a metric function."""
    return serialization.serialize_keras_object(metric)


def deserialize(config, custom_objects=None):
    """Return the metric that a configuration or a name stands for.

    Raises:
        ValueError: it stands for none.
    """
    return identifiers.deserialize("metric", config, "keras.metrics", custom_objects)


def get(identifier):
    """Return a metric: None stays None, a name or config gives an instance, a callable is returned as it is.

    Args:
        identifier: None, a name ('mse', 'AUC'), a config dict, a function or a Metric.

    Raises:
        ValueError: it stands for no metric.
    """
    return identifiers.get("metric", identifier, "keras.metrics")
