# SPDX-License-Identifier: Apache-2.0
"""Looking into checkpoints: `tf.train.load_checkpoint`, `list_variables`, `load_variable`, `checkpoints_iterator`."""
import os
import time

from fitloom.base import dtypes, errors
from fitloom.base.errors import NotFoundError
from fitloom.saving.checkpoint import read_graph
from fitloom.saving.checkpoint_state import latest_checkpoint


class CheckpointReader:
    """The values of a checkpoint by key."""

    def __init__(self, save_path):
        self._values = {key: value for key, value in read_graph(save_path)["values"].items() if hasattr(value, "dtype")}

    def has_tensor(self, tensor_name):
        """Whether there is such a key."""
        return tensor_name in self._values

    def get_tensor(self, tensor_name):
        """Return a value as a NumPy array."""
        if tensor_name not in self._values:
            raise NotFoundError(f"The checkpoint has no key '{tensor_name}'."
                                + errors.did_you_mean(tensor_name, self._values))
        return self._values[tensor_name]

    def get_variable_to_shape_map(self):
        """Return a dict of key -> shape, a list."""
        return {key: list(value.shape) for key, value in self._values.items()}

    def get_variable_to_dtype_map(self):
        """Return a dict of key -> DType."""
        return {key: dtypes.as_dtype(value.dtype.name) for key, value in self._values.items()}

    def debug_string(self):
        """Return a table of keys, dtypes and shapes, as bytes."""
        lines = [f"{key} ({value.dtype.name}) {list(value.shape)}" for key, value in sorted(self._values.items())]
        return "\n".join(lines).encode()


def load_checkpoint(ckpt_dir_or_file):
    """Return a reader of a checkpoint, or of a folder's newest one.

    Raises:
        NotFoundError: there is none.
    """
    path = os.fspath(ckpt_dir_or_file)
    if os.path.isdir(path):
        found = latest_checkpoint(path)
        if found is None and not os.path.exists(os.path.join(path, "variables")):
            raise NotFoundError(f"There is no checkpoint in the folder '{path}'.")
        path = found or path
    return CheckpointReader(path)


def list_variables(ckpt_dir_or_file):
    """Return (key, shape) of everything in a checkpoint, sorted."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file, name):
    """Return the value of one key."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def checkpoints_iterator(checkpoint_dir, min_interval_secs=0, timeout=None, timeout_fn=None):
    """Yield a folder's newest checkpoint whenever there is a new one.

    Args:
        checkpoint_dir: the folder.
        min_interval_secs: least time between two checkpoints.
        timeout: seconds to wait for a new one; None waits for ever.
        timeout_fn: asked after a timeout; a true answer ends the iteration, a false one goes on waiting.
    """
    seen = None
    while True:
        end = None if timeout is None else time.monotonic() + timeout
        while (path := latest_checkpoint(checkpoint_dir)) in (None, seen):
            if end is not None and time.monotonic() >= end:
                break
            time.sleep(min(1.0, max(0.01, (end - time.monotonic()) if end is not None else 1.0)))
        if path in (None, seen):
            if timeout_fn is None or timeout_fn():
                return
            continue
        begin, seen = time.monotonic(), path
        yield path
        time.sleep(max(0.0, begin + min_interval_secs - time.monotonic()))
