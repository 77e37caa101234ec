# SPDX-License-Identifier: Apache-2.0
"""`model.export`, `tf.saved_model`: functions and weights in a folder that runs without the code that made it.

A folder holds `manifest.json`, `variables/variables.index` (a checkpoint of the object graph), a StableHLO program
for each signature of each function, and `run.py`, with which JAX alone runs them. It is not TensorFlow's SavedModel:
that format is a TensorFlow graph.
"""
import json
import os
import shutil
import sys
import tempfile
import warnings

from fitloom.base import nest
from fitloom.base.errors import NoValueError, ValueNotKnownError
from fitloom.engine import TensorSpec
from fitloom.layers import Layer
from fitloom.saving import atomic, checkpoint_file, checkpoint_objects as objects
from fitloom.saving.checkpoint import SUFFIX, Checkpoint, graph_state
from fitloom.saving.exported import FORMAT, decode, encode
from fitloom.tracing import artefact, exporting
from fitloom.tracing.function import BoundFunction, ConcreteFunction, Function, function as make_function

DEFAULT = "serving_default"
_ELSEWHERE = {"onnx": "jax2onnx", "openvino": "openvino", "litert": "ai-edge-litert", "torch": "torch"}


# -- writing

class _Folder:
    """A folder in the making: written beside its place, then renamed."""

    def __init__(self, path, root):
        self.path = os.path.abspath(os.fspath(path))
        taken = bool(os.listdir(self.path)) if os.path.isdir(self.path) else os.path.exists(self.path)
        if taken and not os.path.exists(os.path.join(self.path, "manifest.json")):
            raise FileExistsError(f"'{self.path}' exists and holds no exported model. Give another path.")
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.made = tempfile.mkdtemp(prefix=os.path.basename(self.path) + ".", suffix=".tmp",
                                     dir=os.path.dirname(self.path))
        self.root, self.state, self.count = root, graph_state(root), 0
        self.keys = {}
        for path_, thing, _ in objects.walk(root):
            if objects.kind_of(thing) == objects.VALUE:
                self.keys[id(thing)] = objects.key_of(path_, objects.VALUE)
        self.variables = [thing for _, thing, _ in objects.walk(root) if id(thing) in self.keys]
        self.manifest = {"format": FORMAT, "functions": {}, "signatures": {}, "trainable": [
            self.keys[id(v)] for v in self.variables if v.trainable]}

    def program(self, fn, args, kwargs, name):
        """Export `fn(*args, **kwargs)`, TensorSpecs in the place of tensors; return its entry of the manifest."""
        leaves = nest.flatten((args, kwargs))
        specs = [leaf for leaf in leaves if isinstance(leaf, TensorSpec)]

        def body(*tensors):
            given = iter(tensors)
            filled, named = nest.pack_sequence_as((args, kwargs), [
                next(given) if isinstance(leaf, TensorSpec) else leaf for leaf in leaves])
            return fn(*filled, **named)
        try:
            made = exporting.export_function(body, self.variables, specs, name)
        except (ValueNotKnownError, NoValueError) as error:
            raise ValueError(f"'{name}' cannot be exported, because it looks at values, or makes text, which a program "
                             f"of numbers cannot. Export the part that computes numbers. {error}") from error
        file = f"function-{self.count}.stablehlo"
        self.count += 1
        with open(os.path.join(self.made, file), "wb") as stream:
            stream.write(made.content)
        return {"file": file, "arguments": encode((args, kwargs)), "result": encode(made.structure),
                "outputs": len(made.specs), "output_specs": [encode(spec) for spec in made.specs],
                "variables": [self.keys[id(v)] for v in self.variables], "written": made.written}

    def finish(self):
        """Write weights and manifest, and put the folder in its place."""
        os.makedirs(os.path.join(self.made, "variables"))
        checkpoint_file.write(os.path.join(self.made, "variables", "variables" + SUFFIX), self.state)
        shutil.copyfile(artefact.__file__, os.path.join(self.made, "run.py"))
        os.makedirs(os.path.join(self.made, "assets"))
        atomic.write(os.path.join(self.made, "manifest.json"), json.dumps(self.manifest, indent=1).encode())
        old = None
        if os.path.exists(self.path):
            old = tempfile.mkdtemp(prefix=os.path.basename(self.path) + ".", suffix=".old.tmp",
                                   dir=os.path.dirname(self.path))
            os.replace(self.path, os.path.join(old, "it"))
        os.chmod(self.made, 0o755)
        os.replace(self.made, self.path)
        if old is not None:
            shutil.rmtree(old)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            shutil.rmtree(self.made, ignore_errors=True)


