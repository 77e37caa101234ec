# SPDX-License-Identifier: Apache-2.0
"""`tf.train.Checkpoint`: save and restore the variables of a graph of objects.

A checkpoint is one file, '<path>.index' (where TensorFlow's scripts look for theirs), in the format of
`checkpoint_file`: whole or absent, every array with its SHA-256. Values are matched by the names of the edges of the
object graph, never by the names of variables, and wait for objects that do not exist yet.
"""
import inspect
import os

import numpy as np

from fitloom import engine
from fitloom.base import completion
from fitloom.base.errors import DataLossError, NotFoundError
from fitloom.saving import checkpoint_file, checkpoint_objects as objects, checkpoint_state
from fitloom.saving.background import Background

SUFFIX = ".index"


class CheckpointOptions:
    """How a checkpoint is written: `tf.train.CheckpointOptions`.

    Args:
        experimental_enable_async_checkpoint, enable_async: write in a thread; values are copied at once.
        experimental_write_callbacks: functions called after a write, with the path or without arguments.
        experimental_io_device: None or the host; files are written by the process that asks.
        experimental_skip_slot_variables: only False: slots are part of an optimizer's state.
        experimental_sharding_callback: only None: a checkpoint is one file.
    """

    def __init__(self, experimental_io_device=None, experimental_enable_async_checkpoint=False,
                 experimental_write_callbacks=None, enable_async=False, experimental_skip_slot_variables=False,
                 experimental_sharding_callback=None):
        if experimental_sharding_callback is not None or experimental_skip_slot_variables:
            raise ValueError("CheckpointOptions does not support experimental_sharding_callback and "
                             "experimental_skip_slot_variables: a checkpoint is one file with all values.")
        self.experimental_io_device, self.experimental_write_callbacks = experimental_io_device, \
            experimental_write_callbacks
        self.enable_async = bool(enable_async or experimental_enable_async_checkpoint)
        self.experimental_enable_async_checkpoint = self.enable_async


class Checkpoint:
    """Save and restore models, optimizers, variables, dataset iterators, and lists and dicts of them.

    Keyword arguments become attributes; attributes set later, and lists and dicts that grow later, belong to it too.
    What is restored before an object or a layer's weights exist is set as soon as they do.

    Args:
        root: an object whose attributes are stored as if they were the checkpoint's own.
        **kwargs: what to store, by name.

    Raises:
        ValueError: something that holds no variables.

    Example:
        >>> import tempfile, fitloom as tf
        >>> step = tf.Variable(3)
        >>> path = tf.train.Checkpoint(step=step).save(tempfile.mkdtemp() + "/ckpt")
        >>> again = tf.Variable(0)
        >>> status = tf.train.Checkpoint(step=again).restore(path)
        >>> _ = status.assert_consumed()
        >>> int(again)
        3

    Source: tensorflow.org/guide/checkpoint.
    """

    def __init__(self, root=None, **kwargs):
        self.__dict__.update(_root=None, _save_counter=None, _writer=Background())
        if root is not None and not (objects.is_trackable(root) or isinstance(root, (list, dict, tuple))):
            raise ValueError(_refusal("root", root))
        self.__dict__["_root"] = root
        for name, value in kwargs.items():
            if not objects.is_trackable(value) and not isinstance(value, (list, tuple, dict)):
                raise ValueError(_refusal(name, value))
            setattr(self, name, value)

    def __setattr__(self, name, value):
        if isinstance(value, (list, dict)) and not name.startswith("_"):
            value = grown(value, lambda: completion.completed(self))
        self.__dict__[name] = value
        completion.completed(self)

    def _checkpoint_children(self):
        found = {} if self._root is None else objects.children(self._root)
        found |= {name: value for name, value in vars(self).items() if not name.startswith("_")}
        if self._save_counter is not None:
            found["save_counter"] = self._save_counter
        return found

    @property
    def save_counter(self):
        """The number of calls of `save`, an int64 variable that is stored too."""
        if self._save_counter is None:
            with engine.outside():
                self._save_counter = engine.Variable(np.int64(0), dtype="int64", name="save_counter", trainable=False)
        return self._save_counter

    # -- writing

    def save(self, file_prefix, options=None):
        """Write '<file_prefix>-<n>', n counting up, and note it as the folder's latest; return that path."""
        path = f"{os.fspath(file_prefix)}-{int(self.save_counter.assign_add(1).numpy())}"
        self._write(path, options, lambda: checkpoint_state.update(os.path.dirname(path), path))
        return path

    def write(self, file_prefix, options=None):
        """Write to exactly this path, without counting; return the path."""
        path = os.fspath(file_prefix)
        self._write(path, options, lambda: None)
        return path

    def _write(self, path, options, noted):
        options = options or CheckpointOptions()
        state = graph_state(self)

        def write():
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            checkpoint_file.write(path + SUFFIX, state)
            noted()
            for callback in options.experimental_write_callbacks or ():
                callback(path) if inspect.signature(callback).parameters else callback()
        if options.enable_async:
            self._writer.submit(write)
        else:
            self._writer.wait()
            write()

    def sync(self):
        """Wait until asynchronous writes are done; raise what went wrong."""
        self._writer.wait()

    # -- reading

    def restore(self, save_path, options=None):
        """Read what `save` (or `write`) wrote into the objects; None restores nothing. Returns a status object.

        Raises:
            NotFoundError: no such checkpoint.
            DataLossError: it is damaged.
            ValueError: a variable of another shape or dtype; nothing has been changed then.
        """
        counter = self.save_counter
        status = self.read(save_path, options)
        if isinstance(status, LoadStatus):
            status._counter = counter
        return status

    def read(self, save_path, options=None):
        """Read what `write` wrote into the objects; returns a status object. Raises as `restore`."""
        self._writer.wait()
        if save_path is None:
            return InitializationOnlyStatus()
        return LoadStatus(Restoration(self, read_graph(save_path), lambda: read_graph(save_path)))


