# SPDX-License-Identifier: Apache-2.0
"""A file on disk is whole or absent: written beside its place, flushed to the disk, then renamed.

Whatever happens on the way (a kill, a full disk, an error in the code that writes), what was there stays as it was.
"""
import contextlib
import contextvars
import glob
import io
import itertools
import os
import shutil

try:
    import fcntl
except ImportError:         # Windows: files that a killed process left behind stay until somebody removes them
    fcntl = None  # type: ignore[assignment]

_count = itertools.count()
_submit: contextvars.ContextVar = contextvars.ContextVar("submit", default=None)


@contextlib.contextmanager
def replacing(path, previous=None):
    """Yield a new binary file; when the block ends without an error it becomes `path`, in one step.

    Args:
        path: where the content shall be; a symbolic link is followed.
        previous: path under which the content that is there now is kept; by default it is dropped.

    Raises:
        OSError: the folder does not exist or cannot be written, the disk is full; `path` is as it was.

    Example:
        with atomic.replacing("weights.bin") as file:
            file.write(content)
    """
    path = os.path.realpath(os.fspath(path))
    if os.path.isdir(path):
        raise IsADirectoryError(f"Cannot write the file '{path}': it is a folder.")
    submit = _submit.get()
    if submit is not None:
        memory = io.BytesIO()
        yield memory

        def written():
            with memory.getbuffer() as content:
                write(path, content, previous)

        submit(written)
        return
    file = None
    try:
        _remove_leftovers(path)
        file = _open_beside(path)
        with file:
            yield file
            file.flush()
            if os.path.exists(path):
                shutil.copymode(path, file.name)
            os.fsync(file.fileno())
            if previous is not None:
                _keep(path, previous)
            os.replace(file.name, path)
        _sync_folder(os.path.dirname(path))
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, f"Could not write the file: {error.strerror}. "
                      f"{'What was there before is untouched' if os.path.exists(path) else 'Nothing was written'}",
                      path) from error
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                os.remove(file.name)


def write(path, content, previous=None):
    """Make `content`, anything with the buffer interface, the file `path`; see `replacing`."""
    with replacing(path, previous) as file:
        file.write(content)


@contextlib.contextmanager
def in_background(submit):
    """Inside this block files are made in memory; `submit(function)` is given what writes them, for a thread."""
    token = _submit.set(submit)
    try:
        yield
    finally:
        _submit.reset(token)


def check_writable(folder):
    """Raise OSError unless files can be made in `folder`, which is created if it does not exist."""
    folder = os.fspath(folder) or "."
    os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"Cannot write files to the folder '{folder}': permission denied.")


def _open_beside(path):
    """Open a new file beside `path`, locked as long as it is open, so that nobody takes it for a leftover."""
    while True:
        name = f"{path}.{os.getpid()}-{next(_count)}.tmp"
        try:
            file = os.fdopen(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666),
                             "w+b")
        except FileExistsError:     # left behind by a killed process that had our number
            continue
        file = _Named(file, name)
        if fcntl is None:
            return file
        with contextlib.suppress(OSError):      # a file system without locks
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            if os.stat(name).st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except FileNotFoundError:
            pass        # another process removed it before it was locked
        file.close()


class _Named:
    """A file that knows its path."""

    def __init__(self, file, name):
        self._file, self.name = file, name

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def _remove_leftovers(path):
    """Remove the files that killed processes left beside `path`: nobody holds their locks."""
    if fcntl is None:
        return
    for name in glob.glob(f"{glob.escape(path)}.*-*.tmp"):
        with contextlib.suppress(OSError), open(name, "r+b") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.remove(name)


def _keep(path, previous):
    """Make `previous` name the content of `path`; `path` never disappears where the file system has hard links."""
    if not os.path.exists(path):
        return
    beside = f"{previous}.{os.getpid()}-{next(_count)}.tmp"
    try:
        os.link(path, beside)
        os.replace(beside, previous)
    except OSError:
        os.replace(path, previous)


def _sync_folder(folder):
    """Write the folder itself to the disk: otherwise a power cut may lose the new name."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(folder or ".", os.O_DIRECTORY)
    try:
        os.fsync(number)
    except OSError:         # some network file systems cannot
        pass
    finally:
        os.close(number)
