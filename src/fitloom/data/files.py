# SPDX-License-Identifier: Apache-2.0
"""File names and whole files: `list_files`, `tf.io.read_file`, `write_file`, `matching_files`."""
import glob
import os

import numpy as np

from fitloom import engine
from fitloom.base.errors import InvalidArgumentError, NotFoundError
from fitloom.data import structure


def text_of(value) -> str:
    """Return a file name or other text as str, from str, bytes, a path or a scalar string tensor."""
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bytes):
        return value.decode()
    array = structure.to_numpy(value)
    if array.shape != () or array.dtype != structure.STRING:
        raise InvalidArgumentError(f"Expected one string, but received a tensor of shape {array.shape} and dtype "
                                   f"{array.dtype}.")
    return array[()].decode()


def names_of(value) -> list:
    """Return file names as a list of str, from one name, a list or a string tensor."""
    if isinstance(value, (str, bytes, os.PathLike)):
        return [text_of(value)]
    if isinstance(value, (list, tuple)):
        return [name for item in value for name in names_of(item)]
    array = structure.to_numpy(value)
    if array.dtype != structure.STRING:
        raise TypeError(f"File names are strings, but values of dtype {array.dtype} were received.")
    return [item.decode() for item in array.reshape(-1)]


def matching(patterns) -> np.ndarray:
    """Return the sorted names of the files that match, as an array of bytes."""
    found: list = []
    for pattern in names_of(patterns):
        found += [name for name in glob.glob(pattern) if not os.path.isdir(name)]
    return structure.strings(np.array(sorted(found), dtype=object))


def nothing_matches(patterns) -> InvalidArgumentError:
    """Return the error for patterns without a file."""
    names = names_of(patterns)
    return InvalidArgumentError(f"No files matched pattern: {', '.join(names)}. The current folder is {os.getcwd()}.")


def read_file(filename, name=None):
    """Return a file's content as a string scalar: `tf.io.read_file`.

    Raises:
        tf.errors.NotFoundError: there is no such file.
    """
    path = text_of(filename)
    try:
        with open(path, "rb") as file:
            content = np.empty((), object)
            content[()] = file.read()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file '{path}'.") from None
    return engine.Tensor(content)


def write_file(filename, contents, name=None):
    """Write a string scalar into a file, making its folder: `tf.io.write_file`."""
    path = text_of(filename)
    content = contents if isinstance(contents, bytes) else structure.to_numpy(contents)[()]
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def matching_files(pattern, name=None):
    """Return the names of the files that match: `tf.io.matching_files`."""
    return engine.Tensor(matching(pattern))
