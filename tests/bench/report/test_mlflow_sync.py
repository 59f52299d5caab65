"""Records in MLflow: the copy is complete, has no duplicates, and no failure costs a record."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

from bench.files.lock import hold_lock
from bench.report.frame import merge_rows
from bench.report.mlflow_state import check_intact, read_note, write_note
from bench.report.mlflow_sync import MlflowCopy, log_study, tracking_uri
from bench.study.store import Store
from tests.bench.report.mlflow_in_memory import Server
from tests.bench.report.stored import make_store
from tests.bench.report.synthetic import cell, record, study_cells, study_records, unfinished_record


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder below results/runs, as `prunebench run` makes it."""
    path = tmp_path / "results" / "runs" / "demo"
    path.mkdir(parents=True)
    return path


def read_runs(folder: Path) -> tuple[Any, list[Any]]:
    """Return the client and all runs, the parent first."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri(folder))
    experiment = client.get_experiment_by_name("prunebench")
    return client, sorted(
        client.search_runs([experiment.experiment_id]),
        key=lambda run: "mlflow.parentRunId" in run.data.tags,
    )


def test_a_study_is_a_parent_with_one_nested_run_per_record(folder: Path) -> None:
    records = [record(cell()), unfinished_record(cell(ratio=0.25), "failed", "it broke")]
    assert log_study(folder, "demo", records, study_cells()) == 2
    client, (parent, *nested) = read_runs(folder)
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        f"table.{fmt}" for fmt in ("md", "csv", "tex", "json")
    } | {"report.html"}
    done = next(run for run in nested if run.data.tags["prunebench.status"] == "done")
    assert [file.path for file in client.list_artifacts(done.info.run_id)] == ["record.json"]
    assert done.data.tags["prunebench.key"] == records[0].key
    assert done.data.metrics["psnr_db"] == records[0].means["psnr_db"]
    assert done.data.params["recipe.batch"] == str(records[0].cell.recipe.batch)
    assert (folder.parent.parent / "mlflow.db").is_file() and (
        folder.parent.parent / "mlflow_artifacts"
    ).is_dir()


def test_everything_reads_back_through_the_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client's load_table uses the global URI.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(folder))
    store = make_store(folder, seeds=(0, 1))
    assert log_study(folder, "demo", store.records(), store.cells()) == 20
    client, (parent, *nested) = read_runs(folder)
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}
    records = {record.key: record for record in store.records()}
    for run in nested:
        record = records[run.data.tags["prunebench.key"]]
        assert run.data.metrics.keys() == {"psnr_db", "ssim", "peak_mib", "parameters", "seconds"}
        assert run.data.metrics["psnr_db"] == record.means["psnr_db"]
        assert run.data.metrics["peak_mib"] == (record.peak_bytes or 0) / 2**20
        assert run.data.params["ratio"] == str(record.cell.ratio)
    figures = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert figures >= {f"figures/{name}.png" for name in ("curve", "memory", "pattern", "visual")}
    page = client.download_artifacts(parent.info.run_id, "report.html")
    assert "20 of 20 cells done" in Path(page).read_text("utf-8")
    for _ in range(2):  # a table that is logged again replaces the old one
        table = client.load_table(
            parent.info.experiment_id, "table.json", run_ids=[parent.info.run_id]
        )
        rows = merge_rows(store.records(), store.cells())
        assert table["psnr_db"].tolist() == [row["psnr_db"] for row in rows]
        assert table["label"].tolist() == [row["label"] for row in rows]
        next(folder.glob("mlflow-*.json")).unlink()
        log_study(folder, "demo", store.records(), store.cells())


def test_what_was_logged_is_not_logged_again_even_without_the_note(folder: Path) -> None:
    records = study_records()[:2]
    assert log_study(folder, "demo", records) == 2
    assert log_study(folder, "demo", records) == 0
    for note in folder.glob("mlflow-*.json"):
        note.write_text("broken")
    log_study(folder, "demo", records)
    assert len(read_runs(folder)[1]) == 3


def test_a_record_that_changed_is_logged_into_its_run(folder: Path) -> None:
    done = record(cell())
    log_study(folder, "demo", [replace(done, status="failed", means={})])
    renamed = replace(done, cell=replace(done.cell, label="another name", data="elsewhere"))
    assert log_study(folder, "demo", [renamed]) == 1
    _, (_, only) = read_runs(folder)
    assert only.data.tags["prunebench.status"] == "done"
    assert only.data.tags["prunebench.label"] == "another name"


def test_a_second_call_does_not_even_import_mlflow(folder: Path) -> None:
    log_study(folder, "demo", [record(cell())])
    code = f"""
import sys
from bench.report.mlflow_sync import log_study
from tests.bench.report.synthetic import cell, record
assert log_study({str(folder)!r}, "demo", [record(cell())]) == 0
assert "mlflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_a_failing_mlflow_is_one_warning_that_says_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        log_study(folder, "demo", [record(cell())], uri="sqlite:////proc/no/such/place.db") is None
    )
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert f"prunebench sync {folder}" in warning