def export_model(model, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs):
    """Write a model's forward pass to a folder that runs without the model's code: `Model.export`.

    Args:
        model: a built model.
        filepath: the folder.
        format: 'tf_saved_model' or 'stablehlo': both mean this format.
        verbose: whether to print what was written; by default yes.
        input_signature: TensorSpecs of the inputs; by default those that the model was built with.

    Raises:
        ValueError: a model that is not built, another format, or sizes that cannot stay open.

    Example:
        >>> import numpy as np, tempfile, fitloom as tf
        >>> model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
        >>> path = tempfile.mkdtemp() + "/exported"
        >>> model.export(path, verbose=False)
        >>> tf.saved_model.load(path).serve(np.zeros((5, 3), "float32")).shape.as_list()
        [5, 2]
    """
    if format not in ("tf_saved_model", "stablehlo"):
        hint = f" The package '{_ELSEWHERE[format]}' may turn the StableHLO program into it." \
            if format in _ELSEWHERE else ""
        raise ValueError(f"Unrecognized format={format!r}: models are exported as StableHLO ('tf_saved_model' and "
                         f"'stablehlo' mean the same).{hint}")
    if kwargs:
        raise ValueError(f"export() does not take {', '.join(map(repr, kwargs))} for this format.")
    if not model.built:
        raise ValueError("The model provided has not yet been built. It must be built before export: call it on data, "
                         "or model.build(input_shape).")
    archive = ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda *inputs: model(*inputs, training=False),
                         input_signature if input_signature is not None else signature_of(model))
    archive.write_out(filepath, verbose=verbose is None or bool(verbose))


def signature_of(model):
    """Return the TensorSpecs of a built model's call arguments, batches open."""
    graph = getattr(model, "_graph", None)
    if graph is not None:
        structure = graph.inputs_structure
        spec = nest.map_structure(lambda x: TensorSpec(tuple(x.shape), x.dtype, name=x.name), structure)
        return [spec[0] if isinstance(spec, list) and len(spec) == 1 else spec]
    shapes = model.__dict__.get("_build_shapes") or {}
    shape = shapes.get("input_shape") or next(iter(shapes.values()), None)
    if shape is None:
        raise ValueError("The model's input shape is not known. Give export() input_signature=[tf.TensorSpec(...)].")

    def spec_of(shape):
        if isinstance(shape, dict):
            return {key: spec_of(value) for key, value in shape.items()}
        if shape and isinstance(shape[0], (list, tuple)):
            return [spec_of(value) for value in shape]
        return TensorSpec((None, *tuple(shape)[1:]), getattr(model, "input_dtype", "float32"))
    return [spec_of(shape)]


class ExportArchive:
    """Several functions of models in one exported folder: `tf.keras.export.ExportArchive`.

    Example:
        archive = tf.keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serve", model.call, [tf.TensorSpec((None, 3))])
        archive.write_out("folder")
    """

    def __init__(self, format="tf_saved_model"):
        if format not in ("tf_saved_model", "stablehlo"):
            raise ValueError(f"Unrecognized format={format!r}: 'tf_saved_model' and 'stablehlo' mean StableHLO here.")
        self._endpoints, self._root = {}, Checkpoint()
        self._tracked, self._collections = [], {}

    def track(self, resource):
        """Store the variables of a layer, model or module."""
        self._tracked.append(resource)

    def add_endpoint(self, name, fn, input_signature=None, **kwargs):
        """Add a function; return it as a tf.function.

        Raises:
            ValueError: the name is taken, or no signature is known.
        """
        if name in self._endpoints:
            raise ValueError(f"Endpoint name '{name}' is already taken.")
        if kwargs:
            raise ValueError(f"add_endpoint() does not take {', '.join(map(repr, kwargs))}.")
        if input_signature is None:
            input_signature = getattr(fn, "input_signature", None)
        if input_signature is None and isinstance(fn, Layer):
            input_signature = signature_of(fn)
        if input_signature is None:
            raise ValueError(f"Endpoint '{name}' needs input_signature: a list of tf.TensorSpec.")
        self._endpoints[name] = (fn, nest.map_structure(_as_spec, list(input_signature)))
        return make_function(fn)

    def add_variable_collection(self, name, variables):
        """Store variables under a name."""
        self._collections[name] = list(variables)

    def write_out(self, filepath, options=None, verbose=True):
        """Write the folder."""
        if not self._endpoints:
            raise ValueError("No endpoints have been set yet. Call add_endpoint().")
        root = Checkpoint()
        if len(self._tracked) == 1:
            root.model = self._tracked[0]
        for i, resource in enumerate(self._tracked if len(self._tracked) != 1 else ()):
            setattr(root, f"tracked_{i}", resource)
        for name, variables in self._collections.items():
            setattr(root, name, variables)
        with _Folder(filepath, root) as folder:
            for name, (fn, signature) in self._endpoints.items():
                entry = folder.program(fn, tuple(signature), {}, name)
                folder.manifest["functions"][name] = [entry]
                folder.manifest["signatures"][name] = entry
            folder.manifest["signatures"].setdefault(DEFAULT, next(iter(folder.manifest["signatures"].values())))
            folder.finish()
        if verbose:
            lines = [f"* Endpoint '{name}'\n  args: {signature}\n  returns: "
                     f"{[decode(spec) for spec in folder.manifest['functions'][name][0]['output_specs']]}"
                     for name, (_, signature) in self._endpoints.items()]
            sys.stdout.write(f"Saved artifact at '{os.fspath(filepath)}'.\n\n" + "\n".join(lines) + "\n")


