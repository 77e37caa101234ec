# SPDX-License-Identifier: Apache-2.0
"""`tf.summary.trace_on` and `trace_export`: the graphs of the tf.functions called in between, and a profile."""
import warnings

import numpy as np

from fitloom.monitor import profiling, summaries
from fitloom.monitor.event_file import graph_def
from fitloom.tracing import Function
from fitloom.tracing.graphs import nodes_of


class _Trace:
    current = None

    def __init__(self, graph, profiler):
        self.graph, self.profiler, self.called = graph, profiler, {}

    def note(self, function, block, tensors):
        avals = tuple(tensor.aval for tensor in tensors)
        self.called.setdefault((id(block), avals), (function, block, avals))


def trace_on(graph=True, profiler=False, profiler_outdir=None):
    """Begin to note which tf.functions are called, and with `profiler` to record a profile into `profiler_outdir`."""
    if _Trace.current is not None:
        warnings.warn("A trace is running already; it goes on.", stacklevel=2)
        return
    if profiler and profiler_outdir is None:
        raise ValueError("tf.summary.trace_on(profiler=True) needs profiler_outdir, the folder for the profile.")
    _Trace.current = _Trace(graph, profiler)
    if graph:
        Function.watch = _Trace.current.note
    if profiler:
        profiling.start(profiler_outdir)


def trace_export(name, step=None, profiler_outdir=None):
    """Write the graphs noted since trace_on under the tag `name`, end the profile, and stop.

    Raises:
        ValueError: no trace is running, there is no default writer, or no step.
    """
    trace = _Trace.current
    if trace is None:
        raise ValueError("There is no trace to export. Begin one: tf.summary.trace_on(graph=True).")
    if summaries.default_writer() is None:
        raise ValueError("tf.summary.trace_export needs a default writer: with writer.as_default(): ...")
    step = summaries.get_step() if step is None else step
    if step is None:
        raise ValueError("No step set. Please specify one either through the `step` argument or through "
                         "tf.summary.experimental.set_step()")
    if trace.graph:
        nodes = [node for function, block, avals in trace.called.values()
                 for node in nodes_of(function.__name__, block.instruction(avals))]
        summaries.default_writer()._put([], lambda file: _write(file, name, step, nodes))
    trace_off()


def _write(file, name, step, nodes):
    def make():
        from tensorboard.compat.proto.config_pb2 import RunMetadata
        from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
        content = RunMetadata()
        content.function_graphs.add().pre_optimization_graph.CopyFrom(graph_def(nodes))
        content.partition_graphs.add().CopyFrom(graph_def(nodes))
        plugin = SummaryMetadata.PluginData(plugin_name="graph_run_metadata_graph", content=b"1")
        return np.array(content.SerializeToString(), object), SummaryMetadata(plugin_data=plugin)
    file.summary(name, step, make)


def trace_off():
    """Stop the trace and forget what it noted."""
    trace, _Trace.current, Function.watch = _Trace.current, None, None
    if trace is not None and trace.profiler and profiling.running():
        profiling.stop()
