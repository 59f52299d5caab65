"""A job in a temporary folder, as on another machine: its messages, its files, its refusals."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.export.saved import load
from bench.records import Record
from bench.runner.executors.remote_job import (
    network_files,
    prunebench_version,
    run_remotely,
    unpack,
)
from bench.runner.executors.serial import SerialExecutor
from bench.runner.run import JobRunner, Pretraining, run_study
from bench.study.store import Store
from bench.training.pretrained import pretrained_key


def are_equal(first: Record, second: Record) -> bool:
    """Return whether two records differ in nothing but their time."""
    timeless = {"seconds": {}, "image_seconds": None, "unpruned_image_seconds": None}
    return replace(first, **timeless) == replace(second, **timeless)


def test_a_job_elsewhere_gives_the_records_and_files_that_it_gives_here(
    study, store, tmp_path: Path
) -> None:
    records = run_study(study(), Store(tmp_path / "local"), SerialExecutor())
    local = {record.key: record for record in records}
    cells = study().cells()
    key = pretrained_key(cells[0])
    runner = JobRunner(tmp_path / "never", "cpu")
    for job in [Pretraining(cells[0]), *study().jobs(cells)]:
        for kind, content, files in run_remotely(
            job, runner, network_files(store.folder, key), prunebench_version()
        ):
            unpack(files, store.folder)
            if kind == "record":
                store.write(content)
                assert are_equal(content, local[content.key])
                assert f"pretrained/{key}.json" not in files
    remote_files, local_files = (
        sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
        for folder in (store.folder, tmp_path / "local")
    )
    own = ("locks", "study.json")
    assert [path for path in local_files if path.parts[0] not in own] == remote_files
    assert all(load(store.model_folder(key)) for key in local) and not runner.folder.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method_source": "another"}, "has another source of method unpruned than the driver"),
        ({"data_fingerprint": "another"}, "has other photographs in embedded than the driver"),
    ],
)
def test_a_node_that_would_answer_another_question_says_so(
    study, tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    job = Pretraining(replace(study().cells()[0], **change))
    with pytest.raises(ConfigError, match=sentence):
        list(run_remotely(job, JobRunner(tmp_path, "cpu"), {}, prunebench_version()))
    with pytest.raises(ConfigError, match=r"and the driver 0\.0"):
        list(run_remotely(job, JobRunner(tmp_path, "cpu"), {}, "0.0"))
