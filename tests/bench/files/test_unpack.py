"""Archives that are not trusted: what is written, and what is refused."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.files import unpack as unpacking
from bench.files.unpack import unpack

FILES = {"set/photos/a.png": b"a" * 100, "set/photos/more/b.png": b"b", "set/readme.txt": b"read"}


def make_archive(path: Path, files: Mapping[str, bytes]) -> Path:
    """Make a zip or a tar archive, by the suffix of the path."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def read_folder(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


every_kind = pytest.mark.parametrize("kind", ["x.zip", "x.tgz"])


@every_kind
def test_the_files_of_an_archive_are_written(kind: str, tmp_path: Path) -> None:
    unpack(make_archive(tmp_path / kind, FILES), tmp_path / "out")
    assert read_folder(tmp_path / "out") == FILES


@every_kind
def test_of_an_archive_one_folder_can_be_taken(kind: str, tmp_path: Path) -> None:
    files = {f"./{name}": content for name, content in FILES.items()}
    unpack(make_archive(tmp_path / kind, files), tmp_path / "out", "set/photos")
    assert read_folder(tmp_path / "out") == {"a.png": b"a" * 100, "more/b.png": b"b"}


@every_kind
@pytest.mark.parametrize("name", ["../a.png", "set/../../a.png", "/tmp/a.png", "..\\a.png"])
def test_a_path_that_leads_out_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / kind, {"good.png": b"good", name: b"bad"})
    with pytest.raises(ConfigError, match="leads out of its folder"):
        unpack(archive, tmp_path / "below/out")
    assert not list(tmp_path.rglob("*a.png"))


def test_a_link_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        member = tarfile.TarInfo("photo.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(ConfigError, match=r"holds photo\.png, a link or device"):
        unpack(tmp_path / "x.tar", tmp_path / "out")


@every_kind
def test_content_that_is_much_larger_than_its_archive_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "SMALL_BYTES", 0)
    path = tmp_path / kind
    if kind == "x.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", bytes(2**18))
    else:
        make_archive(path, {"a.png": bytes(2**18)})
    with pytest.raises(ConfigError, match=r"a\.png makes its archive more than 10 times larger"):
        unpack(path, tmp_path / "out")


@every_kind
def test_a_damaged_archive_is_told_in_one_line(kind: str, tmp_path: Path) -> None:
    path = make_archive(tmp_path / kind, FILES)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ConfigError, match=r"cannot be unpacked \(.+\); download it again"):
        unpack(path, tmp_path / "out")


def test_an_archive_without_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has nothing in 'other'; its layout must have changed"):
        unpack(make_archive(tmp_path / "x.zip", FILES), tmp_path / "out", "other")
