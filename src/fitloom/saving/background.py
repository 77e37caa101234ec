# SPDX-License-Identifier: Apache-2.0
"""Work that a thread does while training goes on: writing files."""
import threading


class Background:
    """Run functions one after the other in a thread; an error is raised by the next call here.

    The thread lives as long as there is work, and Python waits for it before it exits.
    """

    def __init__(self):
        self._thread, self._error = None, None

    def submit(self, work):
        """Run `work()` in the thread, after what was submitted before."""
        self.wait()

        def run():
            try:
                work()
            except BaseException as error:
                self._error = error
        self._thread = threading.Thread(target=run, name="fitloom-writer", daemon=False)
        self._thread.start()

    def wait(self):
        """Wait until everything is done; raise what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
