# SPDX-License-Identifier: Apache-2.0
"""`save_model`, `load_model`, `save_weights`, `load_weights`: by the file's suffix."""
import contextlib
import datetime as dt
import io
import json
import os
import tempfile
import warnings

from fitloom import engine
from fitloom.base import registry, serialization, tracebacks
from fitloom.base.errors import ModelFileNotFoundError
from fitloom.saving import archive, atomic, hdf5, legacy, safetensors_weights, weights
from fitloom.saving.hdf5 import DamagedFileError
from fitloom.saving.seal import append, seal
from fitloom.saving.tree import places

KERAS_VERSION = "3.15.1"        # whose formats these files follow
_LEGACY = (".h5", ".hdf5")
_SLACK_BYTES = 2 ** 25          # for variables that no file holds: metrics, random states


@tracebacks.short
def save_model(model, filepath, overwrite=True, zipped=None, include_optimizer=True, save_format=None, **unknown):
    """Write a model's architecture, weights, compile arguments and optimizer state to one file.

    The file replaces an older one only when it is complete.

    Args:
        model: the model.
        filepath: a path that ends in '.keras' (preferred) or '.h5', or a binary stream for the former.
        overwrite: whether an existing file may be replaced.
        zipped: None or True: a '.keras' file is a zip archive.
        include_optimizer: whether a '.h5' file holds the optimizer's state.
        save_format: Keras 2's name for what the suffix says: 'keras' or 'h5'.

    Raises:
        ValueError: another suffix.
        FileExistsError: the file exists and `overwrite` is False.
        OSError: it cannot be written; an older file is untouched.

    Example:
        >>> import fitloom as tf
        >>> model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
        >>> model.save("/tmp/fitloom_example.keras")
        >>> tf.keras.models.load_model("/tmp/fitloom_example.keras").count_params()
        8

    Source: keras.io/api/models/model_saving_apis.
    """
    unknown.pop("signatures", None), unknown.pop("options", None)       # of SavedModel
    if unknown:
        raise ValueError(f"The following argument(s) are not supported: {sorted(unknown)}")
    if save_format in ("tf", "tensorflow"):
        raise ValueError("Saving as a SavedModel directory is not supported. Save to a path that ends in `.keras`, or "
                         "use model.export(path) for serving.")
    if hasattr(filepath, "write"):
        _write_keras(model, filepath)
        return
    path = os.fspath(filepath)
    if zipped is False:
        raise ValueError("zipped=False (a folder instead of a file) is not supported. Save to a `.keras` file.")
    if not path.endswith((".keras", *_LEGACY)):
        raise ValueError("Invalid filepath extension for saving. Please add either a `.keras` extension for the native "
                         "Keras format (recommended) or a `.h5` extension. Use `model.export(filepath)` if you want to "
                         f"export a model for serving. Received: filepath={filepath}.")
    _check_overwrite(path, overwrite)
    if path.endswith(".keras"):
        with atomic.replacing(path) as file:
            _write_keras(model, file)
    else:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)          # as Keras does, for this suffix alone
        with atomic.replacing(path) as file:
            with hdf5.writing(file) as content:
                legacy.save(model, content, include_optimizer, KERAS_VERSION)
            append(file)


@tracebacks.short
def save_weights(model, filepath, overwrite=True, max_shard_size=None, objects_to_skip=()):
    """Write the variables of a model and of its optimizer to a '.weights.h5' file.

    A path that ends in '.safetensors' takes the model's weights alone (not in Keras).

    Raises:
        ValueError: another suffix, or a model that has no weights yet.
        FileExistsError: the file exists and `overwrite` is False.
    """
    path = os.fspath(filepath)
    if max_shard_size is not None:
        raise ValueError("max_shard_size (weights in several files) is not supported: leave it out.")
    if not path.endswith((".weights.h5", ".safetensors")):
        raise ValueError(f"The filename must end in `.weights.h5`. Received: filepath={path}")
    if not model.built:
        raise ValueError("You are saving a model that has not yet been built. Try building the model first by calling "
                         "it on some data or by using `build()`.")
    _check_overwrite(path, overwrite)
    if path.endswith(".safetensors"):
        safetensors_weights.save(model, path)
        return
    with atomic.replacing(path) as file:
        with hdf5.writing(file) as content:
            content.attrs[hdf5.SEALED] = True
            weights.save(model, content, objects_to_skip or ())
        append(file)


