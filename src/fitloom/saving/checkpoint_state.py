# SPDX-License-Identifier: Apache-2.0
"""The file 'checkpoint' of a folder: which checkpoints there are and which is the latest, in TensorFlow's text form."""
import os
import re

from fitloom.saving import atomic

NAME = "checkpoint"


class CheckpointState:
    """What the file says; paths are relative to nothing: they include the folder."""

    def __init__(self, model_checkpoint_path="", all_model_checkpoint_paths=(), all_model_checkpoint_timestamps=(),
                 last_preserved_timestamp=None):
        self.model_checkpoint_path = model_checkpoint_path
        self.all_model_checkpoint_paths = list(all_model_checkpoint_paths)
        self.all_model_checkpoint_timestamps = list(all_model_checkpoint_timestamps)
        self.last_preserved_timestamp = last_preserved_timestamp


def update(folder, latest, paths=None, timestamps=(), preserved=None, filename=None):
    """Write the file."""
    def relative(path):
        return os.path.basename(path) if os.path.dirname(path) == folder else path
    lines = [("model_checkpoint_path", f'"{_escaped(relative(latest))}"')]
    lines += [("all_model_checkpoint_paths", f'"{_escaped(relative(path))}"') for path in paths or [latest]]
    lines += [("all_model_checkpoint_timestamps", repr(float(when))) for when in timestamps]
    lines += [] if preserved is None else [("last_preserved_timestamp", repr(float(preserved)))]
    atomic.write(os.path.join(folder, filename or NAME), "".join(f"{key}: {text}\n" for key, text in lines).encode())


def get_checkpoint_state(checkpoint_dir, latest_filename=None):
    """Return the CheckpointState of a folder, or None: `tf.train.get_checkpoint_state`."""
    folder = os.fspath(checkpoint_dir)
    try:
        with open(os.path.join(folder, latest_filename or NAME), encoding="utf-8") as file:
            entries = re.findall(r'^(\w+):\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))\s*$', file.read(), re.MULTILINE)
    except OSError:
        return None
    state = CheckpointState()
    for key, text, number in entries:
        path = os.path.join(folder, re.sub(r"\\(.)", r"\1", text))
        if key == "model_checkpoint_path":
            state.model_checkpoint_path = path
        elif key == "all_model_checkpoint_paths":
            state.all_model_checkpoint_paths.append(path)
        elif key == "all_model_checkpoint_timestamps":
            state.all_model_checkpoint_timestamps.append(float(number))
        elif key == "last_preserved_timestamp":
            state.last_preserved_timestamp = float(number)
    return state if state.model_checkpoint_path else None


def latest_checkpoint(checkpoint_dir, latest_filename=None):
    """Return the path of a folder's newest checkpoint, or None: `tf.train.latest_checkpoint`."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    for path in [] if state is None else [state.model_checkpoint_path, *reversed(state.all_model_checkpoint_paths)]:
        if os.path.exists(path + ".index"):
            return path
    return None


def _escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')
