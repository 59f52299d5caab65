"""A disk that fails at any call of a run: the run stops with one sentence, what was stored is whole, and the next run completes it."""

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
from bench.records import Record
from bench.runner.executors.serial import Serial
from bench.runner.run import run_study
from bench.study.store import Store
from bench.study.study import Study
from bench.training.checkpoints import _whole
from bench.training.pretrained import find
from bench.training.sample_crops import is_whole


class Disk:
    """Counts the calls that keep files, and lets one of them fail.

    Args:
        fault_at: the call that fails, counted from 0; none if below.
        code: how it fails.
        only: the calls that are counted; all if empty.
    """

    def __init__(self, fault_at: int = -1, code: int = errno.ENOSPC, only: str = "") -> None:
        self.fault_at, self.code, self.only = fault_at, code, only
        self.calls: list[str] = []

    def call(self, name: str) -> None:
        if self.only in ("", name):
            self.calls.append(name)
            if len(self.calls) - 1 == self.fault_at:
                raise OSError(self.code, os.strerror(self.code))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While every draft is written here."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in ((Path, "open"), (Path, "mkdir"), (os, "fsync"), (os, "replace")):
                patch.setattr(owner, name, self._noticed(name, getattr(owner, name)))
            yield

    def _noticed(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def noticed(place: Any, *args: Any, **named: Any) -> Any:
            if name == "open" and "wb" not in args:
                return real(place, *args, **named)
            self.call(name)
            done = real(place, *args, **named)
            return Draft(self, done) if name == "open" else done

        return noticed


class Draft:
    """An open file of which a failing disk takes a half."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self._disk, self._file = disk, file

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> None:
        self._file.write(content[: len(content) // 2])
        self._disk.call("write")
        self._file.write(content[len(content) // 2 :])


def table(records: list[Record]) -> list[Any]:
    return [(record.key, record.status, record.scores, record.widths) for record in records]


def check_whole(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Every file that is there is one that its reader takes; nothing is left over."""
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix in (".draft", ".damaged")] == []
    assert all(store.read(path.stem) for path in files if path.parent.name == "records")
    assert all(
        load(store.model_folder(record.key))
        for record in store.records()
        if record.status == "done"
    )
    assert all(is_whole(path) for path in files if path.suffix == ".png")
    assert all(
        find(store.cells()[0], [path.parent])
        for path in files
        if path.parent.name == "pretrained" and path.suffix != ".json"
    )
    for path in files:
        if path.suffix == ".checkpoint":
            assert _whole(path)
    assert not [text for text in caplog.messages if "damaged" in text]


def check_every_fault(
    asked: Study, home: Path, only: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Lets each call of the run fail once, each time in a new folder."""
    undisturbed = Disk(only=only)
    with undisturbed.watched():
        wanted = table(run_study(asked, Store(home / "undisturbed"), Serial()))
    assert [status for _, status, *_ in wanted] == ["done"] * len(wanted) and undisturbed.calls
    for place in range(len(undisturbed.calls)):
        store, disk = Store(home / str(place)), Disk(place, only=only)
        with (
            disk.watched(),
            pytest.raises(
                DiskError, match=r"No space left on device.*make room there and repeat the command"
            ) as raised,
        ):
            run_study(asked, store, Serial())
        assert "\n" not in str(raised.value)
        assert len(disk.calls) == place + 1  # the first fault is the last call
        check_whole(store, caplog)
        assert table(run_study(asked, store, Serial())) == wanted
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
def test_a_disk_that_refuses_is_one_sentence_and_exit_code_2(
    study: Callable[..., Study], tmp_path: Path, code: int, capsys: Any
) -> None:
    study()
    with Disk(20, code).watched():
        assert (
            main(
                [
                    "run",
                    str(tmp_path / "tiny.toml"),
                    "--out",
                    str(tmp_path / "out"),
                    "--executor",
                    "serial",
                    "--no-mlflow",
                ]
            )
            == 2
        )
    said = capsys.readouterr().err.splitlines()
    assert (
        said[-1].startswith("prunebench: ")
        and os.strerror(code) in said[-1]
        and "repeat the command" in said[-1]
    )
    assert not [line for line in said if "Traceback" in line]


def test_a_fault_that_is_not_the_disks_stays_a_row(
    study: Callable[..., Study], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clumsy(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file", "my_notes.txt")

    monkeypatch.setattr("tests.fakes.Narrow.prune", clumsy)
    (record,) = run_study(study("methods=['narrow']", "ratios=[0.8]"), store, Serial())
    assert record.status == "failed" and "my_notes.txt" in record.reason


def test_drafts_of_killed_processes_go_and_those_of_living_ones_stay(
    study: Callable[..., Study], store: Store
) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    folder, here = store.folder / "models" / "x", platform.node()
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
    with Disk(0, errno.EROFS, only="replace").watched():
        assert store.read(cell.key) is None
    assert path.is_file() and "cannot be set aside (Read-only file system)" in caplog.text
