# SPDX-License-Identifier: Apache-2.0
"""Keep compiled programs on disk, so that the second start of a script need not compile them again.

XLA programs that took longer than `SECONDS` to compile go to `~/.cache/fitloom/xla/` (`FITLOOM_CACHE` in the
environment names another folder; `FITLOOM_CACHE=0` keeps nothing), one folder for each jaxlib and processor, because a
program is machine code. Whoever has configured JAX's own compilation cache keeps that.
"""
import hashlib
import os
import pathlib
import platform
import time

import jax

SECONDS = 0.1          # programs that compile faster are not worth a file
LIMIT = 2 << 30        # bytes; the programs that were not used for longest go first


def keep_programs():
    """Configure JAX's persistent cache; return its folder, or None where it is not ours to configure."""
    chosen = os.environ.get("FITLOOM_CACHE", "")
    if chosen == "0" or jax.config.jax_compilation_cache_dir is not None:
        return None
    try:
        base = pathlib.Path(chosen) if chosen else pathlib.Path(
            os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "fitloom", "xla")
        folder = base / f"{jax.lib.__version__}-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid() or not os.access(folder, os.W_OK):
            return None            # programs of somebody else's are not run
        _trim(folder)
    except (OSError, RuntimeError, AttributeError):     # a read-only or missing home; no user ids
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def _processor():
    """A short name for what machine code can run here: the architecture and the processor's features."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"


def _trim(folder):
    """Once a day delete the oldest programs beyond LIMIT."""
    stamp = folder / "trimmed"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < 86_400:
        return
    stamp.touch()
    files = []
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False) and entry.name != "trimmed":
            status = entry.stat()
            files.append((max(status.st_atime, status.st_mtime), status.st_size, entry.path))
    used = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if used <= LIMIT:
            return
        os.unlink(path)
        used -= size