def test_mlflow_is_quiet(folder: Path) -> None:
    code = f"""
from bench.report.mlflow_sync import log_study
from tests.bench.report.synthetic import cell, record
log_study({str(folder)!r}, "demo", [record(cell())])
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert process.stdout + process.stderr == ""


def test_the_default_database_is_beside_runs_or_in_the_folder(folder: Path, tmp_path: Path) -> None:
    assert tracking_uri(folder) == f"sqlite:///{(tmp_path / 'results' / 'mlflow.db').as_posix()}"
    assert (
        tracking_uri(tmp_path / "other")
        == f"sqlite:///{(tmp_path / 'other' / 'mlflow.db').as_posix()}"
    )


def test_the_environment_names_the_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    assert tracking_uri(folder) == "http://somewhere"


@pytest.fixture
def make_server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """Return a function that makes a server in memory, which every client then uses.

    The page is a stand-in that is written quickly.
    """

    def write_page(store: Any, results: Any, path: Path) -> Path:
        path.write_text("page")
        return path

    monkeypatch.setattr("bench.report.page.write_page", write_page)

    def make_server(*args: Any) -> Server:
        server = Server(*args)
        monkeypatch.setattr("mlflow.MlflowClient", server)
        return server

    return make_server


@pytest.mark.parametrize("late", [False, True])
def test_a_copy_that_ends_at_any_call_is_completed_by_the_next_and_nothing_is_there_twice(
    folder: Path, make_server: Callable[..., Server], late: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    records = study_records()[:3]
    network = folder / "models" / records[0].key
    network.mkdir(parents=True)
    (network / "spec.json").write_text("{}")
    undisturbed = make_server()
    assert log_study(folder, "demo", records, uri="http://a") == 3
    assert undisturbed.calls > 20
    for call in range(undisturbed.calls):
        server = make_server(call, late)
        uri = f"http://{call}"
        assert log_study(folder, "demo", records, uri=uri) is None
        warning = capsys.readouterr().err
        assert warning.count("\n") == 1 and f"prunebench sync {folder}" in warning
        copied = {run.data.tags["prunebench.key"] for run in server.children()}
        completed = log_study(folder, "demo", records, uri=uri)
        assert completed is not None and completed >= 3 - len(copied)
        assert log_study(folder, "demo", records, uri=uri) == 0
        assert state(server) == state(undisturbed) and len(server.models) == 1


def state(server: Server) -> list[Any]:
    """Return all runs without the values that differ between servers."""
    changing = ("prunebench.key", "mlflow.parentRunId")
    changing_fields = {"model_id": "", "run": ""}
    return sorted(
        (
            run.data.tags.get("prunebench.key", ""),
            run.info.status,
            {name: value for name, value in run.data.tags.items() if name not in changing},
            run.data.params,
            run.data.metrics,
            sorted(run.artifacts),
            run.inputs,
            [vars(server.models[output.model_id]) | changing_fields for output in outputs],
        )
        for run in server.runs.values()
        for outputs in [run.outputs.model_outputs]
    )


def test_a_record_that_mlflow_lost_is_copied_again(
    folder: Path, make_server: Callable[..., Server]
) -> None:
    records = study_records()[:3]
    server = make_server()
    assert log_study(folder, "demo", records[:2], uri="http://a") == 2
    server.runs.pop(server.children()[0].info.run_id)
    assert log_study(folder, "demo", records, uri="http://a") == 2
    assert sorted(run.data.tags["prunebench.key"] for run in server.children()) == sorted(
        record.key for record in records
    )


def test_a_note_about_a_database_whose_file_is_gone_says_nothing(folder: Path) -> None:
    uri = f"sqlite:///{folder}/gone.db"
    write_note(folder, uri, {"parent": "run1"})
    assert read_note(folder, uri)["parent"] is None
    (folder / "gone.db").touch()
    assert read_note(folder, uri)["parent"] == "run1"


def test_an_interruption_while_the_database_is_made_leaves_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "mlflow.MlflowClient.search_experiments",
            lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
        assert log_study(folder, "demo", [record(cell())]) is None
    assert [path for path in folder.parent.parent.iterdir() if path.suffix != ".lock"] == [
        folder.parent
    ]
    assert log_study(folder, "demo", [record(cell())]) == 1


def test_a_database_that_cannot_be_written_is_told_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert log_study(folder, "demo", [record(cell())]) is None
    assert f"{folder.parent.parent} cannot be written" in capsys.readouterr().err


def test_a_server_that_is_away_is_one_warning_and_changes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # instead of two, with pauses
    store = make_store(tmp_path / "run", seeds=(0,))
    before = {path: path.read_bytes() for path in store.folder.rglob("*.*")}
    assert (
        log_study(store.folder, "demo", store.records(), store.cells(), uri="http://127.0.0.1:9")
        is None
    )
    assert f"prunebench sync {store.folder}" in capsys.readouterr().err
    assert {
        path: path.read_bytes() for path in store.folder.rglob("*.*") if path.suffix != ".lock"
    } == before


def test_two_that_copy_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = Barrier(2)
    meetings = []

    def copy(*_: Any) -> int:
        with suppress(BrokenBarrierError):
            barrier.wait(0.3)
            meetings.append("both were inside")
        return 1

    monkeypatch.setattr("bench.report.mlflow_sync._copy_study", copy)
    arguments = (tmp_path, "study", [record(cell())], (), f"sqlite:///{tmp_path}/mlflow.db")
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: log_study(*arguments), range(2))) == [1, 1]
    assert meetings == []


def test_each_record_is_there_as_soon_as_it_is_written(folder: Path) -> None:
    store = make_store(folder, pending=8)
    first, second = store.records()
    listener = MlflowCopy(store)
    for written in (first, first, second):
        listener.on_record(written)
    _, (parent, *nested) = read_runs(folder)
    assert (parent.info.status, parent.data.tags["mlflow.runName"]) == ("RUNNING", "by-hand")
    assert {run.data.tags["prunebench.key"] for run in nested} == {first.key, second.key}
    assert log_study(folder, "by-hand", store.records(), store.cells()) == 0
    _, (parent, *nested) = read_runs(folder)
    assert parent.info.status == "FINISHED" and len(nested) == 2


def test_a_server_that_fails_during_a_run_is_asked_once_and_warned_of_once(
    folder: Path, make_server: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    server = make_server(0)
    listener = MlflowCopy(make_store(folder, pending=7), uri="http://a")
    for written in Store(folder).records():
        listener.on_record(written)
    assert server.calls == 1
    assert capsys.readouterr().err.count("warning: MLflow at http://a failed") == 1
    assert log_study(folder, "by-hand", Store(folder).records(), uri="http://a") == 3


def test_a_run_does_not_wait_for_another_that_is_writing_to_mlflow(folder: Path) -> None:
    store = make_store(folder, pending=9)
    with hold_lock(folder.parent.parent / "mlflow.db.lock"):
        MlflowCopy(store).on_record(store.records()[0])
    assert not (folder.parent.parent / "mlflow.db").exists()


def test_a_folder_of_any_name_has_its_database_in_it(tmp_path: Path) -> None:
    name = "ü 100%25 #x?y"
    folder = tmp_path / name / "runs" / "demo"
    assert log_study(folder, "demo", [record(cell())]) == 1
    assert (tmp_path / name / "mlflow.db").is_file()
    assert (tmp_path / name / "mlflow.db.lock").is_file()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("start", [0, 4096])
def test_a_damaged_database_is_named_at_once(
    start: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = folder.parent.parent / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table numbers (number integer primary key)")
        connection.executemany("insert into numbers values (?)", ((i,) for i in range(2000)))
        connection.commit()
    check_intact(database)
    content = database.read_bytes()
    database.write_bytes(content[:start] + b"x" * 2000 + content[start + 2000 :])
    assert log_study(folder, "demo", [record(cell())]) is None
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{database} is damaged" in said and "move it away, and it is made anew" in said


def test_of_another_database_of_the_same_name_nothing_is_noted(folder: Path) -> None:
    uri = tracking_uri(folder)
    database = folder.parent.parent / "mlflow.db"
    database.touch()
    note = read_note(folder, uri) | {"parent": "p", "records": {"k": {"run": "r"}}}
    write_note(folder, uri, note)
    assert read_note(folder, uri)["records"] == note["records"]
    database.rename(database.with_name("away"))
    database.touch()
    assert (read_note(folder, uri)["records"], read_note(folder, uri)["parent"]) == ({}, "p")


def test_waiting_for_another_process_is_told_and_ends(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bench.files.lock.NOTICE_SECONDS", 0.01)
    monkeypatch.setattr("bench.files.lock.LIMIT_SECONDS", 0.02)
    lock = folder.parent.parent / "mlflow.db.lock"
    with hold_lock(lock):
        assert log_study(folder, "demo", [record(cell())]) is None
    assert f"waiting for another process, which has locked {lock}" in caplog.text
    (said,) = capsys.readouterr().err.splitlines()
    assert "wait for it or end it, and repeat the command" in said


def test_temporary_files_of_a_copy_are_in_the_run_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents: list[Path] = []
    monkeypatch.setattr(
        "bench.report.mlflow_sync._copy_study",
        lambda *_: parents.append(Path(tempfile.mkdtemp()).parent),
    )
    log_study(folder, "demo", [record(cell())])
    assert parents[0].parent == folder and not parents[0].exists()
    assert Path(tempfile.gettempdir()) != parents[0]
