# SPDX-License-Identifier: Apache-2.0
"""`tf.compat.v1`: what TF 2 scripts still call from it. Sessions, placeholders and graphs do not exist."""

from __future__ import annotations

import importlib
import logging as _logging

from fitloom import engine, ops


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


class networks:
    """`tf.compat.v1.nn`: the functions whose arguments were others."""

    @staticmethod
    def ctc_loss(labels, inputs=None, sequence_length=None, preprocess_collapse_repeated=False,
                 ctc_merge_repeated=True, ignore_longer_outputs_than_inputs=False, time_major=True, logits=None):
        """Return the CTC loss of sparse labels; `inputs` are logits, the blank is the last class."""
        if preprocess_collapse_repeated or not ctc_merge_repeated or ignore_longer_outputs_than_inputs:
            raise NotImplementedError("tf.compat.v1.nn.ctc_loss: only the default way of merging is implemented.")
        from fitloom.ops.losses import ctc_loss
        from fitloom.ops.sparse import to_dense

        logits = inputs if logits is None else logits
        rows = ops.cast(labels.indices[:, 0], "int32")
        lengths = ops.reduce_sum(ops.one_hot(rows, int(labels.dense_shape[0]), dtype="int32"), 0)
        return ctc_loss(to_dense(labels), logits, lengths, sequence_length, time_major, blank_index=-1)

    @staticmethod
    def ctc_beam_search_decoder(inputs, sequence_length, beam_width=100, top_paths=1, merge_repeated=True):
        """Return what `tf.nn.ctc_beam_search_decoder` gives, with equal neighbours of a path as one."""
        from fitloom.ops.decoding import ctc_beam_search_decoder

        return ctc_beam_search_decoder(inputs, sequence_length, beam_width, top_paths, merge_repeated)


_MESSAGES = {"Summary": "summary_pb2", "SummaryMetadata": "summary_pb2", "HistogramProto": "histogram_pb2",
             "Event": "event_pb2"}


def __getattr__(name):
    """Return one of TensorFlow's messages, which TensorBoard brings along."""
    if name not in _MESSAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"tensorboard.compat.proto.{_MESSAGES[name]}"), name)
