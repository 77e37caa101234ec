# SPDX-License-Identifier: Apache-2.0
"""Fetch a file once, verify it, and unpack it without trusting it: `tf.keras.utils.get_file`.

A file in the cache is whole or absent: it is written beside its place, verified, and renamed. Archives are unpacked
into a private folder that is renamed when it is whole; links, devices and paths that leave the folder never get there.
"""

import hashlib
import http.client
import os
import secrets
import shutil
import stat
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
import zipfile
from functools import partial
from pathlib import PurePosixPath

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30
_HASH_LENGTHS = {"md5": 32, "sha256": 64}  # hexadecimal digits


def get_file(
    fname=None,
    origin=None,
    untar=False,
    md5_hash=None,
    file_hash=None,
    cache_subdir="datasets",
    hash_algorithm="auto",
    extract=False,
    archive_format="auto",
    cache_dir=None,
    force_download=False,
):
    """Return the path of a file from the cache, downloading it first if it is not there.

    The file `example.txt` lies at `~/.keras/datasets/example.txt`. The environment variable `KERAS_HOME` replaces
    `~/.keras`.

    Args:
        fname: name of the file in the cache; default: the last part of `origin`. It is a name, not a path. With
            `extract`, a name without a dot names the folder the archive is unpacked to.
        origin: URL of the file.
        untar: as `extract=True` with `archive_format='tar'`.
        md5_hash: as `file_hash` with `hash_algorithm='md5'`.
        file_hash: the hexadecimal SHA-256 or MD5 the file must have. A cached file with another hash is downloaded
            again; a downloaded one is refused.
        cache_subdir: folder inside the cache; an absolute path is taken as it is.
        hash_algorithm: 'sha256', 'md5', or 'auto' (from the length of `file_hash`).
        extract: unpack the archive. Links and devices in it are left out, with a warning.
        archive_format: 'tar', 'zip', a list of these, 'auto' (both), or None (unpack nothing).
        cache_dir: replaces `~/.keras`.
        force_download: download even if the file is in the cache.

    Returns:
        The path of the file as a string; with `extract`, of the folder it was unpacked to.

    Raises:
        ConnectionError: the file is not in the cache and cannot be downloaded; the message says where to put it.
        ValueError: the hash differs, `fname` is a path, or the archive would write outside its folder.
        PermissionError: the cache cannot be written.

    Differs from tf.keras: an archive that was unpacked is not unpacked again on every call; a cache that cannot be
    written is an error instead of a world-writable folder under `/tmp`.
    """
    if origin is None:
        raise ValueError("get_file expected `origin`, the URL of the file, but received None.")
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    algorithm = _algorithm(hash_algorithm, file_hash)
    extract = bool(extract or untar)
    formats = _archive_formats("tar" if untar else archive_format)
    folder = os.path.join(os.path.expanduser(cache_dir or keras_home()), cache_subdir)
    name, unpacked_name = _names(fname, origin, extract)
    target = os.path.join(folder, name)

    if force_download or not _is_cached(target, file_hash, algorithm):
        _make_folder(folder)
        _download(origin, target, file_hash, algorithm)
    if not extract:
        return target
    unpacked = os.path.join(folder, unpacked_name)
    _unpack_once(target, unpacked, formats)
    return unpacked


def keras_home() -> str:
    """Return the folder of caches and settings: `$KERAS_HOME`, or `~/.keras`."""
    return os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")


def fetch(path, origin, file_hash, cache_subdir="datasets") -> str:
    """Return where a data set's file is: `path` itself if that is a path, else the cached or downloaded file."""
    path = os.path.expanduser(os.fspath(path))
    if os.path.dirname(path):
        if os.path.exists(path):
            return path
        raise FileNotFoundError(f"The data file '{path}' does not exist; it can be downloaded from {origin}.")
    return get_file(path, origin=origin, file_hash=file_hash, cache_subdir=cache_subdir)


