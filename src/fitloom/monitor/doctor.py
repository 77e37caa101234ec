# SPDX-License-Identifier: Apache-2.0
"""`python -m fitloom doctor`: what runs here, how, and whether XLA's known faults strike on this processor."""
import importlib.metadata
import os
import platform
import subprocess
import sys

import jax

from fitloom.engine import allocator
from fitloom.engine.compiler_flags import REMEDY
from fitloom.ops.kernels.platform import native_instruction_set

# Each runs in a process of its own, because some faults end the process. Sources: issues of jax-ml/jax.
CHECKS = {
    "a matrix product, squared and summed, above 32 K rows (39103)": """
rows = np.arange(40_000, dtype=np.float32)
x = np.stack([rows, 0 * rows, 0 * rows], 1)
f = jax.jit(jax.vmap(lambda row: jnp.square(jnp.eye(3, dtype=np.float32) @ row).sum()))
sys.exit(not np.allclose(np.asarray(f(x)), rows ** 2, rtol=1e-5))
""",
    "a product of rank 7 summed over an inner axis (39257, 40412)": """
shape = (3, 1, 2, 2, 8, 8, 8)
x, y = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
sum_ = jax.jit(lambda a, b: (a * b).sum(3))(x, y)
sys.exit(not np.allclose(np.asarray(sum_), (x * y).sum(3), rtol=1e-4, atol=1e-5))
""",
}
_START = "import sys, jax, jax.numpy as jnp, numpy as np\n"
_OURS = "import fitloom.engine\n"


def passes(check, flags="", seconds=120, ours=True) -> bool:
    """Run one of CHECKS in a new process, with our settings or without; return whether XLA gave the right answer."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "0"}
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    try:
        done = subprocess.run([sys.executable, "-c", _OURS * ours + _START + CHECKS[check]], env=environment,
                              timeout=seconds, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def facts() -> dict:
    """Return {what: finding} without the checks of XLA."""
    kept = getattr(jax.config, "jax_compilation_cache_dir", None)
    return {
        "fitloom": _version("fitloom"),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in ("jax", "jaxlib", "numpy", "h5py", "tensorboard")},
        "devices": ", ".join(f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()),
        "processor cores": str(os.cpu_count()),
        "native kernels": native_instruction_set() or "none: pure XLA (no compiler when it was installed, or "
                                                       "FITLOOM_NATIVE=0)",
        "memory allocator": "keeps freed memory" if allocator.keep_memory() else "the system's own settings",
        "compiled programs": f"kept in {kept}" if kept else "not kept (FITLOOM_CACHE=0, or no folder to write to)",
    }


def main() -> int:
    """Print the report; return 1 if a check failed."""
    def say(line):
        sys.stdout.write(line + "\n")

    found = facts()
    width = max(map(len, found))
    for what, finding in found.items():
        say(f"{what:{width}}  {finding}")
    failed = 0
    for check in CHECKS:
        if passes(check):
            say(f"right  XLA: {check}" + ("" if passes(check, ours=False) else f" (thanks to {REMEDY})"))
            continue
        failed = 1
        mended = passes(check, REMEDY)
        say(f"WRONG  XLA: {check}. " + (f"Set XLA_FLAGS={REMEDY}: it is right then." if mended else
                                        "Use another jaxlib: pip install -U jax"))
    return failed


