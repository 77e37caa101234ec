# SPDX-License-Identifier: Apache-2.0
"""`tf.profiler`. Names only."""
import types as _types

from fitloom.monitor import profiling as _profiling

experimental = _types.SimpleNamespace(
    Profile=_profiling.Profile, ProfilerOptions=_profiling.ProfilerOptions, Trace=_profiling.Trace,
    start=_profiling.start, stop=_profiling.stop, server=_types.SimpleNamespace(start=_profiling.start_server))