def _names(fname, origin, extract):
    """Return (name of the file, name of the folder an archive is unpacked to) as Keras chooses them."""
    given = os.fspath(fname) if fname else ""
    name = given or os.path.basename(urllib.parse.urlsplit(origin).path)
    if not name:
        raise ValueError(f"get_file cannot take a file name from the URL '{origin}'. Pass `fname`.")
    if name in (".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError(
            f"get_file expected `fname` to be the name of a file, but received the path '{name}'. "
            "Pass the folder as `cache_dir` and `cache_subdir`."
        )
    if not extract:
        return name, ""
    if given and "." in given:
        return name, f"{given[: given.find('.')]}_extracted"
    return f"{name}_archive", name


def _algorithm(hash_algorithm, file_hash):
    if hash_algorithm not in ("auto", *_HASH_LENGTHS):
        raise ValueError(f"`hash_algorithm` must be 'auto', 'sha256' or 'md5', but received '{hash_algorithm}'.")
    if file_hash is None:
        return None
    known = {length: name for name, length in _HASH_LENGTHS.items()}
    algorithm = known.get(len(file_hash)) if hash_algorithm == "auto" else hash_algorithm
    if algorithm is None or len(file_hash) != _HASH_LENGTHS[algorithm]:
        raise ValueError(
            f"`file_hash` must be the 64 hexadecimal digits of a SHA-256 or the 32 of an MD5, but received "
            f"'{file_hash}' ({len(file_hash)} characters) with hash_algorithm='{hash_algorithm}'."
        )
    return algorithm


def _archive_formats(archive_format):
    if archive_format is None:
        return ()
    formats = ("tar", "zip") if archive_format == "auto" else archive_format
    formats = (formats,) if isinstance(formats, str) else tuple(formats)
    for one in formats:
        if one not in ("tar", "zip"):
            raise ValueError(f"`archive_format` must be 'auto', 'tar', 'zip', a list or None, but received '{one}'.")
    return formats


def hash_of(path, algorithm="sha256") -> str:
    """Return the hexadecimal hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _is_cached(target, file_hash, algorithm):
    if not os.path.exists(target):
        return False
    if file_hash is None or hash_of(target, algorithm) == file_hash.lower():
        return True
    _say(f"'{target}' does not have the {algorithm} that was asked for; it is downloaded again.\n")
    return False


def _make_folder(folder):
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise PermissionError(
            f"The cache folder '{folder}' cannot be made ({error.strerror}). Set the environment variable KERAS_HOME, "
            "or pass `cache_dir`, to name a folder that can be written."
        ) from error


def _download(origin, target, file_hash, algorithm):
    """Write `origin` to a temporary file beside `target`, verify it, rename it."""
    folder = os.path.dirname(target)
    temporary = _beside(target)
    try:
        file = open(temporary, "xb")
    except OSError as error:
        raise PermissionError(
            f"The cache folder '{folder}' cannot be written ({error.strerror}). Set the environment variable "
            "KERAS_HOME, or pass `cache_dir`, to name a folder that can."
        ) from error
    try:
        with file:
            digest = _receive(origin, target, file, hashlib.new(algorithm or "sha256"))
            file.flush()
            os.fsync(file.fileno())
        if file_hash is not None and digest != file_hash.lower():
            raise ValueError(
                f"The file from {origin} should have the {algorithm} {file_hash.lower()}, but what came has {digest}. "
                "It was damaged or replaced on its way, and was not kept."
            )
        os.replace(temporary, target)
        _sync_folder(folder)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _receive(origin, target, file, digest):
    """Copy the bytes of a URL to `file`, showing how far it is; return their hash."""
    _say(f"Downloading data from {origin}\n")
    received, shown_at = 0, 0.0
    try:
        # The scheme is the caller's choice, as in tf.keras; the bytes are verified by the caller's hash.
        with urllib.request.urlopen(origin, timeout=TIMEOUT_SECONDS) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                if sys.stdout is not None and sys.stdout.isatty() and time.monotonic() - shown_at > 0.1:
                    shown_at = time.monotonic()
                    _say(f"\r{_megabytes(received)}" + (f" of {_megabytes(expected)}" if expected else ""))
        if shown_at:
            _say(f"\r{_megabytes(received)}{' ' * 20}\n")
        if received < expected:
            raise ConnectionError(f"the connection ended after {received} of {expected} bytes")
    # URLError and timeouts are OSErrors; a malformed URL is a ValueError.
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(
            f"Could not download '{os.path.basename(target)}' from {origin} ({reason}): put the file at '{target}', "
            "or set the environment variable KERAS_HOME to a folder that has it under 'datasets'."
        ) from error
    return digest.hexdigest()


def _megabytes(size_bytes):
    return f"{size_bytes / 1e6:.1f} MB"


def _say(text):
    if sys.stdout is not None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _beside(path):
    """Return a fresh, hidden name in the folder of `path`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{secrets.token_hex(6)}.part")


