"""Damaged files are never read as if they were whole.

In every kind of stored file, bits are flipped and ends are cut off at random positions.
"""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tests.fakes  # noqa: F401  registers the fake task and method
from bench.errors import ConfigError
from bench.export.saved import load, save_graph
from bench.export.selection import select_network
from bench.files.crops import is_intact
from bench.report.mlflow_state import read_note
from bench.report.mlflow_sync import log_study
from bench.runner.executors.serial import SerialExecutor
from bench.runner.prune import PruneRequest, prune_once
from bench.runner.run import run_study
from bench.study.store import Store
from bench.study.study import Study, load_study
from bench.training.checkpoints import Checkpoints, _read_verified_content
from bench.training.pretrained import find_weights
from tests.bench.report.mlflow_in_memory import Server
from tests.fakes import Tiny

STUDY = """
tasks = ["fake"]
backbones = [{backbone = "tiny", width = 4}]
methods = ["unpruned", "narrow", {method = "random_search", samples = 2}]
ratios = [0.8]
"""
URI = "http://somewhere"
CASES = 17  # of each of the 12 kinds of file
Read = Callable[[Path, Path], Any]  # (run folder, file) -> what a reader returns, or nothing


def load_study_from(folder: Path) -> Study:
    (folder / "tiny.toml").write_text(STUDY)
    return load_study(folder / "tiny.toml")


def read_study(run: Path, file: Path) -> Any:
    store = Store(run)
    return store.cells() and (store.name(), store.command(), store.cells())


def read_network(run: Path, file: Path) -> Any:
    return {name: tensor.tolist() for name, tensor in load(file.parent).state_dict().items()}


def read_mlflow_note(run: Path, file: Path) -> Any:
    return read_note(run, URI)["records"]


KINDS: dict[str, tuple[str, Read]] = {
    "study": (r"study\.json", read_study),
    "record": (r"records/\w+\.json", lambda run, file: Store(run).read(file.stem)),
    "description": (r"models/\w+/spec\.json", read_network),
    "weights": (r"models/\w+/weights\.safetensors", read_network),
    "crop": (r"patches/.+\.png", lambda run, file: is_intact(file) and file.read_bytes()),
    "unpruned network": (
        r"pretrained/\w+\.safetensors",
        lambda run, file: find_weights(Store(run).cells()[0], [file.parent]),
    ),
    "its recipe": (
        r"pretrained/\w+\.json",
        lambda run, file: find_weights(Store(run).cells()[0], [file.parent]),
    ),
    "losses of a search": (
        r"work/\w+/numbers\.json",
        lambda run, file: Checkpoints(file.parent).read_numbers(),
    ),
    "checkpoint": (r"work/\w+/\w+\.checkpoint", lambda run, file: _read_verified_content(file)),
    "note of a copy": (r"mlflow-\w+\.json", read_mlflow_note),
    "network in a folder": (r"(pruned|graph)/(spec\.json|weights\.safetensors)", read_network),
    "record in a folder": (
        r"pruned/record\.json",
        lambda run, file: select_network(file.parent).shape,
    ),
}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with every kind of file, also those of `prune` and `export`."""
    home = tmp_path_factory.mktemp("home")
    run = home / "results" / "runs" / "demo"
    quick = ("recipe.finetune_steps=1",)
    run.mkdir(parents=True)
    store = Store(run, checkpoint_seconds=1e-9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "bench.runner.run._delete_checkpoints", lambda *_: None
        )  # what a killed job leaves behind
        records = run_study(
            load_study_from(home), store, SerialExecutor(), command="prunebench run tiny"
        )
        assert [record.status for record in records] == ["done"] * 3
        patch.setattr("mlflow.MlflowClient", Server())
        assert log_study(run, "demo", records, store.cells(), URI) == 3
    prune_once(
        PruneRequest(
            "narrow", "tiny", "fake", {"width": 4}, 0.8, None, "embedded", 0, "planned", quick
        ),
        run / "pruned",
        home / "alone",
        executor=SerialExecutor(),
    )
    save_graph(run / "graph", Tiny(2))
    return run


@pytest.fixture
def copy_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """copy_run(): a fresh copy of the run folder."""

    def copy() -> Path:
        home = finished_run.parents[2]
        shutil.rmtree(home / "copy" / "run", ignore_errors=True)
        return Path(shutil.copytree(finished_run, home / "copy" / "run" / "demo"))

    return copy


def kinds_of(name: str) -> list[str]:
    return [kind for kind, (pattern, _) in KINDS.items() if re.fullmatch(pattern, name)]


def files_of(kind: str, run: Path) -> list[Path]:
    return [
        file
        for file in sorted(run.rglob("*"))
        if file.is_file() and kinds_of(file.relative_to(run).as_posix()) == [kind]
    ]


def damage(content: bytes, draws: random.Random) -> bytes:
    """Flip one bit or, every third time, cut off the end."""
    position = draws.randrange(len(content))
    before, byte, after = content[:position], content[position], content[position + 1 :]
    if draws.randrange(3) == 0:
        return before
    return before + bytes([byte ^ 1 << draws.randrange(8)]) + after


def test_every_file_of_a_finished_run_is_of_a_kind_that_is_tested(finished_run: Path) -> None:
    names = [
        file.relative_to(finished_run).as_posix()
        for file in finished_run.rglob("*")
        if file.is_file() and file.suffix != ".lock"
    ]
    assert {name: kinds_of(name) for name in names if len(kinds_of(name)) != 1} == {}
    assert all(files_of(kind, finished_run) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_never_read(kind: str, copy_run: Callable[[], Path]) -> None:
    draws = random.Random(kind)
    read = KINDS[kind][1]
    wrong = []
    for _ in range(CASES):
        run = copy_run()
        file = draws.choice(files_of(kind, run))
        content = file.read_bytes()
        whole = read(run, file)
        assert whole
        file.write_bytes(damage(content, draws))
        try:
            after = read(run, file)
        except ConfigError as error:
            assert "\n" not in str(error)
            continue
        if after and after != whole:
            wrong.append((file, after))
    assert wrong == []


def test_damaged_files_of_a_run_are_set_aside_and_made_again(
    copy_run: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    run = copy_run()
    draws = random.Random(0)
    before = Store(run).records()
    damaged_kinds = ("study", "record", "unpruned network", "losses of a search", "checkpoint")
    for kind in damaged_kinds:
        for file in files_of(kind, run):
            file.write_bytes(damage(file.read_bytes(), draws))
    after = run_study(load_study_from(run.parent), Store(run), SerialExecutor())
    assert [(record.key, record.scores) for record in after] == [
        (record.key, record.scores) for record in before
    ]
    warnings = {
        kind: len(
            [
                text
                for text in caplog.messages
                if "set aside" in text and re.search(KINDS[kind][0], text)
            ]
        )
        for kind in damaged_kinds
    }
    assert warnings == {
        "study": 1,
        "record": 3,
        "unpruned network": 1,
        "losses of a search": 1,
        "checkpoint": 2,
    }


def test_a_record_whose_network_is_damaged_stays_in_the_table(copy_run: Callable[[], Path]) -> None:
    run = copy_run()
    before = Store(run).records()
    for file in files_of("weights", run):
        file.write_bytes(file.read_bytes()[:-1])
    assert Store(run).records() == before
    with pytest.raises(
        ConfigError,
        match=r"weights\.safetensors is damaged.*"
        r"move its records/KEY\.json away and repeat the run",
    ):
        load(Store(run).model_folder(before[0].key))