def _as_spec(value):
    if isinstance(value, TensorSpec):
        return value
    if hasattr(value, "shape") and hasattr(value, "dtype"):       # InputSpec, KerasTensor, array
        return TensorSpec(value.shape, value.dtype or "float32", name=getattr(value, "name", None))
    raise ValueError(f"input_signature must consist of tf.TensorSpec, but holds {value!r}.")


class SaveOptions:
    """Accepted for TensorFlow's sake: nothing of it applies to this format (`tf.saved_model.SaveOptions`)."""

    def __init__(self, **options):
        given = {name: value for name, value in options.items() if value not in (None, False, True, ())}
        if given:
            raise ValueError(f"SaveOptions: {', '.join(given)} has no meaning for a StableHLO artefact.")


LoadOptions = SaveOptions


def save(obj, export_dir, signatures=None, options=None):
    """Write the functions and variables of a tf.Module, a model, or another object: `tf.saved_model.save`.

    Each tf.function that hangs on the object is stored for its `input_signature`, or for the signatures that it was
    called with; a Keras model also as 'serve'. What comes back has these functions, variables, lists and dicts.

    Args:
        obj: the object.
        export_dir: the folder.
        signatures: a tf.function with a known signature, or a dict of them; by default a model's `serve`.
        options: a SaveOptions.

    Raises:
        ValueError: a signature that is not known, or an object without any variable or function.
    """
    if not objects.is_trackable(obj) and not hasattr(obj, "__dict__"):
        raise ValueError(f"saved_model.save expects a tf.Module or a Keras object, but received {obj!r:.80}.")
    root = Checkpoint(obj) if objects.is_trackable(obj) else Checkpoint(**{
        k: v for k, v in vars(obj).items() if objects.is_trackable(v)})
    with _Folder(export_dir, root) as folder:
        for path, thing in [("", obj), *((path, thing) for path, thing, _ in objects.walk(root)[1:])]:
            for name, fn in _functions_of(thing):
                known = _signatures_of(fn)
                taken = [found for found in known if not _takes_text(found)]
                entries = [folder.program(_eager(fn), args, kwargs, name) for args, kwargs in taken]
                if len(taken) < len(known):
                    warnings.warn(f"The function '{name}' is left out for text: {_TEXT}", stacklevel=2)
                if not known and _inner(fn).input_signature is not None:
                    entries = _of_unknown_rank(folder, fn, name)
                if entries:
                    folder.manifest["functions"][f"{path}/{name}".lstrip("/")] = entries
        if isinstance(obj, Layer) and obj.built and hasattr(obj, "get_config") and "serve" not in \
                folder.manifest["functions"]:
            entry = folder.program(lambda *inputs: obj(*inputs, training=False), tuple(signature_of(obj)), {}, "serve")
            folder.manifest["functions"].setdefault("serve", [entry])
            folder.manifest["functions"].setdefault("__call__", [entry])
            if signatures is None:
                folder.manifest["signatures"] = {DEFAULT: entry, "serve": entry}
        if signatures is not None and not isinstance(signatures, dict):
            signatures = {DEFAULT: signatures}
        for name, fn in (signatures or {}).items():
            folder.manifest["signatures"][name] = _signature(folder, name, fn)
        folder.finish()


_TEXT = ("text stays on the host, and programs are of numbers. Export the part that follows the vectorization of the "
         "text, and vectorize before calling it.")


def _takes_text(structure):
    """Return whether a spec of text is in a structure."""
    return any(isinstance(spec, TensorSpec) and spec.dtype.name == "string" for spec in nest.flatten(structure))