def _sync_folder(folder):
    """Make a rename survive a power cut, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _unpack_once(archive, folder, formats):
    """Unpack `archive` to `folder`, unless this very archive was unpacked there before."""
    parent, name = os.path.split(folder)
    receipt = os.path.join(parent, f".{name}.unpacked")
    status = os.stat(archive)
    identity = f"{status.st_size} {status.st_mtime_ns}"
    if os.path.isdir(folder) and _read_text(receipt) == identity:
        return
    temporary = _beside(folder)
    os.mkdir(temporary)
    try:
        if not unpack(archive, temporary, formats):
            warnings.warn(f"'{archive}' is not an archive that can be unpacked; nothing was.", stacklevel=3)
            return
        _replace_folder(temporary, folder)
        with open(receipt, "w", encoding="utf-8") as file:
            file.write(identity)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read_text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def _replace_folder(new, folder):
    """Put `new` in the place of `folder`; the old one is whole until the new one is."""
    if not os.path.lexists(folder):
        os.rename(new, folder)
        return
    old = f"{new}.old"
    os.rename(folder, old)
    os.rename(new, folder)
    if os.path.isdir(old) and not os.path.islink(old):
        shutil.rmtree(old)
    else:
        os.remove(old)


def unpack(archive, folder, formats=("tar", "zip")) -> bool:
    """Unpack the regular files of a tar or zip archive into an empty folder; return whether it was one.

    Nothing else is created: links and devices are left out with one warning, owners and special mode bits are
    dropped, and a path that is absolute or contains '..' refuses the whole archive.

    Raises:
        ValueError: a member's path would leave the folder.
    """
    if "tar" in formats and tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            _write_members(archive, folder, _tar_members(opened))
        return True
    if "zip" in formats and zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            _write_members(archive, folder, _zip_members(opened))
        return True
    return False


def _tar_members(opened):
    """Yield (name, 'file' | 'folder' | 'other', whether executable, a function that opens it)."""
    for member in opened:
        kind = "file" if member.isreg() else "folder" if member.isdir() else "other"
        yield member.name, kind, bool(member.mode & stat.S_IXUSR), lambda member=member: opened.extractfile(member)


def _zip_members(opened):
    for member in opened.infolist():
        mode = member.external_attr >> 16
        special = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
        kind = "other" if special else "folder" if member.is_dir() else "file"
        yield member.filename, kind, bool(mode & stat.S_IXUSR), lambda member=member: opened.open(member)


def _write_members(archive, folder, members):
    left_out = []
    for name, kind, executable, open_member in members:
        path = os.path.join(folder, *_safe_parts(archive, name))
        if kind == "other":
            left_out.append(name)
        elif kind == "folder":
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            mode = 0o777 if executable else 0o666  # less the umask
            with open_member() as source, open(path, "wb", opener=partial(os.open, mode=mode)) as file:
                shutil.copyfileobj(source, file, CHUNK_BYTES)
    if left_out:
        warnings.warn(
            f"Links and devices in '{archive}' were left out: {len(left_out)}, the first is '{left_out[0]}'.",
            stacklevel=5,
        )


def _safe_parts(archive, name):
    """Return the parts of a member's path; raise ValueError if it could lead out of the folder."""
    plain = name.replace("\\", "/")
    parts = [part for part in PurePosixPath(plain).parts if part != "."]
    if plain.startswith("/") or ".." in parts or "\0" in plain or plain[1:2] == ":":
        raise ValueError(
            f"The archive '{archive}' holds the path '{name}', which leads out of the folder it is unpacked to; "
            "nothing was unpacked. Do not trust this archive."
        )
    return parts
