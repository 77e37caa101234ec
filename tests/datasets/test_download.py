# SPDX-License-Identifier: Apache-2.0
import hashlib
import http.server
import io
import os
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from fitloom.datasets import download
from fitloom.datasets.download import fetch, get_file, unpack

CONTENT = b"some data\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server:
    """A web server of this machine, whose answers a test chooses."""

    def __init__(self):
        self.files, self.requests = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + outer.missing_bytes))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.missing_bytes = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, path, content=None):
        if content is not None:
            self.files[path] = content
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


def tar_of(*members):
    """A tar archive in memory; a member is (name, content) or a TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def names_in(folder):
    return sorted(os.path.relpath(os.path.join(root, f), folder) for root, _, files in os.walk(folder) for f in files)


def test_downloads_once(server, keras_home, capsys):
    url = server.url("/data.txt", CONTENT)
    path = get_file(origin=url)
    assert path == str(keras_home / "datasets" / "data.txt")
    assert Path(path).read_bytes() == CONTENT
    assert get_file(origin=url) == path
    assert server.requests == ["/data.txt"]
    assert capsys.readouterr().out == f"Downloading data from {url}\n"
    get_file(origin=url, force_download=True)
    assert len(server.requests) == 2
    assert os.listdir(keras_home / "datasets") == ["data.txt"]


def test_fname_cache_dir_and_subdir(server, tmp_path):
    path = get_file("mine.bin", server.url("/x", CONTENT), cache_dir=tmp_path, cache_subdir="a/b")
    assert path == str(tmp_path / "a" / "b" / "mine.bin")


@pytest.mark.parametrize(
    "options",
    [
        {"file_hash": SHA256},
        {"file_hash": SHA256.upper()},
        {"file_hash": MD5},
        {"md5_hash": MD5},
        {"file_hash": SHA256, "hash_algorithm": "sha256"},
        {"file_hash": MD5, "hash_algorithm": "md5"},
    ],
)
def test_hash_is_verified(server, keras_home, options):
    url = server.url("/data", CONTENT)
    get_file(origin=url, **options)
    server.files["/data"] = CONTENT + b"!"
    with pytest.raises(ValueError, match="but what came has .* was not kept"):
        get_file("other", url, **options)
    assert os.listdir(keras_home / "datasets") == ["data"]


def test_cached_file_with_another_hash_is_replaced(server, keras_home, capsys):
    folder = keras_home / "datasets"
    folder.mkdir()
    (folder / "data").write_bytes(b"half a fi")
    path = get_file(origin=server.url("/data", CONTENT), file_hash=SHA256)
    assert Path(path).read_bytes() == CONTENT
    assert "downloaded again" in capsys.readouterr().out


def test_refused_download_leaves_the_old_file(server, keras_home):
    path = get_file(origin=server.url("/data", CONTENT))
    server.files["/data"] = b"bad"
    with pytest.raises(ValueError, match="was not kept"):
        get_file(origin=server.url("/data"), file_hash=SHA256, force_download=True)
    assert Path(path).read_bytes() == CONTENT


def test_offline_error_says_where_to_put_the_file(server, keras_home):
    url = server.url("/absent.npz")
    with pytest.raises(ConnectionError) as raised:
        get_file(origin=url)
    message = str(raised.value)
    assert url in message and "Not Found" in message and str(keras_home / "datasets" / "absent.npz") in message
    assert "KERAS_HOME" in message
    assert os.listdir(keras_home / "datasets") == []


def test_nobody_answers(keras_home, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ConnectionError, match="Could not download 'x.npz'"):
        get_file("x.npz", "http://127.0.0.1:9/x.npz")


def test_connection_that_ends_early_keeps_nothing(server, keras_home):
    server.missing_bytes = 5
    with pytest.raises(ConnectionError, match="ended after 10000 of 10005 bytes|IncompleteRead"):
        get_file(origin=server.url("/data", CONTENT))
    assert os.listdir(keras_home / "datasets") == []


@pytest.mark.parametrize("fname", ["../x", "a/b", "..", "/etc/passwd", "a\\b"])
def test_fname_is_a_name(fname):
    with pytest.raises(ValueError, match="expected `fname` to be the name of a file"):
        get_file(fname, "http://127.0.0.1/x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"origin": None}, "origin"),
        ({"origin": "http://host/"}, "Pass `fname`"),
        ({"origin": "http://host/x", "file_hash": "abc"}, "64 hexadecimal digits"),
        ({"origin": "http://host/x", "file_hash": MD5, "hash_algorithm": "sha256"}, "32 characters"),
        ({"origin": "http://host/x", "hash_algorithm": "sha1"}, "'sha256' or 'md5'"),
        ({"origin": "http://host/x", "archive_format": "rar"}, "'tar', 'zip'"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        get_file(**options)


def test_downloading_replaces_a_link_instead_of_following_it(server, keras_home, tmp_path):
    outside = tmp_path / "precious"
    outside.write_bytes(b"precious")
    folder = keras_home / "datasets"
    folder.mkdir()
    (folder / "data").symlink_to(outside)
    get_file(origin=server.url("/data", CONTENT), force_download=True)
    assert outside.read_bytes() == b"precious" and not (folder / "data").is_symlink()


@pytest.mark.parametrize(
    ("fname", "folder"), [(None, "d.tar.gz"), ("d.tar.gz", "d_extracted"), ("d", "d"), ("d-target", "d-target")]
)
def test_extract_names_are_those_of_keras(server, keras_home, fname, folder):
    url = server.url("/d.tar.gz", tar_of(("d/a.txt", b"a")))
    path = get_file(fname, url, extract=True)
    assert path == str(keras_home / "datasets" / folder)
    assert names_in(path) == ["d/a.txt"]


def test_extracts_once_and_again_when_the_archive_changes(server, keras_home):
    url = server.url("/d.tgz", tar_of(("a.txt", b"a")))
    path = get_file("d", url, untar=True)
    with open(os.path.join(path, "a.txt"), "w") as file:
        file.write("changed by the user")
    get_file("d", url, untar=True)
    assert Path(os.path.join(path, "a.txt")).read_text() == "changed by the user"
    server.files["/d.tgz"] = tar_of(("b.txt", b"b"))
    get_file("d", url, untar=True, force_download=True)
    assert names_in(path) == ["b.txt"]
    assert sorted(os.listdir(keras_home / "datasets")) == [".d.unpacked", "d", "d_archive"]


def test_folder_left_by_another_program_is_unpacked_again(server, keras_home):
    folder = keras_home / "datasets" / "d"
    folder.mkdir(parents=True)
    (folder / "half").write_text("")
    path = get_file("d", server.url("/d.tgz", tar_of(("a.txt", b"a"))), extract=True)
    assert names_in(path) == ["a.txt"]


def test_what_is_no_archive_is_said(server, keras_home):
    with pytest.warns(UserWarning, match="not an archive"):
        get_file("d", server.url("/d", CONTENT), extract=True)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_archive_with_a_path_that_leaves_the_folder_is_refused(server, keras_home, tmp_path, name):
    url = server.url("/d.tgz", tar_of(("good", b"g"), (name, b"e")))
    with pytest.raises(ValueError, match="leads out of the folder"):
        get_file("d", url, extract=True)
    assert os.listdir(keras_home / "datasets") == ["d_archive"]
    assert not list(tmp_path.rglob("evil"))


def test_links_and_devices_are_left_out(tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    archive = tmp_path / "a.tgz"
    archive.write_bytes(
        tar_of(
            special("link", tarfile.SYMTYPE, str(outside)),
            ("link", b"through the link"),
            special("hard", tarfile.LNKTYPE, "link"),
            special("inside", tarfile.SYMTYPE, "link"),
            special("pipe", tarfile.FIFOTYPE),
            special("folder", tarfile.DIRTYPE),
        )
    )
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.warns(UserWarning, match="were left out: 4, the first is 'link'"):
        assert unpack(archive, folder)
    assert outside.read_bytes() == b"precious"
    assert names_in(folder) == ["link"] and (folder / "link").read_bytes() == b"through the link"
    assert (folder / "folder").is_dir()


def test_zip_with_a_link(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
        opened.writestr("sub/b.txt", "b")
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.warns(UserWarning, match="left out: 1"):
        assert unpack(archive, folder)
    assert names_in(folder) == ["sub/b.txt"]


def test_mode_bits_of_an_archive_are_dropped(tmp_path):
    info = tarfile.TarInfo("program")
    info.mode = 0o6777
    archive = tmp_path / "a.tgz"
    archive.write_bytes(tar_of(info, ("plain", b"")))
    folder = tmp_path / "out"
    folder.mkdir()
    unpack(archive, folder)
    assert stat.S_IMODE((folder / "program").stat().st_mode) & 0o7022 == 0
    assert (folder / "program").stat().st_mode & stat.S_IXUSR
    assert not (folder / "plain").stat().st_mode & stat.S_IXUSR


def test_interrupted_unpacking_leaves_nothing(server, keras_home, monkeypatch):
    url = server.url("/d.tgz", tar_of(("a", b"a"), ("b", b"b")))
    copied = []

    def copy(source, file, length):
        if copied:
            raise KeyboardInterrupt
        copied.append(source)

    monkeypatch.setattr(download.shutil, "copyfileobj", copy)
    with pytest.raises(KeyboardInterrupt):
        get_file("d", url, extract=True)
    assert os.listdir(keras_home / "datasets") == ["d_archive"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_cache_that_cannot_be_written(keras_home):
    keras_home.chmod(0o500)
    with pytest.raises(PermissionError, match="KERAS_HOME"):
        get_file(origin="http://127.0.0.1:9/x")


def test_cache_folder_that_is_a_file(keras_home):
    (keras_home / "datasets").write_text("")
    with pytest.raises(PermissionError, match="KERAS_HOME"):
        get_file(origin="http://127.0.0.1:9/x")


def test_fetch_takes_a_path_of_the_user(tmp_path):
    mine = tmp_path / "mine.npz"
    mine.write_bytes(b"x")
    assert fetch(mine, "http://127.0.0.1:9/x", SHA256) == str(mine)
    with pytest.raises(FileNotFoundError, match="can be downloaded from"):
        fetch(tmp_path / "absent.npz", "http://127.0.0.1:9/x", SHA256)