@tracebacks.short
def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """Return the model that `save_model`, or Keras, wrote.

    A file is data: only classes of this package, those registered with `register_keras_serializable` and
    `custom_objects` can be built from it, and no other file is read.

    Args:
        filepath: path of a '.keras' or '.h5' file, or a binary stream of a '.keras' file.
        custom_objects: dict from names to your classes and functions.
        compile: whether to compile the model as it was.
        safe_mode: whether to refuse byte code of lambdas; False runs code from the file.

    Raises:
        ValueError: not a model file, a damaged one (the message names the member), or one with forbidden content.
        TypeError: a class or function that is not known.
        FileNotFoundError: there is no such file.

    Source: keras.io/api/models/model_saving_apis.
    """
    if hasattr(filepath, "read"):
        return _load_keras(filepath, "the stream", custom_objects, compile, safe_mode)
    path = _existing(filepath)
    if os.path.isdir(path):
        raise ValueError(f"'{path}' is a folder. load_model reads `.keras` and `.h5` files; for a SavedModel or an "
                         "exported model use tf.keras.layers.TFSMLayer or what wrote it.")
    with open(path, "rb") as stream:
        start = stream.read(8)
        if start[:4] == b"PK\x03\x04" or path.endswith(".keras"):
            return _load_keras(stream, f"'{path}'", custom_objects, compile, safe_mode)
        if path.endswith(_LEGACY) or start == b"\x89HDF\r\n\x1a\n":
            with hdf5.Reader(stream, f"'{path}'") as reader:
                return legacy.load(reader, custom_objects, compile, building(safe_mode, custom_objects, reader))
    raise ValueError(f"File format not supported: filepath={path}. Models are read from `.keras` and `.h5` files.")


@tracebacks.short
def load_weights(model, filepath, skip_mismatch=False, by_name=False, objects_to_skip=(), **unknown):
    """Set a model's variables from a '.weights.h5', '.keras' or '.h5' file; all or nothing.

    Args:
        model: a built model.
        filepath: the file.
        skip_mismatch: skip layers whose arrays do not fit, with a warning.
        by_name: match layers by name ('.h5' files only).
        objects_to_skip: layers to leave alone.

    Raises:
        ValueError: a model that is not built; arrays that do not fit, with a table of them; a damaged file.
    """
    if unknown:
        raise ValueError(f"Invalid keyword arguments: {unknown}")
    path = _existing(filepath)
    if not path.endswith((".keras", ".safetensors", *_LEGACY)):
        raise ValueError(f"File format not supported: filepath={path}. Weights are read from `.weights.h5`, `.keras` "
                         "and `.h5` files.")
    if by_name and path.endswith((".keras", ".weights.h5")):
        raise ValueError(f"`by_name` only supports loading legacy '.h5' or '.hdf5' files. Received: {path}")
    if not model.built:
        raise ValueError("You are loading weights into a model that has not yet been built. Try building the model "
                         "first by calling it on some data or by using `build()`.")
    if path.endswith(".safetensors"):
        safetensors_weights.load(model, path, skip_mismatch)
        return
    with open(path, "rb") as stream:
        if path.endswith(".keras"):
            opened = archive.Archive(stream, f"'{path}'")
            with hdf5.Reader(opened.weights(), f"'{path}', member {archive.WEIGHTS}") as reader:
                weights.load(model, reader, skip_mismatch, objects_to_skip or (), opened.check_altered)
            return
        with hdf5.Reader(stream, f"'{path}'") as reader:
            # Keras 2 gave this form to .weights.h5 files, too
            if "model_weights" in reader.groups or reader.names("", "layer_names") is not None:
                legacy.load_weights(model, reader, by_name, skip_mismatch)
            else:
                weights.load(model, reader, skip_mismatch, objects_to_skip or (), reader.check_altered)


def _existing(filepath):
    path = os.fspath(filepath)
    if not os.path.exists(path):
        if "://" in path:
            raise ValueError(f"'{path}' is an address, not a file. Download it first; loading reads local files only.")
        raise ModelFileNotFoundError(f"No file or folder '{path}' (seen from '{os.getcwd()}').")
    return path


