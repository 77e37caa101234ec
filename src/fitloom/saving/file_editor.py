# SPDX-License-Identifier: Apache-2.0
"""`KerasFileEditor`: look into a weights file, compare it with a model, rename and remove what is in it."""
import os
import sys

from fitloom.saving import archive, atomic, hdf5
from fitloom.saving.seal import append
from fitloom.saving.weights import Store, places_and_variables


def _say(line):
    sys.stdout.write(f"{line}\n")


class KerasFileEditor:
    """The weights in a '.weights.h5' or '.keras' file, to be looked at and edited.

    An object is named by its path in the file ('layers/dense_1'), or by the path's last part if only one ends so.

    Args:
        filepath: the file.

    Raises:
        ValueError: another suffix, or a damaged file.

    Source: keras.io/api/models/model_saving_apis/keras_file_editor.
    """

    def __init__(self, filepath):
        self.filepath, self.metadata, self.config, self.model = os.fspath(filepath), None, None, None
        with open(self.filepath, "rb") as stream:
            weights, label = stream, f"'{self.filepath}'"
            if self.filepath.endswith(".keras"):
                opened = archive.Archive(stream, label)
                self.config, self.metadata = opened.json(archive.CONFIG), opened.json(archive.METADATA)
                weights, label = opened.weights(), f"{label}, member {archive.WEIGHTS}"
            elif not self.filepath.endswith(".weights.h5"):
                raise ValueError("Invalid filename: expected a `.keras` or `.weights.h5` extension. "
                                 f"Received: filepath={self.filepath}")
            with hdf5.Reader(weights, label) as reader:
                self._objects = {path: {name: reader.array(f"{group}/{name}") for name in reader.inside(group)}
                                 for path, group in sorted(reader.objects().items()) if reader.inside(group)}

    @property
    def weights_dict(self):
        """The arrays as nested dicts, by the parts of their paths."""
        tree: dict = {}
        for path, arrays in self._objects.items():
            node = tree
            for part in path.split("/"):
                node = node.setdefault(part, {})
            node.update(arrays)
        return tree

    def summary(self):
        """Print the objects and their arrays."""
        _say(f"Keras model file '{self.filepath}'")
        for path, arrays in self._objects.items():
            _say(path or "(the model itself)")
            for name, array in arrays.items():
                _say(f"    {name}: shape={array.shape}, dtype={array.dtype.name}")

    def compare(self, reference_model):
        """Print how the file differs from a model; return {"status", "error_count", "match_count"}."""
        errors, matches, wanted = [], 0, places_and_variables(reference_model)
        for path, variables in wanted.items():
            arrays = self._objects.get(path)
            if arrays is None:
                errors.append(f"Object {path} present in reference model, missing from saved file")
                continue
            for name, variable in variables.items():
                shape = tuple(variable.shape)
                if name not in arrays or arrays[name].shape != shape:
                    errors.append(f"Weight shape mismatch for {path}/{name}: in reference model shape={shape}, in "
                                  f"saved file {f'shape={arrays[name].shape}' if name in arrays else 'missing'}")
                else:
                    matches += 1
        errors += [f"Object {path} present in saved file, missing from reference model"
                   for path in self._objects if path not in wanted]
        for error in errors:
            _say(f"...{error}")
        _say(f"Found {len(errors)} errors: saved file is not compatible with the reference model" if errors else
              f"Comparison successful: saved file is compatible with the reference model; {matches} weights match")
        return {"status": "error" if errors else "success", "error_count": len(errors), "match_count": matches}

    def _find(self, name):
        name = name.strip("/")
        found = [name] if name in self._objects else [p for p in self._objects if p.split("/")[-1] == name]
        below = [path for path in self._objects if path.startswith(f"{name}/")]
        if not found and below:
            found = [name]
        if len(found) != 1:
            raise ValueError(f"Object '{name}' {'is not in' if not found else 'occurs several times in'} the file. Its "
                             f"objects: {sorted(self._objects)[:20]}. Give the whole path.")
        return found[0]

    def rename_object(self, object_name, new_name):
        """Rename an object; `new_name` is a name or a whole path."""
        path = self._find(object_name)
        new = new_name if "/" in new_name else "/".join([*path.split("/")[:-1], new_name])
        self._objects = {new + p[len(path):] if p == path or p.startswith(f"{path}/") else p: arrays
                         for p, arrays in self._objects.items()}

    def delete_object(self, object_name):
        """Remove an object and those inside it."""
        path = self._find(object_name)
        self._objects = {p: arrays for p, arrays in self._objects.items() if p != path and not p.startswith(f"{path}/")}

    def add_object(self, object_path, weights):
        """Add an object, {name: array}, at a path."""
        if not isinstance(weights, dict):
            raise ValueError(f"Argument `weights` should be a dict of arrays. Received: {type(weights).__name__}")
        self._objects[object_path.strip("/")] = dict(weights)

    def delete_weight(self, object_name, weight_name):
        """Remove one array of an object."""
        path = self._find(object_name)
        if weight_name not in self._objects.get(path, {}):
            raise ValueError(f"Weight {weight_name} not found in object {object_name}. Weights found: "
                             f"{sorted(self._objects.get(path, {}))}")
        del self._objects[path][weight_name]

    def add_weights(self, object_name, weights):
        """Add arrays, {name: array}, to an object."""
        self._objects[self._find(object_name)].update(weights)

    def save(self, filepath):
        """Write the edited weights to a '.weights.h5' file."""
        path = os.fspath(filepath)
        if not path.endswith(".weights.h5"):
            raise ValueError(f"Invalid `filepath` argument: expected a `.weights.h5` extension. Received: {path}")
        with atomic.replacing(path) as file:
            with hdf5.writing(file) as content:
                content.attrs[hdf5.SEALED] = True
                for name, arrays in self._objects.items():
                    store = Store(content.require_group(f"{name}/vars" if name else "vars"))
                    for key, array in arrays.items():
                        store[key] = array
            append(file)

    resave_weights = save