def _refusal(name, value):
    return (f"`Checkpoint` was expecting {name} to be a trackable object: a model, layer, optimizer, metric, "
            "tf.Module, tf.Variable, dataset iterator, or a list or dict of these; it got a "
            f"{type(value).__name__}: {value!r:.80}.")


# -- the file's content

def graph_state(root):
    """Return the objects below `root` as a checkpoint stores them: nodes with edges and keys, values by key."""
    nodes, values = [], {}
    for path, thing, edges in objects.walk(root):
        node: dict = {"children": edges}
        kind = objects.kind_of(thing)
        if kind is not None:
            node["key"] = objects.key_of(path, kind)
            values[node["key"]] = objects.value_of(thing)
        nodes.append(node)
    return {"nodes": nodes, "values": values}


def file_of(save_path):
    """Return the file of a checkpoint's path.

    Raises:
        NotFoundError: there is none.
        DataLossError: it is a checkpoint in TensorFlow's format.
    """
    path = os.fspath(save_path)
    if os.path.isdir(path) and os.path.exists(os.path.join(path, "variables", "variables" + SUFFIX)):
        path = os.path.join(path, "variables", "variables")
    for found in (path + SUFFIX, path if path.endswith(SUFFIX) else None):
        if found is not None and os.path.isfile(found):
            if os.path.exists(found.removesuffix(SUFFIX) + ".data-00000-of-00001"):
                raise DataLossError(f"'{path}' is a checkpoint in TensorFlow's own format, which cannot be read here. "
                                    "Save the model from TensorFlow as .keras or .weights.h5 instead.")
            return found
    raise NotFoundError(f"There is no checkpoint '{path}'. The path must be what save() returned, with the number at "
                        "its end, for example 'ckpt-1'; tf.train.latest_checkpoint(folder) finds the newest.")


def read_graph(save_path):
    """Return what `graph_state` returned when the checkpoint was written."""
    found = file_of(save_path)
    state = checkpoint_file.read(found)
    try:
        for node in state["nodes"]:
            if node.get("key", "") not in state["values"] and "key" in node or any(
                    not 0 <= child < len(state["nodes"]) for child in node["children"].values()):
                raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataLossError(f"The file '{found}' is no object graph's checkpoint.") from None
    return state


