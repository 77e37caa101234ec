# SPDX-License-Identifier: Apache-2.0
"""`prefetch`: a thread computes elements ahead, where that pays."""
import threading
import time
from collections import deque

from fitloom.base.errors import DeadlineExceededError, InternalError
from fitloom.data import threads
from fitloom.data.plan import END, Flow, Node, resume, snapshot, start

# A hand-over between threads costs some 20-50 us; elements that take less are computed when they are asked for.
WORTH_SECONDS = 150e-6
TRIALS = 3                  # elements timed before the decision


class Prefetch(Node):
    """Elements computed ahead of the consumer."""

    name = "prefetch"

    def __init__(self, source, size):
        super().__init__(source)
        self.size = size

    def access(self):
        return self.inputs[0].access()

    def order(self, run):
        return self.inputs[0].order(run)

    def flow(self, run):
        return PrefetchFlow(self.inputs[0], run, self.size)


class PrefetchFlow(Flow):
    """Asks its source directly while that is quick, and through a thread once it is not.

    Each element travels with the source's snapshot after it, so the position is what the consumer has seen.
    """

    def __init__(self, node, run, size):
        self.node, self.run, self.size = node, run, size
        self.source, self.pulled, self.quickest, self.seen = None, 0, float("inf"), None
        self.ahead, self.place = None, None      # function that puts one component on the device, for the last flow

    def begin(self):
        self.source = start(self.node, self.run)

    def pull(self):
        if self.ahead is not None:
            element, self.seen, error = self.ahead.next()
            if error is not None:
                raise error
            return element
        begin = time.perf_counter()
        element = self.source.pull()
        if self.size:
            # the quickest of a few: a busy machine interrupts some
            self.quickest = min(self.quickest, time.perf_counter() - begin)
            self.pulled += 1
            if self.pulled >= TRIALS and element is not END:
                if self.quickest > WORTH_SECONDS:
                    self.seen = snapshot(self.source)       # before the thread moves on
                    self.ahead = Ahead(self.source, self.size, self.place)
                elif self.pulled == 64:
                    self.pulled, self.quickest = 0, float("inf")   # look again: a later stretch may be slower
        return element

    def skip(self, count):
        return Flow.skip(self, count) if self.ahead is not None else self.source.skip(count)

    def state(self):
        return (snapshot(self.source) if self.ahead is None else self.seen,)

    def restore(self, state):
        self.source = resume(self.node, self.run, state[0])

    def close(self):
        if self.ahead is not None:
            self.ahead.close()
        if self.source is not None:
            self.source.close()


class Ahead:
    """One thread that pulls a flow into a bounded queue; `place` puts what it pulled on the device."""

    def __init__(self, source, size, place=None):
        self.place = place
        # AUTOTUNE begins with two and grows when the consumer finds the queue empty
        self.limit, self.grows = (2, True) if size == threads.AUTOTUNE else (size, False)
        self.queue, self.changed, self.stopped, self.ended = deque(), threading.Condition(), False, False
        self.thread = threading.Thread(target=self._produce, args=(source,), name="fitloom-prefetch", daemon=True)
        threads.LIVE.add(self)
        self.thread.start()

    def _produce(self, source):
        while True:
            error = element = None
            try:
                element = source.pull()
                after = snapshot(source)
                if self.place is not None and element is not END:
                    element = tuple(map(self.place, element))
            except BaseException as raised:
                error, after = raised, snapshot(source)
            item = (element, after, error)
            with self.changed:
                while len(self.queue) >= self.limit and not self.stopped:
                    self.changed.wait(5.0)
                if self.stopped:
                    return
                self.queue.append(item)
                self.changed.notify_all()
            if element is END and error is None:
                return

    def next(self):
        """Return (element, snapshot after it, what it raised); wait no longer than the stall limit."""
        begin = None
        with self.changed:
            while not self.queue:
                if begin is None:
                    begin = time.monotonic()
                    if self.grows and self.limit < 8:
                        self.limit += 1
                if self.stopped:
                    return END, None, None
                if not self.thread.is_alive():
                    raise InternalError("The thread of Dataset.prefetch has died.")
                self.changed.wait(1.0)
                if not self.queue and time.monotonic() - begin > threads.STALL_SECONDS:
                    raise DeadlineExceededError(
                        f"Dataset.prefetch received no element for {threads.STALL_SECONDS:.0f} seconds. Look at what "
                        "the pipeline waits for, or set FITLOOM_DATA_STALL_SECONDS.")
            element, after, error = self.queue[0]
            if element is not END or error is not None:
                self.queue.popleft()                        # the end stays: it is told again to whoever asks again
                self.changed.notify_all()
        return element, after, error

    def close(self):
        """Stop; the thread ends after the element it is computing."""
        with self.changed:
            self.stopped = True
            self.queue.clear()
            self.changed.notify_all()

    def join(self, seconds=1.0):
        """Wait a little for the thread to end."""
        if self.thread is not threading.current_thread():
            self.thread.join(seconds)
