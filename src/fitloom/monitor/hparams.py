# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters for TensorBoard's HParams tab: `tf.summary.hparams`.

The names are those of `tensorboard.plugins.hparams.api`, which imports tensorflow and so cannot be used without it;
the messages are made by the same package's `summary_v2`.

Example:
    from fitloom.summary import hparams as hp
    units = hp.HParam("units", hp.Discrete([16, 32]))
    with tf.summary.create_file_writer("logs/run-1").as_default():
        hp.hparams({units: 16})
        tf.summary.scalar("accuracy", accuracy, step=1)
"""
from tensorboard.plugins.hparams.summary_v2 import (
    Discrete as Discrete,
    Domain as Domain,
    HParam as HParam,
    IntInterval as IntInterval,
    Metric as Metric,
    RealInterval as RealInterval,
    hparams_config_pb as hparams_config_pb,
    hparams_pb as hparams_pb,
)

from fitloom.monitor import summaries


def hparams(hparams, trial_id=None, start_time_secs=None):
    """Write the hyperparameters of this run: a dict of names or HParams to bools, numbers or strings."""
    return _write(hparams_pb(hparams, trial_id=trial_id, start_time_secs=start_time_secs))


def hparams_config(hparams, metrics, time_created_secs=None):
    """Write an experiment's hyperparameters (HParams) and metrics (Metrics), once, in the folder above the runs."""
    return _write(hparams_config_pb(hparams=hparams, metrics=metrics, time_created_secs=time_created_secs))


def session_end(status="STATUS_SUCCESS"):
    """Write that the run has ended."""
    import time

    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(status), end_time_secs=time.time())
    plugin = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=info))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=SummaryMetadata.FromString(
        plugin.SerializeToString()), tensor=metadata.NULL_TENSOR)
    return _write(Summary(value=[value]))


def _write(message):
    return summaries.write_raw_pb(message.SerializeToString(), step=0)
