"""Downloads from a server on this machine: the whole data set, or nothing of it."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bench.errors import ConfigError, DiskError
from bench.files.download import Arrived, download
from bench.files.remote_files import Download, RemoteFile
from tests.bench.files.test_unpack import FILES, make_archive, read_folder


class Server(HTTPServer):
    """Serves `content` by name; of what is in `cut`, the first half with the length of the whole.

    `asked` has the names in the order in which they were asked for.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []

    def add(self, name: str, content: bytes, checksum: str = "right", **place: str) -> RemoteFile:
        self.content[name] = content
        sha256 = hashlib.sha256(content).hexdigest() if checksum == "right" else checksum
        url = f"http://127.0.0.1:{self.server_port}/{name}"
        return RemoteFile(url, len(content), f"sha256:{sha256}" if sha256 else "", **place)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path[1:]
        self.server.asked.append(name)
        content = self.server.content.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if name in self.server.cut else content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def make_set(*files: RemoteFile) -> Download:
    return Download("Photos", "photographs", "free", "a page", files)


def make_bytes(tmp_path: Path, files: dict[str, bytes] | None = None) -> bytes:
    return make_archive(tmp_path / "made.zip", files or FILES).read_bytes()


def test_files_and_archives_come_into_one_folder(server: Server, tmp_path: Path) -> None:
    archive = server.add("set.zip", make_bytes(tmp_path), inside="set/photos", folder="train")
    files = [archive, server.add("list.mat", b"numbers")]
    assert download(make_set(*files), tmp_path / "data") == {}
    assert read_folder(tmp_path / "data") == {
        "Photos/train/a.png": b"a" * 100,
        "Photos/train/more/b.png": b"b",
        "Photos/list.mat": b"numbers",
    }


def test_without_a_published_checksum_what_arrived_is_told(server: Server, tmp_path: Path) -> None:
    file = server.add("a.png", b"photo", checksum="")
    found = download(make_set(file), tmp_path / "data")
    assert found == {file: Arrived(5, hashlib.sha256(b"photo").hexdigest())}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("checksum", r"set\.zip could not be downloaded \(SHA256 hash .* does not match"),
        ("missing", r"set\.zip could not be downloaded \(404 .*\); repeat the command"),
        ("cut", r"set\.zip could not be downloaded \(.*[Ii]ncomplete"),
        ("size", r"set\.zip has 100 bytes instead of [\d,]+; its page may have moved"),
        ("traversal", r"set\.zip holds \.\./a\.png, which leads out of its folder"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_can_be_taken_for_the_data_set(
    fault: str, message: str, server: Server, tmp_path: Path
) -> None:
    content = make_bytes(tmp_path, {"../a.png": b"bad"} if fault == "traversal" else None)
    checksum = {"checksum": "0" * 64, "size": ""}.get(fault, "right")
    files = make_set(server.add("first.png", b"first"), server.add("set.zip", content, checksum))
    if fault == "missing":
        del server.content["set.zip"]
    if fault == "cut":
        server.cut.add("set.zip")
    if fault == "size":
        server.content["set.zip"] = bytes(100)
    with pytest.raises(ConfigError, match=message) as error:
        download(files, tmp_path / "data")
    assert "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".Photos.download"]
    left = [path.name for path in (tmp_path / "data/.Photos.download").iterdir()]
    assert left == ["first.png"]


def test_a_download_that_broke_goes_on_with_what_is_missing(server: Server, tmp_path: Path) -> None:
    files = make_set(server.add("a.png", b"aa"), server.add("b.png", b"bb"))
    server.cut.add("b.png")
    with pytest.raises(ConfigError):
        download(files, tmp_path)
    (tmp_path / ".Photos.download/tmp_of_a_killed_one").write_bytes(b"half")
    server.cut.clear()
    download(files, tmp_path)
    assert server.asked == ["a.png", "b.png", "b.png"]
    assert read_folder(tmp_path) == {"Photos/a.png": b"aa", "Photos/b.png": b"bb"}


def test_nothing_is_left_where_nothing_arrived(server: Server, tmp_path: Path) -> None:
    file = server.add("a.png", b"a", checksum="0" * 64)
    with pytest.raises(ConfigError):
        download(make_set(file), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_touched(server: Server, tmp_path: Path) -> None:
    file = server.add("a.png", b"a")
    (tmp_path / "Photos").mkdir()
    with pytest.raises(ConfigError, match="Photos exists already, so nothing was downloaded"):
        download(make_set(file), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is not a folder; choose another: --out FOLDER"):
        download(make_set(file), tmp_path / "file")
    assert server.asked == []


def test_a_disk_without_room_is_told_before_anything_is_downloaded(
    server: Server, tmp_path: Path
) -> None:
    huge = RemoteFile(server.add("a.png", b"a").url, 10**18)
    with pytest.raises(DiskError, match=r"Photos needs .* MiB of disk .* free; make room there"):
        download(make_set(huge), tmp_path)
    assert server.asked == []


def test_a_set_without_files_names_its_page(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Photos \(free\) is not .*; get it from a page"):
        download(make_set(), tmp_path)
