"""Files that are whole or not there, and what is said where the disk refuses."""

import errno
from pathlib import Path

import pytest

from bench.errors import BenchError, DiskError
from bench.files import atomic


def refuse(code: int) -> None:
    raise OSError(code, "")


def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        atomic.write(tmp_path / "made" / "a", content)
        assert atomic.read(tmp_path / "made" / "a") == content
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["a"]
    assert atomic.is_there(tmp_path / "made" / "a") and not atomic.is_there(tmp_path / "made")


@pytest.mark.parametrize(
    "ask", [atomic.read, atomic.is_there, lambda path: atomic.write(path, b"")]
)
def test_a_disk_that_refuses_is_an_error_of_its_own(
    ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("read_bytes", "is_file", "mkdir"):
        monkeypatch.setattr(Path, name, lambda *_, **__: refuse(errno.EACCES))
    with pytest.raises(
        DiskError,
        match=r"a cannot be used \(Permission denied\): make it yours to read and write or choose another",
    ):
        ask(tmp_path / "a")


def test_it_is_a_person_who_is_told_and_an_os_error_for_who_expects_one() -> None:
    assert issubclass(DiskError, BenchError) and issubclass(DiskError, OSError)
    assert str(DiskError("one line")) == "one line"


def test_other_faults_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.read(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as raised:
        atomic.write(tmp_path / "file" / "a", b"")
    assert not isinstance(raised.value, DiskError)


def test_the_error_survives_the_way_from_a_worker() -> None:
    import multiprocessing.reduction

    sent = multiprocessing.reduction.ForkingPickler.loads(
        multiprocessing.reduction.ForkingPickler.dumps(DiskError("one line"))
    )
    assert isinstance(sent, DiskError) and str(sent) == "one line"
