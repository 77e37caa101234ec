# SPDX-License-Identifier: Apache-2.0
"""What is going on in this thread, and the lock under which recordings change."""
import threading
import weakref

# Recording takes well under a microsecond; one lock for all threads costs 0.06 us of it and lets any thread force
# another thread's pending work safely.
LOCK = threading.RLock()


class _Closed:
    """Stands where no trace is open."""
    closed, inline, eager, recording, parent, opened, ledger = True, False, False, False, None, (), None


CLOSED = _Closed()


_threads: list = []          # (weak reference to a thread, its context's attributes)


def traces_of_other_threads():
    """Return the open traces of all other threads."""
    if len(_threads) < 2:
        return ()
    _threads[:] = [(thread, state) for thread, state in _threads if (t := thread()) is not None and t.is_alive()]
    mine = threading.current_thread()
    return [state["trace"] for thread, state in _threads
            if thread() is not mine and "trace" in state and not state["trace"].closed and not state["trace"].inline]


class _Context(threading.local):
    trace = CLOSED          # the open trace
    applied = None          # the optimizer whose update ran at once, see recording.optimizer_applied
    eager = False           # a scope of this thread runs each operation at once
    seeds = None            # the seed_scope of this thread
    abstract_size = None    # during an evaluation without values: the size that stands for unknown dimensions
    autocast = None         # dtype name in which float Keras variables are read (mixed precision)
    placement = None        # the Placement of new variables: a strategy's scope is open
    replica = None          # the replica context of strategy.run, or of fit's step under a strategy

    def __init__(self):
        _threads.append((weakref.ref(threading.current_thread()), self.__dict__))


CONTEXT = _Context()


class _Settings:
    eager = False           # tf.config.run_functions_eagerly(True)
    check_numerics = False  # tf.debugging.enable_check_numerics()
    deterministic = False   # tf.config.experimental.enable_op_determinism()


SETTINGS = _Settings()


def records(trace) -> bool:
    """Whether a call may be recorded as one instruction: nothing is traced or run at once around it."""
    return trace.ledger is not None or not (trace.inline or trace.eager or CONTEXT.eager or SETTINGS.eager)


def leave_known_paths():
    """Make open traces keep books of their own, so that what comes next is looked at."""
    with LOCK:
        for trace in (CONTEXT.trace, *traces_of_other_threads()):
            if trace.ledger is not None:
                trace.keep_books()


class eager_scope:
    """Context in which each operation runs at once (`run_eagerly=True`)."""

    def __enter__(self):
        leave_known_paths()
        self.before, CONTEXT.eager = CONTEXT.eager, True

    def __exit__(self, *_):
        CONTEXT.eager = self.before


def run_functions_eagerly(run_eagerly):
    """Execute each operation at once instead of recording it, in all threads: for debugging."""
    leave_known_paths()
    SETTINGS.eager = bool(run_eagerly)


def functions_run_eagerly() -> bool:
    """Whether `run_functions_eagerly(True)` is in effect."""
    return SETTINGS.eager


def executing_eagerly() -> bool:
    """Whether values can be read here: False inside a function that is being traced."""
    return not CONTEXT.trace.inline
