# SPDX-License-Identifier: Apache-2.0
"""`tf.compat.v1`: what TF 2 scripts still call from it. Sessions, placeholders and graphs do not exist."""

from __future__ import annotations

import logging as _logging

from fitloom import engine


class logging:
    """`tf.compat.v1.logging`: levels and the functions of the package's logger."""

    DEBUG, INFO, WARN, WARNING, ERROR, FATAL = 10, 20, 30, 30, 40, 50
    _logger = _logging.getLogger("tensorflow")
    debug, info, warning, warn, error, fatal = (_logger.debug, _logger.info, _logger.warning, _logger.warning,
                                                _logger.error, _logger.critical)

    @classmethod
    def set_verbosity(cls, v):
        """Set the least level that is shown."""
        cls._logger.setLevel(v)

    @classmethod
    def get_verbosity(cls):
        """Return the least level that is shown."""
        return cls._logger.level


def enable_eager_execution(*_, **__):
    """Do nothing: values can always be read."""


enable_v2_behavior = enable_v2_tensorshape = enable_resource_variables = enable_control_flow_v2 = enable_eager_execution


def set_random_seed(seed):
    """Start the program's stream of random numbers anew."""
    engine.set_seed(seed)


def executing_eagerly():
    """Return whether values can be read here."""
    return engine.executing_eagerly()


def _refuse(name):
    def refused(*_, **__):
        raise NotImplementedError(f"tf.compat.v1.{name} belongs to TensorFlow 1 graphs, which do not exist here. "
                                  "Use the TF 2 interface: tensors have values, tf.function compiles.")
    refused.__name__ = name
    return refused


disable_eager_execution, disable_v2_behavior, placeholder, Session, get_default_graph = map(
    _refuse, ("disable_eager_execution", "disable_v2_behavior", "placeholder", "Session", "get_default_graph"))