class Restoration:
    """Values of a checkpoint on their way into objects, some of which may come later.

    Args:
        root: the object of node 0.
        state: what `graph_state` returned; values that have been given are dropped from it.
        again: function that reads the state once more, for values that two objects want.

    Raises:
        ValueError: a shape or dtype differs; nothing has been changed.
    """

    def __init__(self, root, state, again):
        self.root, self.again, self.nodes, self.values = root, again, state["nodes"], state["values"]
        self.bound, self.used, self.matched = {}, set(), set()      # bound: id -> (object, its node's key)
        self.bind(root, 0)

    def bind(self, thing, place):
        """Match `thing` with a node, and what it holds with the nodes below; then set the values."""
        found, waiting, seen, queue = [], [], set(), [(thing, place)]
        for thing, place in queue:                                  # grows while we go through it
            if (id(thing), place) in seen:
                continue
            seen.add((id(thing), place))
            self.matched.add(place)
            node = self.nodes[place]
            if "key" in node:
                if self.bound.get(id(thing), (None, None))[1] != node["key"] and objects.kind_of(thing) is not None:
                    found.append((thing, node["key"]))
                continue
            edges = objects.children(thing)
            queue += [(edges[name], child) for name, child in node["children"].items() if name in edges]
            if any(name not in edges for name in node["children"]) or isinstance(thing, Checkpoint):
                waiting.append((thing, place))
        for thing, key in found:
            if key not in self.values:              # given to another object before
                self.values = self.again()["values"]
            objects.check(thing, self.values[key], key)
        objects.set_values([(thing, self.values[key]) for thing, key in found])
        for thing, key in found:
            self.bound[id(thing)] = (thing, key)
            self.used.add(key)
        for _, key in found:
            self.values.pop(key, None)
        for thing, place in waiting:
            if hasattr(thing, "__dict__"):
                completion.wait(thing, lambda thing, place=place: self.bind(thing, place))

    def unbound(self):
        """Return the variables below the root that the checkpoint gave no value."""
        return [thing for _, thing, _ in objects.walk(self.root)
                if objects.kind_of(thing) is not None and id(thing) not in self.bound]

    def unused(self):
        """Return the keys that no object has taken."""
        return [node["key"] for node in self.nodes if "key" in node and node["key"] not in self.used]


class LoadStatus:
    """What became of a restore; the assertions return the status itself, so that they can be chained."""

    def __init__(self, restoration, counter=None):
        self._restoration, self._counter = restoration, counter

    def assert_consumed(self):
        """Raise AssertionError unless every stored value was restored and every object has its value."""
        left = self._restoration.unused()
        if left:
            raise AssertionError(f"{len(left)} values of the checkpoint found no object: {_listing(left)}. Give the "
                                 "checkpoint the objects that were saved, or use expect_partial().")
        return self.assert_existing_objects_matched()

    def assert_existing_objects_matched(self):
        """Raise AssertionError unless every variable that exists got a value."""
        missing = [thing for thing in self._restoration.unbound() if thing is not self._counter]
        if missing:
            raise AssertionError(
                f"Found {len(missing)} Python objects that were not bound to checkpointed values, likely due to "
                f"changes in the Python program: {_listing(missing)}.")
        return self

    def assert_nontrivial_match(self):
        """Raise AssertionError if nothing at all was matched."""
        counted = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"
        if not self._restoration.used - {counted}:
            raise AssertionError("Nothing to load: no object of this program was matched with a stored value. The "
                                 f"checkpoint holds {_listing(self._restoration.unused())}.")
        return self

    def expect_partial(self):
        """Say that it is all right when some values are not used; returns the status."""
        return self

    def initialize_or_restore(self, session=None):
        """Do nothing: values are restored as soon as they can be."""

    run_restore_ops = initialize_or_restore


class InitializationOnlyStatus:
    """The status of `restore(None)`: nothing was restored."""

    def _nothing(self):
        raise AssertionError("No checkpoint specified (save_path=None); nothing is being restored.")

    assert_consumed = assert_existing_objects_matched = assert_nontrivial_match = run_restore_ops = _nothing

    def expect_partial(self):
        """Return the status."""
        return self

    def initialize_or_restore(self, session=None):
        """Do nothing: variables have their initial values."""


def _listing(things):
    names = [thing if isinstance(thing, str) else getattr(thing, "path", None) or repr(thing)[:80] for thing in things]
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


# -- lists and dicts of a checkpoint tell it when they grow

def grown(value, changed):
    """Return a list or dict as one that calls `changed()` after each change."""
    made = (_List if isinstance(value, list) else _Dict)(value)
    made.changed = changed
    return made


class _List(list):
    __hash__ = object.__hash__

    def __repr__(self):
        return f"ListWrapper({list.__repr__(self)})"


class _Dict(dict):
    __hash__ = object.__hash__

    def __repr__(self):
        return f"DictWrapper({dict.__repr__(self)})"


def _telling(kind, name):
    plain = getattr(kind, name)

    def method(self, *arguments, **keywords):
        result = plain(self, *arguments, **keywords)
        self.changed()
        return self if name.startswith("__i") else result
    method.__name__ = name
    return method


for _kind, _names in ((_List, "append extend insert pop remove clear sort reverse __setitem__ __delitem__ __iadd__"),
                      (_Dict, "update setdefault pop popitem clear __setitem__ __delitem__ __ior__")):
    for _name in _names.split():
        setattr(_kind, _name, _telling(_kind.__base__, _name))
