"""A disk that fails at any call of a run.

The run stops with a message of one line, all stored files are whole, and the next run completes it.
"""

import errno
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.errors import DiskError
from bench.export.saved import load
from bench.files.crops import is_intact
from bench.records import Record
from bench.runner.executors.serial import SerialExecutor
from bench.runner.run import run_study
from bench.study.store import Store
from bench.study.study import Study
from bench.training.checkpoints import _read_verified_content
from bench.training.pretrained import find_weights


class Disk:
    """Counts the calls that write files, and makes one of them fail.

    Args:
        fault_at: index of the call that fails; negative for none.
        code: the errno with which it fails.
        only: the name of the calls that are counted; "" for all.
    """

    def __init__(self, fault_at: int = -1, code: int = errno.ENOSPC, only: str = "") -> None:
        self.fault_at, self.code, self.only = fault_at, code, only
        self.calls: list[str] = []

    def call(self, name: str) -> None:
        """Count a call; raise OSError if it is the one that fails."""
        if self.only in ("", name):
            self.calls.append(name)
            if len(self.calls) - 1 == self.fault_at:
                raise OSError(self.code, os.strerror(self.code))

    @contextmanager
    def replace_calls(self) -> Iterator[None]:
        """Route all writes within the block through this disk."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in ((Path, "open"), (Path, "mkdir"), (os, "fsync"), (os, "replace")):
                patch.setattr(owner, name, self._wrap(name, getattr(owner, name)))
            yield

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(target: Any, *args: Any, **named: Any) -> Any:
            if name == "open" and "wb" not in args:
                return real(target, *args, **named)
            self.call(name)
            result = real(target, *args, **named)
            return Draft(self, result) if name == "open" else result

        return wrapper


class Draft:
    """An open file; if the disk fails, it has written half of the content."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self._disk, self._file = disk, file

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> None:
        half = len(content) // 2
        self._file.write(content[:half])
        self._disk.call("write")
        self._file.write(content[half:])


def summarize(records: list[Record]) -> list[Any]:
    return [(record.key, record.status, record.scores, record.widths) for record in records]


def check_whole(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Check that every file can be read and that no draft or damaged file is left."""
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix in (".draft", ".damaged")] == []
    assert all(store.read(path.stem) for path in files if path.parent.name == "records")
    assert all(
        load(store.model_folder(record.key))
        for record in store.records()
        if record.status == "done"
    )
    assert all(is_intact(path) for path in files if path.suffix == ".png")
    assert all(
        find_weights(store.cells()[0], [path.parent])
        for path in files
        if path.parent.name == "pretrained" and path.suffix != ".json"
    )
    for path in files:
        if path.suffix == ".checkpoint":
            assert _read_verified_content(path)
    assert not [text for text in caplog.messages if "damaged" in text]


def check_every_fault(
    study: Study, home: Path, only: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Let each call of the run fail once, each time in a new folder."""
    healthy = Disk(only=only)
    with healthy.replace_calls():
        expected = summarize(run_study(study, Store(home / "healthy"), SerialExecutor()))
    assert [status for _, status, *_ in expected] == ["done"] * len(expected) and healthy.calls
    for index in range(len(healthy.calls)):
        store = Store(home / str(index))
        disk = Disk(index, only=only)
        with (
            disk.replace_calls(),
            pytest.raises(
                DiskError, match=r"No space left on device.*make room there and repeat the command"
            ) as raised,
        ):
            run_study(study, store, SerialExecutor())
        assert "\n" not in str(raised.value)
        assert len(disk.calls) == index + 1  # nothing was written after the fault
        check_whole(store, caplog)
        assert summarize(run_study(study, store, SerialExecutor())) == expected
        check_whole(store, caplog)


@pytest.mark.parametrize("only", ["write", "fsync", "replace"])
def test_a_run_survives_a_fault_at_any_call(
    study: Callable[..., Study], tmp_path: Path, only: str, caplog: Any
) -> None:
    check_every_fault(study("methods=['narrow']", "ratios=[0.8]"), tmp_path, only, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("only", ["mkdir", "open", "write", "fsync", "replace"])
def test_a_search_survives_a_fault_at_any_call(
    study: Callable[..., Study], tmp_path: Path, only: str, caplog: Any
) -> None:
    check_every_fault(
        study("methods=['narrow', {method='random_search', samples=2}]", "ratios=[0.8]"),
        tmp_path,
        only,
        caplog,
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_refuses_gives_a_message_of_one_line_and_exit_code_2(
    study: Callable[..., Study], tmp_path: Path, code: int, capsys: Any
) -> None:
    study()
    command = ["run", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out")]
    with Disk(20, code).replace_calls():
        assert main([*command, "--executor", "serial", "--no-mlflow"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("prunebench: ")
    assert os.strerror(code) in lines[-1] and "repeat the command" in lines[-1]
    assert not [line for line in lines if "Traceback" in line]


def test_an_os_error_of_a_method_is_a_failed_row(
    study: Callable[..., Study], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune_without_file(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file", "my_notes.txt")

    monkeypatch.setattr("tests.fakes.Narrow.prune", prune_without_file)
    (record,) = run_study(study("methods=['narrow']", "ratios=[0.8]"), store, SerialExecutor())
    assert record.status == "failed" and "my_notes.txt" in record.reason


def test_drafts_of_killed_processes_are_removed_and_those_of_running_ones_stay(
    study: Callable[..., Study], store: Store
) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    folder = store.folder / "models" / "x"
    here = platform.node()
    folder.mkdir(parents=True)
    names = [
        f".spec.json.{here}.{gone}.draft",
        f".spec.json.{here}.{os.getpid()}.draft",
        f".spec.json.elsewhere.{gone}.draft",
        ".old.7.draft",
    ]
    for name in names:
        (folder / name).write_text("half")
    os.utime(folder / names[3], (0, 0))
    store.write_study("tiny", study().cells())
    assert sorted(path.name for path in folder.iterdir()) == sorted(names[1:3])


def test_a_damaged_file_that_cannot_be_set_aside_is_not_used(
    store: Store, study: Callable[..., Study], caplog: Any
) -> None:
    cell = study().cells()[0]
    store.write(Record(cell, "done"))
    path = store.folder / "records" / f"{cell.key}.json"
    path.write_text("{")
    with Disk(0, errno.EROFS, only="replace").replace_calls():
        assert store.read(cell.key) is None
    assert path.is_file() and "cannot be set aside (Read-only file system)" in caplog.text
