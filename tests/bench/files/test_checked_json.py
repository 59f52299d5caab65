"""JSON files with a checksum: damaged files, files of newer and of older programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.cli.main import main
from bench.errors import ConfigError
from bench.export.saved import load, save_graph
from bench.files import checked_json
from bench.files.crops import is_intact
from bench.records import SCHEMA, Record
from bench.report.mlflow_state import read_note, write_note
from bench.study.store import Store
from bench.study.study import Study
from bench.training.pretrained import PACKAGED_NETWORKS, find_weights, load_or_train, pretrained_key
from tests.fakes import FakeTask, Tiny

MakeStudy = Callable[..., Study]


def rewrite(file: Path, **changes: Any) -> None:
    """Change the content of a file, with a checksum that matches."""
    content = json.loads(file.read_bytes()) | changes
    del content["checksum"]
    checked_json.write(file, content)


def test_written_content_is_read_back(tmp_path: Path) -> None:
    checked_json.write(tmp_path / "a.json", {"schema": 3, "b": [1.5, "ü"], "a": {}})
    assert checked_json.read(tmp_path / "a.json", 3) == {"schema": 3, "b": [1.5, "ü"], "a": {}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[]", "not a JSON object"),
        ('{"a": 1}', "no checksum"),
        ('{"a": 1, "checksum": null}', "does not match"),
        ('{"old": 1, "chacksum": "of what was sealed"}', "no checksum"),
        ("[" * 100_000, "nested too deeply"),
        (checked_json.serialize({"schema": "2"}).decode(), "its schema is 2"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=why):
        checked_json.read(tmp_path / "a.json", SCHEMA)


def test_files_of_a_newer_program_are_refused_in_one_line_and_stay(
    store: Store, study: MakeStudy, capsys: Any
) -> None:
    cells = study().cells()
    store.write_study("tiny", cells)
    store.write(Record(cells[0], "done"))
    load_or_train(FakeTask(), cells[0], [store.pretrained_folder])
    save_graph(store.folder / "net", Tiny(2))
    write_note(store.folder, "http://a", {"schema": SCHEMA})
    readers: dict[str, Callable[[], Any]] = {
        f"records/{cells[0].key}.json": lambda: store.read(cells[0].key),
        f"pretrained/{pretrained_key(cells[0])}.json": lambda: find_weights(
            cells[0], [store.pretrained_folder]
        ),
        "net/spec.json": lambda: load(store.folder / "net"),
        next(store.folder.glob("mlflow-*")).name: lambda: read_note(store.folder, "http://a"),
        "study.json": store.cells,
    }
    for name, read in readers.items():
        read()
        rewrite(store.folder / name, schema=99)
        with pytest.raises(
            ConfigError,
            match=r"was written by a newer prunebench .schema 99, this one knows .*; "
            r"update this one or choose another folder",
        ):
            read()
    before = (store.folder / "study.json").read_bytes()
    for command in ("table", "report", "sync"):
        assert main([command, str(store.folder)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ConfigError):
        store.write_study("tiny", cells)
    assert (store.folder / "study.json").read_bytes() == before
    assert list(store.folder.rglob("*.damaged")) == []


def test_records_of_an_older_schema_stay_with_a_warning_to_run_the_study_again(
    store: Store, study: MakeStudy, caplog: Any
) -> None:
    records = [Record(cell, "done") for cell in study().cells()]
    for record in records:
        store.write(record)
        rewrite(store.folder / "records" / f"{record.key}.json", schema=SCHEMA - 1)
    again = Store(store.folder)
    assert again.records() == []
    (message,) = caplog.messages
    assert f"of schema {SCHEMA - 1}" in message and "run the study again" in message
    assert list(store.folder.rglob("*.damaged")) == []


def test_a_truncated_crop_is_set_aside(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert not is_intact(tmp_path / "a.png") and (tmp_path / "a.png.damaged").is_file()


def test_the_networks_that_come_with_the_package_have_checksums() -> None:
    sidecars = list(PACKAGED_NETWORKS.glob("*.json"))
    assert sidecars and all("sha256" in checked_json.read(sidecar, SCHEMA) for sidecar in sidecars)
