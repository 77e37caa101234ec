# SPDX-License-Identifier: Apache-2.0
"""Build the native kernels: `python src/fitloom/ops/kernels/native/build.py [folder]`.

A plain shared library without Python's interface, so that one build serves every version of
Python. It needs a C++17 compiler that knows GCC's vector types (GCC or Clang) and jaxlib's
headers. `setup.py` calls `build` when a wheel is made; where it fails the package works without.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile

LIBRARY = "libfitloom_kernels.so"
_HERE = pathlib.Path(__file__).resolve().parent
_HANDLERS = (
    "runtime.cc", "convolution.cc", "winograd.cc", "recurrent.cc", "normalization.cc", "elementwise.cc",
    "attention.cc", "pooling.cc", "pictures.cc",
)

# Name, floats in a vector, number of vector registers, compiler flags.
_AVX512 = "-mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma"
_INSTRUCTION_SETS = {
    "x86_64": (("avx512", 16, 32, _AVX512), ("avx2", 8, 16, "-mavx2 -mfma")),
    "aarch64": (("neon", 4, 32, ""),),
}
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def build(folder: str | os.PathLike[str] = _HERE, sanitize: str = "") -> pathlib.Path:
    """Compile the library into `folder` and return its path.

    Args:
        folder: Where the library goes; it replaces an older one.
        sanitize: Sanitizers to build with, for example `'address,undefined'`.

    Raises:
        RuntimeError: If this machine or compiler cannot build it; the message says why.
    """
    machine = _MACHINES.get(platform.machine().lower())
    if machine is None or sys.platform not in ("linux", "darwin"):
        raise RuntimeError(f"no native kernels for {sys.platform} on {platform.machine()}")
    compiler = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or shutil.which("c++") or ""]
    if not compiler[0]:
        raise RuntimeError("no C++ compiler found (g++, c++ or $CXX)")
    flags = ["-std=c++17", "-O3", "-fno-math-errno", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
    if sanitize:
        # -O3 would take minutes with the checks in every loop.
        flags += ["-O1", "-g1", f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"]
    flags += shlex.split(os.environ.get("FITLOOM_NATIVE_FLAGS", ""))
    headers = [f"-I{_HERE}", "-isystem", _jaxlib_headers()]
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for name, lanes, registers, target in _INSTRUCTION_SETS[machine]:
            defines = [f"-DFITLOOM_SET={name}", f"-DFITLOOM_LANES={lanes}"]
            defines.append(f"-DFITLOOM_REGISTERS={registers}")
            objects.append(os.path.join(scratch, f"inner_loops_{name}.o"))
            source = str(_HERE / "inner_loops.cc")
            _run([*compiler, *flags, *target.split(), *defines, "-c", source, "-o", objects[-1]])
        for source in _HANDLERS:
            objects.append(os.path.join(scratch, source + ".o"))
            _run([*compiler, *flags, *headers, "-c", str(_HERE / source), "-o", objects[-1]])
        linked = os.path.join(scratch, LIBRARY)
        _run([*compiler, *flags, "-shared", *objects, "-o", linked])
        target_path = pathlib.Path(folder) / LIBRARY
        # A rename replaces the file as a whole: a process that has the old one keeps it.
        shutil.copyfile(linked, f"{target_path}.new")
        os.replace(f"{target_path}.new", target_path)
    return target_path


def _jaxlib_headers() -> str:
    specification = importlib.util.find_spec("jaxlib")
    for place in (specification.submodule_search_locations or []) if specification else []:
        if os.path.isfile(os.path.join(place, "include", "xla", "ffi", "api", "ffi.h")):
            return os.path.join(place, "include")
    raise RuntimeError("jaxlib, whose headers the native kernels need, is not installed")


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        raise RuntimeError("\n".join([shlex.join(command), *lines[:30]]))
    if result.stderr:
        sys.stderr.write(result.stderr)


if __name__ == "__main__":
    sys.stdout.write(f"{build(*sys.argv[1:])}\n")
