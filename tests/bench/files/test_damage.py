"""Damage of stored files: bits that flip and ends that are missing, at random places in every kind of file, are never read as if whole."""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tests.fakes  # noqa: F401  it registers the fake task and the fake method
from bench.errors import ConfigError
from bench.export.saved import load, save_graph
from bench.export.selection import chosen
from bench.report.mlflow_state import read_note
from bench.report.mlflow_sync import log_study
from bench.runner.executors.serial import Serial
from bench.runner.run import run_study
from bench.runner.single import Wish, prune_once
from bench.study.store import Store
from bench.study.study import Study, load_study
from bench.training.checkpoints import Checkpoints, _whole
from bench.training.pretrained import find
from bench.training.sample_crops import is_whole
from tests.bench.report.mlflow_in_memory import Server
from tests.fakes import Tiny

STUDY = """
tasks = ["fake"]
backbones = [{backbone = "tiny", width = 4}]
methods = ["unpruned", "narrow", {method = "random_search", samples = 2}]
ratios = [0.8]
"""
URI = "http://somewhere"
CASES = 17  # of each of the 12 kinds
Read = Callable[[Path, Path], Any]  # run folder, file -> what a reader gets, or nothing


def study_at(folder: Path) -> Study:
    (folder / "tiny.toml").write_text(STUDY)
    return load_study(folder / "tiny.toml")


def study_file(run: Path, file: Path) -> Any:
    store = Store(run)
    return store.cells() and (store.name(), store.command(), store.cells())


def network(run: Path, file: Path) -> Any:
    return {name: tensor.tolist() for name, tensor in load(file.parent).state_dict().items()}


def note(run: Path, file: Path) -> Any:
    return read_note(run, URI)["records"]


KINDS: dict[str, tuple[str, Read]] = {
    "study": (r"study\.json", study_file),
    "record": (r"records/\w+\.json", lambda run, file: Store(run).read(file.stem)),
    "description": (r"models/\w+/spec\.json", network),
    "weights": (r"models/\w+/weights\.safetensors", network),
    "crop": (r"patches/.+\.png", lambda run, file: is_whole(file) and file.read_bytes()),
    "unpruned network": (
        r"pretrained/\w+\.safetensors",
        lambda run, file: find(Store(run).cells()[0], [file.parent]),
    ),
    "its recipe": (
        r"pretrained/\w+\.json",
        lambda run, file: find(Store(run).cells()[0], [file.parent]),
    ),
    "losses of a search": (
        r"work/\w+/numbers\.json",
        lambda run, file: Checkpoints(file.parent).numbers(),
    ),
    "checkpoint": (r"work/\w+/\w+\.checkpoint", lambda run, file: _whole(file)),
    "note of a copy": (r"mlflow-\w+\.json", note),
    "network in a folder": (r"(pruned|graph)/(spec\.json|weights\.safetensors)", network),
    "record in a folder": (r"pruned/record\.json", lambda run, file: chosen(file.parent).shape),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which everything is that prunebench writes, and in it the folders of networks that were pruned and exported alone."""
    home = tmp_path_factory.mktemp("home")
    run, quick = home / "results" / "runs" / "demo", ("recipe.finetune_steps=1",)
    run.mkdir(parents=True)
    store = Store(run, checkpoint_seconds=1e-9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "bench.runner.run._forget", lambda *_: None
        )  # what a killed job leaves behind
        records = run_study(study_at(home), store, Serial(), command="prunebench run tiny")
        assert [record.status for record in records] == ["done"] * 3
        patch.setattr("mlflow.MlflowClient", Server())
        assert log_study(run, "demo", records, store.cells(), URI) == 3
    prune_once(
        Wish("narrow", "tiny", "fake", {"width": 4}, 0.8, None, "embedded", 0, "planned", quick),
        run / "pruned",
        home / "alone",
    )
    save_graph(run / "graph", Tiny(2))
    return run


@pytest.fixture
def copied(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes a copy to damage."""

    def copy() -> Path:
        home = finished.parents[2]
        shutil.rmtree(home / "copy" / "run", ignore_errors=True)
        return Path(shutil.copytree(finished, home / "copy" / "run" / "demo"))

    return copy


def kind_of(place: str) -> list[str]:
    return [kind for kind, (pattern, _) in KINDS.items() if re.fullmatch(pattern, place)]


def files_of(kind: str, run: Path) -> list[Path]:
    return [
        file
        for file in sorted(run.rglob("*"))
        if file.is_file() and kind_of(file.relative_to(run).as_posix()) == [kind]
    ]


def damaged(content: bytes, draws: random.Random) -> bytes:
    """One bit is another, or, every third time, the end is missing."""
    place = draws.randrange(len(content))
    if draws.randrange(3) == 0:
        return content[:place]
    return (
        content[:place] + bytes([content[place] ^ 1 << draws.randrange(8)]) + content[place + 1 :]
    )


def test_every_file_of_a_finished_run_is_of_a_kind_that_is_tested(finished: Path) -> None:
    places = [
        file.relative_to(finished).as_posix()
        for file in finished.rglob("*")
        if file.is_file() and file.suffix != ".lock"
    ]
    assert {place: kind_of(place) for place in places if len(kind_of(place)) != 1} == {}
    assert all(files_of(kind, finished) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_never_read(kind: str, copied: Callable[[], Path]) -> None:
    draws, read, wrong = random.Random(kind), KINDS[kind][1], []
    for _ in range(CASES):
        run = copied()
        file = draws.choice(files_of(kind, run))
        content = file.read_bytes()
        whole = read(run, file)
        assert whole
        file.write_bytes(damaged(content, draws))
        try:
            found = read(run, file)
        except ConfigError as error:
            assert "\n" not in str(error)
            continue
        if found and found != whole:
            wrong.append((file, found))
    assert wrong == []


def test_what_is_damaged_in_a_run_is_set_aside_and_made_again(
    copied: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    run, draws = copied(), random.Random(0)
    before = Store(run).records()
    again = ("study", "record", "unpruned network", "losses of a search", "checkpoint")
    for kind in again:
        for file in files_of(kind, run):
            file.write_bytes(damaged(file.read_bytes(), draws))
    after = run_study(study_at(run.parent), Store(run), Serial())
    assert [(record.key, record.scores) for record in after] == [
        (record.key, record.scores) for record in before
    ]
    left = {
        kind: len(
            [
                text
                for text in caplog.messages
                if "set aside" in text and re.search(KINDS[kind][0], text)
            ]
        )
        for kind in again
    }
    assert left == {
        "study": 1,
        "record": 3,
        "unpruned network": 1,
        "losses of a search": 1,
        "checkpoint": 2,
    }


def test_a_record_whose_network_is_damaged_stays_in_the_table(copied: Callable[[], Path]) -> None:
    run = copied()
    before = Store(run).records()
    for file in files_of("weights", run):
        file.write_bytes(file.read_bytes()[:-1])
    assert Store(run).records() == before
    with pytest.raises(
        ConfigError,
        match=r"weights\.safetensors is damaged.*move its records/KEY\.json away and repeat the run",
    ):
        load(Store(run).model_folder(before[0].key))
