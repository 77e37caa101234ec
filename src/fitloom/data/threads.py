# SPDX-License-Identifier: Apache-2.0
"""Threads that compute ahead: bounded waits, errors where they are waited for, nothing left behind."""
import atexit
import os
import threading
import time
import weakref
from collections import deque

from fitloom.base.errors import DeadlineExceededError, InternalError, InvalidArgumentError

AUTOTUNE = -1
# A worker that gives nothing for so long ends the run. Long, because one element may be a large download.
STALL_SECONDS = float(os.environ.get("FITLOOM_DATA_STALL_SECONDS", "600"))
LIVE: "weakref.WeakSet" = weakref.WeakSet()


def worker_count(parallel, options=None) -> int:
    """Return the number of threads for `num_parallel_calls`: AUTOTUNE takes the processors there are."""
    if parallel is None:
        return 1
    if parallel == AUTOTUNE:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(2, min(16, cores))
    if parallel < 1:
        raise InvalidArgumentError("num_parallel_calls must be at least 1 or tf.data.AUTOTUNE, but received "
                                   f"{parallel}.")
    limit = getattr(getattr(options, "threading", None), "private_threadpool_size", None)
    return min(parallel, limit) if limit else parallel


MOST_WORKERS = 32          # AUTOTUNE adds threads up to so many while they spend their time waiting for something else
IDLE_SHARE = 0.15          # a call that keeps the processor busy for less of its time than this waits
TRIALS = 16                # calls looked at before each decision


class Task:
    """One call that a worker makes."""

    __slots__ = ("function", "arguments", "value", "error", "done", "workers", "elapsed_seconds", "busy_seconds")

    def __init__(self, workers, function, arguments):
        self.workers, self.function, self.arguments = workers, function, arguments
        self.value, self.error, self.done = None, None, False
        self.elapsed_seconds = self.busy_seconds = 0.0      # of the call; of the processor in it

    def result(self):
        """Wait for the value; raise what the call raised."""
        if not self.done:
            self.workers.wait(self)
        if self.error is not None:
            raise self.error
        return self.value


class Workers:
    """A few daemon threads that take tasks in order."""

    def __init__(self, count, name):
        self.name, self.tasks, self.closed = name, deque(), False
        self.changed, self.threads = threading.Condition(), []
        self.grow(count)
        LIVE.add(self)

    def grow(self, count):
        """Let there be `count` threads."""
        for i in range(len(self.threads), count):
            thread = threading.Thread(target=_work, args=(self.tasks, self.changed, weakref.ref(self)),
                                      name=f"fitloom-{self.name[:40]}-{i}", daemon=True)
            self.threads.append(thread)
            thread.start()

    def submit(self, function, *arguments) -> Task:
        """Queue a call."""
        task = Task(self, function, arguments)
        with self.changed:
            self.tasks.append(task)
            self.changed.notify()
        return task

    def wait(self, task):
        """Wait until a task is done, no longer than the stall limit."""
        begin = time.monotonic()
        with self.changed:
            while not task.done:
                self.changed.wait(1.0)
                if task.done:
                    break
                if not any(thread.is_alive() for thread in self.threads):
                    raise InternalError(f"The worker threads of {self.name} have died.")
                if time.monotonic() - begin > STALL_SECONDS:
                    raise DeadlineExceededError(
                        f"A worker of {self.name} gave no element for {STALL_SECONDS:.0f} seconds. Look at what the "
                        "function waits for, or set FITLOOM_DATA_STALL_SECONDS.")

    def close(self):
        """Stop the threads; those in the middle of a call end after it."""
        with self.changed:
            self.closed = True
            self.tasks.clear()
            self.tasks.extend([None] * len(self.threads))
            self.changed.notify_all()

    def join(self, seconds=1.0):
        """Wait a little for the threads to end."""
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(seconds)

    def __del__(self):
        self.close()


def _work(tasks, changed, owner):
    while True:
        with changed:
            while not tasks:
                changed.wait(5.0)
                if not tasks and owner() is None:
                    return
            task = tasks.popleft()
        if task is None:
            return
        begin, busy = time.perf_counter(), time.thread_time()
        try:
            task.value = task.function(*task.arguments)
        except BaseException as error:
            task.error = error
        task.elapsed_seconds, task.busy_seconds = time.perf_counter() - begin, time.thread_time() - busy
        task.function = task.arguments = None
        with changed:
            task.done = True
            changed.notify_all()
        del task


@atexit.register
def _stop_all():
    for workers in list(LIVE):
        workers.close()
        workers.join(0.5)
