# SPDX-License-Identifier: Apache-2.0
"""Let `import tensorflow` and `import keras` mean Fitloom in this process, for scripts that nobody wants to edit."""
import importlib
import importlib.abc
import importlib.util
import os
import runpy
import sys
import types

from fitloom.base import private_paths

# What the names of imports become; the longest that fits counts.
NAMES = {
    "tensorflow": "fitloom",
    "tensorflow.python.keras": "fitloom.keras",
    "tensorflow.keras": "fitloom.keras",
    "tf_keras": "fitloom.keras",
    "keras": "fitloom.keras",
}


class Aliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of `NAMES` and what lies under them: each is the one module of Fitloom, not a copy."""

    def find_spec(self, fullname, path=None, target=None):
        own = _own_name(fullname)
        if fullname == "tensorboard.plugins.hparams.api":           # it writes with tf.summary
            importlib.import_module("tensorboard.compat.tensorflow_stub.compat").v2 = importlib.import_module("fitloom")
        if own is None:
            return None
        module = _module(own)
        if module is None:
            raise ModuleNotFoundError(f"There is no module '{fullname}': Fitloom stands in for it and has no '{own}'. "
                                      "Import public names: tensorflow.keras.layers, keras.ops and the like.",
                                      name=fullname)
        spec = importlib.util.spec_from_loader(fullname, self, is_package=True)
        spec.loader_state = (module, module.__spec__)
        return spec

    def create_module(self, spec):
        return spec.loader_state[0]

    def exec_module(self, module):
        # It has been run under its own name, and keeps that.
        module.__spec__ = module.__spec__.loader_state[1] or module.__spec__
        if module.__name__ == "fitloom.keras":
            module.src = private_paths.module(private_paths.KERAS)      # read without an import of keras.src


def _module(name):
    """Return a module of Fitloom, also one known only as an attribute (`tf.compat.v1`), or None."""
    if f"{name}.".startswith((private_paths.KERAS + ".", private_paths.PYTHON + ".")):
        return private_paths.module(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(error.name or " "):
            raise                              # the module is there, and something that it needs is not
    parent, _, last = name.rpartition(".")
    found = getattr(_module(parent), last, None) if parent else None
    return found if isinstance(found, types.ModuleType) else None


def _own_name(fullname):
    """Return the module of Fitloom that `fullname` means, or None."""
    name, rest = fullname, ""
    while name:
        if name in NAMES:
            return NAMES[name] + rest
        name, _, last = name.rpartition(".")
        rest = f".{last}{rest}"
    return None


def install_as_tensorflow():
    """Let `import tensorflow`, `import keras`, `import tf_keras` and the modules under them mean Fitloom.

    For the whole process, from now on, whether the originals are installed or not; what was imported before stays.
    `python -m fitloom run script.py` does it for a script. Asked for twice, it does nothing.

    Raises:
        RuntimeError: TensorFlow or Keras itself has been imported already.

    Example:
        import fitloom
        fitloom.install_as_tensorflow()
        from tensorflow.keras.layers import Dense       # fitloom.keras.layers.Dense
    """
    if any(isinstance(finder, Aliases) for finder in sys.meta_path):
        return
    present = [name for name in NAMES if "." not in name and name in sys.modules]
    if present:
        raise RuntimeError(f"'{present[0]}' has been imported already. Call fitloom.install_as_tensorflow() before the "
                           "first import of TensorFlow or Keras, or start the script with python -m fitloom run.")
    sys.meta_path.insert(0, Aliases())
    # TensorBoard takes TensorFlow where it finds one; it is told that there is none.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


def run(arguments):
    """Run a script, or `-m module`, in which `import tensorflow` and `import keras` mean Fitloom."""
    install_as_tensorflow()
    module = arguments[0] == "-m"
    sys.argv = arguments[1:] if module else list(arguments)
    if module:
        sys.path.insert(0, "")
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        script = os.path.abspath(arguments[0])           # as Python itself has it in __file__
        sys.path[0] = os.path.dirname(script)
        runpy.run_path(script, run_name="__main__")