def _of_unknown_rank(folder, fn, name):
    """Return the programs of a function whose input_signature is of unknown rank: for a scalar and for a vector."""
    entries, reason = [], None
    for shape in ([], [None]):
        specs = nest.map_structure(lambda spec, shape=shape: TensorSpec(shape, spec.dtype) if isinstance(
            spec, TensorSpec) and spec.shape.rank is None else spec, tuple(_inner(fn).input_signature))
        try:
            entries.append(folder.program(_eager(fn), specs, {}, name))
        except (ValueError, TypeError, NotImplementedError) as error:            # not a function of this rank
            reason = error
    if not entries:
        warnings.warn(f"The function '{name}' is left out: its input_signature is of unknown rank, it has not been "
                      f"called, and it takes neither a scalar nor a vector: {reason}", stacklevel=3)
    return entries


def _of_vectors(folder, fn, name):
    """Return the program of a signature of unknown rank: a signature is one program, so it takes vectors."""
    warnings.warn(f"The signature '{name}' is of unknown rank: it is stored for vectors. Give a TensorSpec with "
                  "a shape to choose.", stacklevel=4)
    args, kwargs = nest.map_structure(lambda spec: TensorSpec([None], spec.dtype) if isinstance(
        spec, TensorSpec) and spec.shape.rank is None else spec, (fn.args, fn.kwargs))
    return folder.program(_eager(fn.function), args, kwargs, name)


def _signature(folder, name, fn):
    wanted = [(fn.args, fn.kwargs)] if isinstance(fn, ConcreteFunction) else _signatures_of(fn)[:1]
    if _takes_text(wanted):
        raise ValueError(f"The signature '{name}' takes text, which cannot be exported: {_TEXT}")
    if isinstance(fn, ConcreteFunction):
        if any(spec.shape.rank is None for spec in nest.flatten((fn.args, fn.kwargs)) if isinstance(spec, TensorSpec)):
            return _of_vectors(folder, fn, name)
        return folder.program(_eager(fn.function), fn.args, fn.kwargs, name)
    found = _signatures_of(fn)
    if not found:
        raise ValueError(f"The signature '{name}' of {fn!r} is not known: give the tf.function an input_signature, or "
                         "call get_concrete_function(tf.TensorSpec(...)).")
    return folder.program(_eager(fn), *found[0], name)


def _functions_of(thing):
    """Return (name, tf.function) of those that hang on an object or its class."""
    found = {name: value for name, value in getattr(thing, "__dict__", {}).items()
             if isinstance(value, (Function, BoundFunction))}
    for cls in type(thing).__mro__:
        for name, value in vars(cls).items():
            if isinstance(value, Function) and name not in found:
                found[name] = getattr(thing, name)
    return sorted(found.items())


def _inner(fn):
    return fn._function if isinstance(fn, BoundFunction) else fn


def _eager(fn):
    """Return the Python function: it is traced anew."""
    if isinstance(fn, BoundFunction):
        return lambda *args, **kwargs: fn(*args, **kwargs)
    return fn


def _covers(wider, narrower):
    """Return whether every call of one signature is one of the other, whose sizes may be open."""
    ours, theirs = (nest.flatten_with_paths(signature) for signature in (wider, narrower))
    return [path for path, _ in ours] == [path for path, _ in theirs] and all(
        theirs.is_subtype_of(TensorSpec(ours.shape, ours.dtype)) if isinstance(ours, TensorSpec) and isinstance(
            theirs, TensorSpec) else ours is theirs or type(ours) is type(theirs) and ours == theirs
        for (_, ours), (_, theirs) in zip(ours, theirs, strict=True))


def _signatures_of(fn):
    """Return (args, kwargs) with TensorSpecs: the input_signature, or of get_concrete_function and the calls so far."""
    inner = _inner(fn)
    wanted = getattr(inner, "input_signature", None)
    if wanted is not None and all(s.shape.rank is not None for s in nest.flatten(wanted) if isinstance(s, TensorSpec)):
        return [(tuple(wanted), {})]
    found = [(args, kwargs) for args, kwargs in getattr(inner, "_asked_for", ()) if all(
        spec.shape.rank is not None for spec in nest.flatten((args, kwargs)) if isinstance(spec, TensorSpec))]
    asked_for = list(found)
    for key, avals in getattr(inner, "_seen", ()):
        block, specs = inner._blocks[key], iter(avals)
        leaves = [TensorSpec(spec.shape, spec.dtype.name) if (spec := next(specs, None)) is not None else None
                  for _ in range(sum(map(repr(key[0]).count, ["<tensor>"])))]
        given = iter(leaves)
        flat = [next(given) if repr(mark) == "<tensor>" else value for mark, value in zip(key[0], block.values)]
        args, kwargs = nest.pack_sequence_as(block.outline, flat)
        if not any(_covers(wider, (tuple(args), dict(kwargs))) for wider in asked_for):
            found.append((args, kwargs))
    return [(tuple(args), dict(kwargs)) for args, kwargs in found]
