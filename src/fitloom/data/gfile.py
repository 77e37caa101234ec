# SPDX-License-Identifier: Apache-2.0
"""`tf.io.gfile`: files and folders of the local disk, by TensorFlow's names. Remote schemes are an error."""
import glob as _glob
import os
import shutil

from fitloom.base.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, UnimplementedError


def _local(path):
    path = os.fspath(path.numpy() if hasattr(path, "numpy") else path)
    path = path.decode() if isinstance(path, bytes) else path
    scheme, separator, rest = path.partition("://")
    if not separator:
        return path
    if scheme == "file":
        return rest
    raise UnimplementedError(f"tf.io.gfile reads the local disk, but received '{path}'. Mount or download it first.")


class GFile:
    """A file: `with tf.io.gfile.GFile(path, 'r') as file`. Text in modes 'r', 'w', 'a'; bytes with 'b'."""

    def __init__(self, name, mode="r"):
        if mode.replace("+", "").replace("b", "") not in ("r", "w", "a"):
            raise ValueError(f"GFile expected a mode such as 'r', 'w', 'a', 'rb' or 'wb', but received '{mode}'.")
        self.name, self.mode, self._file = name, mode, None

    def _open(self):
        if self._file is None:
            try:
                binary = "b" in self.mode
                self._file = open(_local(self.name), self.mode, encoding=None if binary else "utf-8")
            except FileNotFoundError as error:
                raise NotFoundError(f"{self.name}; No such file or directory") from error
        return self._file

    def __enter__(self):
        self._open()
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        return iter(self._open())

    def read(self, n=-1):
        """Return the next `n` characters or bytes (all if -1)."""
        return self._open().read(n)

    def readline(self):
        """Return the next line, with its end."""
        return self._open().readline()

    def readlines(self):
        """Return all lines."""
        return self._open().readlines()

    def write(self, file_content):
        """Write text or bytes."""
        self._open().write(file_content)

    def seek(self, offset=None, whence=0, position=None):
        """Go to a position."""
        self._open().seek(position if offset is None else offset, whence)

    def seekable(self):
        """Whether the position can be set."""
        return True

    def tell(self):
        """Return the position."""
        return self._open().tell()

    def size(self):
        """Return the size in bytes."""
        self.flush()
        return os.path.getsize(_local(self.name))

    def flush(self):
        """Write what is buffered."""
        if self._file is not None and "r" not in self.mode:
            self._file.flush()

    def close(self):
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def exists(path):
    """Whether a file or folder exists."""
    return os.path.exists(_local(path))


def isdir(path):
    """Whether the path is a folder."""
    return os.path.isdir(_local(path))


def join(path, *paths):
    """Return the parts as one path."""
    return os.path.join(path, *paths)


def listdir(path):
    """Return the names in a folder."""
    if not isdir(path):
        raise NotFoundError(f"Could not find directory {path}")
    return os.listdir(_local(path))


def glob(pattern):
    """Return the paths that match a pattern, or a list of patterns."""
    patterns = [pattern] if isinstance(pattern, (str, bytes, os.PathLike)) else pattern
    return [path for one in patterns for path in sorted(_glob.glob(_local(one)))]


def walk(top, topdown=True, onerror=None):
    """Yield (folder, folders in it, files in it)."""
    return os.walk(_local(top), topdown, onerror)


def mkdir(path):
    """Make a folder; its parent exists."""
    try:
        os.mkdir(_local(path))
    except FileExistsError as error:
        raise AlreadyExistsError(f"{path}; File exists") from error
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}; No such file or directory") from error


def makedirs(path):
    """Make a folder and its parents; it may exist."""
    os.makedirs(_local(path), exist_ok=True)


def remove(path):
    """Remove a file."""
    try:
        os.remove(_local(path))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}; No such file or directory") from error


def rmtree(path):
    """Remove a folder and all in it."""
    if not exists(path):
        raise NotFoundError(f"{path}; No such file or directory")
    shutil.rmtree(_local(path))


def _free(path, overwrite):
    if not overwrite and exists(path):
        raise AlreadyExistsError(f"{path} exists; pass overwrite=True to replace it.")


def copy(src, dst, overwrite=False):
    """Copy a file."""
    _free(dst, overwrite)
    if not exists(src):
        raise NotFoundError(f"{src}; No such file or directory")
    shutil.copyfile(_local(src), _local(dst))


def rename(src, dst, overwrite=False):
    """Rename a file or folder."""
    _free(dst, overwrite)
    try:
        os.replace(_local(src), _local(dst))
    except FileNotFoundError as error:
        raise NotFoundError(f"{src}; No such file or directory") from error
    except OSError as error:
        raise FailedPreconditionError(str(error)) from error


def stat(path):
    """Return size and times of a file, with TensorFlow's attributes `length`, `mtime_nsec`, `is_directory`."""
    try:
        found = os.stat(_local(path))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}; No such file or directory") from error
    return FileStatistics(found.st_size, found.st_mtime_ns, isdir(path))


class FileStatistics:
    """What `stat` returns."""

    def __init__(self, length, mtime_nsec, is_directory):
        self.length, self.mtime_nsec, self.is_directory = length, mtime_nsec, is_directory


def get_registered_schemes():
    """Return the schemes that can be read: the local disk's."""
    return ["", "file"]
