# SPDX-License-Identifier: Apache-2.0
"""`tf.profiler.experimental`: traces that TensorBoard's profile plugin and Perfetto read, made by jax.profiler."""
import dataclasses
import os
import warnings

import jax

from fitloom.base.errors import AlreadyExistsError, UnavailableError


@dataclasses.dataclass(frozen=True)
class ProfilerOptions:
    """What a profile records.

    Args:
        host_tracer_level: 0 nothing of the host, 1 what users annotate, 2 important events, 3 everything.
        python_tracer_level: 1 records every Python call.
        device_tracer_level: 0 leaves the device out where the platform allows that.
        delay_ms: accepted; the profile starts at once.
    """

    host_tracer_level: int = 2
    python_tracer_level: int = 0
    device_tracer_level: int = 1
    delay_ms: object = None


class _Session:
    running = False


def start(logdir, options=None):
    """Begin a profile that is written under `logdir`/plugins/profile.

    Raises:
        AlreadyExistsError: a profile is running.
    """
    if _Session.running:
        raise AlreadyExistsError("A profile is running already. Stop it first: tf.profiler.experimental.stop().")
    options = options or ProfilerOptions()
    if isinstance(options, dict):
        options = ProfilerOptions(**options)
    if options.delay_ms:
        warnings.warn("ProfilerOptions(delay_ms=...) is not used: the profile starts at once.", stacklevel=2)
    wanted = jax.profiler.ProfileOptions()
    wanted.host_tracer_level, wanted.python_tracer_level = options.host_tracer_level, options.python_tracer_level
    logdir = os.fspath(logdir)
    os.makedirs(logdir, exist_ok=True)
    jax.profiler.start_trace(logdir, profiler_options=wanted)
    _Session.running = True


def stop(save=True):
    """End the profile and write it (jax.profiler always writes; `save=False` is refused while one runs).

    Raises:
        UnavailableError: no profile is running.
    """
    if not _Session.running:
        raise UnavailableError("No profile is running. Begin one: tf.profiler.experimental.start(logdir).")
    if not save:
        raise ValueError("tf.profiler.experimental.stop(save=False) is not possible: jax.profiler writes what it "
                         "recorded. Call stop() and delete the folder.")
    _Session.running = False
    jax.effects_barrier()
    jax.profiler.stop_trace()


def running() -> bool:
    """Whether a profile is being recorded."""
    return _Session.running


class Profile:
    """Context that records a profile: `with tf.profiler.experimental.Profile(logdir): ...`"""

    def __init__(self, logdir, options=None):
        self._logdir, self._options = logdir, options

    def __enter__(self):
        start(self._logdir, self._options)
        return self

    def __exit__(self, *_):
        stop()


class Trace:
    """Context that names a stretch of work in a running profile; with `step_num=` it is a training step.

    Args:
        name: what the profile shows.
        kwargs: metadata shown with it, such as `step_num=7, _r=1`.
    """

    def __init__(self, name, **kwargs):
        kind = jax.profiler.StepTraceAnnotation if "step_num" in kwargs else jax.profiler.TraceAnnotation
        self._inner = kind(name, **kwargs)

    def set_metadata(self, **kwargs):
        """Refuse: metadata is given when the Trace is made."""
        raise NotImplementedError("Trace.set_metadata() does not exist here: give the metadata to Trace(name, ...).")

    def __enter__(self):
        self._inner.__enter__()
        return self

    def __exit__(self, *error):
        self._inner.__exit__(*error)


class Server:
    """A port at which TensorBoard's capture button and `jax.profiler` clients reach this process."""

    current = None


def start_server(port):
    """Listen on `port` for requests to profile this process: `tf.profiler.experimental.server.start`."""
    Server.current = jax.profiler.start_server(int(port))


for _name in ("Profile", "Trace", "ProfilerOptions"):
    globals()[_name].__module__ = "tf.profiler.experimental"
