"""A job with a folder of its own, as if on another machine: what it says, what it hands back, what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.export.saved import load
from bench.records import Record
from bench.runner.executors.remote_job import network_files, our_version, said_by, unpack
from bench.runner.executors.serial import Serial
from bench.runner.run import Pretraining, Work, run_study
from bench.study.store import Store
from bench.training.pretrained import pretrained_key


def same(one: Record, other: Record) -> bool:
    """All but the time it took."""
    return replace(one, seconds={}) == replace(other, seconds={})


def test_a_job_elsewhere_gives_the_records_and_files_that_it_gives_here(
    study, store, tmp_path: Path
) -> None:
    here = {record.key: record for record in run_study(study(), Store(tmp_path / "here"), Serial())}
    jobs, work = study().jobs(study().cells()), Work(tmp_path / "never", "cpu")
    for job in [Pretraining(study().cells()[0]), *jobs]:
        key = pretrained_key(study().cells()[0])
        for kind, content, files in said_by(
            job, work, network_files(store.folder, key), our_version()
        ):
            unpack(files, store.folder)
            if kind == "record":
                store.write(content)
                assert same(content, here[content.key])
                assert f"pretrained/{key}.json" not in files
    files = [
        sorted(path.relative_to(one) for path in one.rglob("*.*"))
        for one in (store.folder, tmp_path / "here")
    ]
    assert [path for path in files[1] if path.parts[0] not in ("locks", "study.json")] == files[0]
    assert all(load(store.model_folder(key)) for key in here) and not work.folder.exists()


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
        list(said_by(job, Work(tmp_path, "cpu"), {}, our_version()))
    with pytest.raises(ConfigError, match=r"and the driver 0\.0"):
        list(said_by(job, Work(tmp_path, "cpu"), {}, "0.0"))