def _check_overwrite(path, overwrite):
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"'{path}' exists and overwrite=False. Choose another path, or remove the file.")


# -- .keras

def _write_keras(model, stream):
    if not model.built:
        warnings.warn("You are saving a model that has not yet been built. It might not contain any weights yet. "
                      "Consider building the model first by calling it on some data.", stacklevel=4)
    with serialization.ObjectSharingScope():
        config = json.dumps(serialization.serialize_keras_object(model))
    metadata = json.dumps({"keras_version": KERAS_VERSION, "sealed": True,
                           "date_saved": dt.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")})
    memory = io.BytesIO()
    with hdf5.writing(memory) as content:
        weights.save(model, content)
    seekable = stream if stream.seekable() and stream.readable() else io.BytesIO()
    with memory.getbuffer() as content:
        archive.write(seekable, config, metadata, content, _assets_of(model))
    seal(seekable)
    if seekable is not stream:
        with seekable.getbuffer() as content:
            stream.write(content)


def _load_keras(stream, label, custom_objects, compile, safe_mode):
    opened = archive.Archive(stream, label)
    config = opened.json(archive.CONFIG)
    if not isinstance(config, dict):
        raise DamagedFileError(f"{label}: the member '{archive.CONFIG}' describes no model.")
    if not compile:
        config["compile_config"] = None
    with hdf5.Reader(opened.weights(), f"{label}, member {archive.WEIGHTS}") as reader:
        with building(safe_mode, custom_objects, reader):
            model = serialization.deserialize_keras_object(config, custom_objects)
        if not hasattr(model, "load_own_variables") or not hasattr(model, "layers"):
            raise ValueError(f"{label} describes no model, but {type(model).__name__}.")
        _load_assets(model, opened)
        weights.load(model, reader, check=opened.check_altered)
    return model


@contextlib.contextmanager
def building(safe_mode, custom_objects, reader):
    """Context in which a file's configuration is turned into objects: safe, and no larger than the file's arrays.

    Raises:
        DamagedFileError: configurations that make no sense; what was wrong is its cause.
    """
    # the weights, an optimizer's state that is not in the file, and metrics
    limit = 4 * reader.declared_bytes + _SLACK_BYTES
    said = serialization.in_safe_mode()         # by enable_unsafe_deserialization(), or by a load around this one
    safe_mode = safe_mode if said is None else said
    with serialization.SafeModeScope(safe_mode), serialization.ObjectSharingScope(), \
            registry.custom_object_scope(custom_objects), engine.allocation_limit(
                limit, f"{reader.label} holds {reader.declared_bytes} bytes of arrays: the configuration does not "
                "belong to them"):
        try:
            yield
        except RecursionError as error:
            raise DamagedFileError(f"{reader.label}: the configuration is nested too deeply.") from error
        except (KeyError, IndexError, AttributeError, AssertionError, OverflowError, ZeroDivisionError,
                UnicodeError, MemoryError) as error:
            raise DamagedFileError(f"{reader.label}: the model's configuration is invalid: {type(error).__name__}: "
                                   f"{error}") from error


def _assets_of(model):
    """Return {path: content} of what layers with `save_assets` wrote to a folder of their own."""
    found = {}
    for place in places(model):
        if hasattr(place.thing, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                place.thing.save_assets(folder)
                for name in sorted(os.listdir(folder)):
                    with open(os.path.join(folder, name), "rb") as file:
                        found[f"{place.path}/{name}"] = file.read()
    return found


def _load_assets(model, opened):
    """Give each layer with `load_assets` a folder with its files; the names come from the model, not the file."""
    assets = opened.assets()
    for place in places(model):
        if not hasattr(place.thing, "load_assets"):
            continue
        path = next((p for p in place.paths if any(name.rpartition("/")[0] == p for name in assets)), None)
        if path is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for name, content in assets.items():
                parent, _, base = name.rpartition("/")
                if parent == path:
                    with open(os.path.join(folder, base), "wb") as file:
                        file.write(content)
            place.thing.load_assets(folder)
