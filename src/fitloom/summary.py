# SPDX-License-Identifier: Apache-2.0
"""`tf.summary`: what TensorBoard shows of a loop of one's own. Names only."""
import types as _types

from fitloom.callbacks.tensorboard import HParamsCallback as _KerasCallback
from fitloom.monitor import hparams as _hparams
from fitloom.monitor.summaries import (
    SummaryWriter as SummaryWriter,
    audio as audio,
    create_file_writer as create_file_writer,
    create_noop_writer as create_noop_writer,
    flush as flush,
    get_step as _get_step,
    graph as graph,
    histogram as histogram,
    image as image,
    record_if as record_if,
    scalar as scalar,
    set_step as _set_step,
    should_record_summaries as should_record_summaries,
    summary_scope as _summary_scope,
    text as text,
    write as write,
    write_raw_pb as _write_raw_pb,
)
from fitloom.monitor.traces import (
    trace_export as trace_export,
    trace_off as trace_off,
    trace_on as trace_on,
)

experimental = _types.SimpleNamespace(
    get_step=_get_step, set_step=_set_step, summary_scope=_summary_scope, write_raw_pb=_write_raw_pb)
# `tensorboard.plugins.hparams.api` imports tensorflow; these are its names
hparams = _types.SimpleNamespace(
    Discrete=_hparams.Discrete, Domain=_hparams.Domain, HParam=_hparams.HParam, IntInterval=_hparams.IntInterval,
    KerasCallback=_KerasCallback, Metric=_hparams.Metric, RealInterval=_hparams.RealInterval,
    hparams=_hparams.hparams, hparams_config=_hparams.hparams_config,
    hparams_config_pb=_hparams.hparams_config_pb, hparams_pb=_hparams.hparams_pb)
