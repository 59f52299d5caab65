"""Atomic file writes, and the error when the disk refuses one."""

import errno
import platform
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
    assert atomic.exists(tmp_path / "made" / "a") and not atomic.exists(tmp_path / "made")


@pytest.mark.parametrize(
    "access", [atomic.read, atomic.exists, lambda path: atomic.write(path, b"")]
)
def test_a_disk_that_refuses_raises_a_disk_error(
    access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("read_bytes", "is_file", "mkdir"):
        monkeypatch.setattr(Path, name, lambda *_, **__: refuse(errno.EACCES))
    with pytest.raises(
        DiskError,
        match=r"a cannot be used \(Permission denied\): "
        r"get permission to read and write there or choose another",
    ):
        access(tmp_path / "a")


def test_a_disk_error_is_both_a_bench_error_and_an_os_error() -> None:
    assert issubclass(DiskError, BenchError) and issubclass(DiskError, OSError)
    assert str(DiskError("one line")) == "one line"


def test_other_os_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.read(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as raised:
        atomic.write(tmp_path / "file" / "a", b"")
    assert not isinstance(raised.value, DiskError)


def test_a_disk_error_can_be_sent_from_a_worker() -> None:
    import multiprocessing.reduction

    sent = multiprocessing.reduction.ForkingPickler.loads(
        multiprocessing.reduction.ForkingPickler.dumps(DiskError("one line"))
    )
    assert isinstance(sent, DiskError) and str(sent) == "one line"


def test_a_scratch_folder_goes_at_its_end_or_once_its_process_is_gone(tmp_path: Path) -> None:
    with atomic.scratch_folder(tmp_path / "made") as folder:
        (folder / "file").touch()
        atomic.clear_drafts(tmp_path)
        assert (folder / "file").exists()
    assert list((tmp_path / "made").iterdir()) == []
    no_process = 2**22 + 1
    left = tmp_path / f"{atomic.SCRATCH}x.{platform.node()}.{no_process}.draft"
    (left / "inner").mkdir(parents=True)
    atomic.clear_drafts(tmp_path)
    assert not left.exists()
