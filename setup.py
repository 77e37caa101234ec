# SPDX-License-Identifier: Apache-2.0
"""Builds the native kernels into the wheel where that is possible; everything else is in pyproject.toml.

Where there is no compiler, or no jaxlib with its headers, the package is built without them and
runs on XLA alone: `fitloom.ops.kernels.platform.native_instruction_set()` tells which.
`FITLOOM_BUILD_NATIVE=1` makes a failure an error, as the release build wants it.
"""

import importlib.util
import os
import pathlib

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NATIVE = pathlib.Path(__file__).parent / "src" / "fitloom" / "ops" / "kernels" / "native"


def build_script():
    """Load native/build.py by its path: importing the package would need its dependencies."""
    specification = importlib.util.spec_from_file_location("fitloom_native_build", NATIVE / "build.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class BuildNative(build_ext):
    """Makes one shared library in place of Python extension modules."""

    def build_extension(self, ext):
        if self.editable_mode:
            folder = NATIVE
        else:
            folder = pathlib.Path(self.build_lib, *ext.name.split(".")[:-1])
        folder.mkdir(parents=True, exist_ok=True)
        script = build_script()
        try:
            script.build(folder)
        except (RuntimeError, OSError) as error:
            # One of an earlier build must not meet this version's Python.
            (folder / script.LIBRARY).unlink(missing_ok=True)
            if os.environ.get("FITLOOM_BUILD_NATIVE") == "1":
                raise
            self.warn(f"fitloom is built without native kernels and will run on XLA alone: {error}")

    def get_outputs(self):
        """The library, if it was built."""
        library = pathlib.Path(self.build_lib, "fitloom", "ops", "kernels", "native", build_script().LIBRARY)
        return [str(library)] if library.exists() else []

    def get_output_mapping(self):
        """Editable installs find the library beside its sources, where it is built."""
        return {}

    def copy_extensions_to_source(self):
        """Nothing to copy: see `build_extension`."""


class AnyPython(bdist_wheel):
    """A wheel for one platform and every Python 3: the library does not use Python's interface."""

    def get_tag(self):
        """Keep the platform of the tag only."""
        return "py3", "none", super().get_tag()[2]


SOURCES = [path.relative_to(pathlib.Path(__file__).parent).as_posix() for path in sorted(NATIVE.glob("*.cc"))]
HEADERS = [path.relative_to(pathlib.Path(__file__).parent).as_posix() for path in sorted(NATIVE.glob("*.h"))]

setup(
    ext_modules=[Extension("fitloom.ops.kernels.native.kernels", SOURCES, depends=HEADERS)],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": AnyPython},
)
