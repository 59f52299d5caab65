"""The store: records are whole or missing, and come in the order of the study."""

import json
from dataclasses import replace

import pytest

from bench.files import atomic
from bench.records import Record


@pytest.fixture
def records(study):
    return [
        Record(cell, "done", means={"psnr_db": float(index)}, kept={"first": [0]})
        for index, cell in enumerate(study().cells())
    ]


def test_a_written_record_is_read_back(store, records):
    store.write(records[0])
    assert store.read(records[0].key) == records[0] and store.read(records[1].key) is None


def test_nothing_is_created_before_there_is_something_to_write(store, records):
    assert store.records() == store.cells() == [] and store.read(records[0].key) is None
    assert not store.folder.exists()


def test_records_come_in_the_order_of_the_study_with_its_labels(store, records):
    for record in reversed(records[1:]):
        store.write(record)
    renamed = [replace(record.cell, label=f"new {record.cell.label}") for record in records]
    store.write_study("tiny", renamed)
    assert [record.cell for record in store.records()] == renamed[1:]
    assert store.cells() == renamed and store.name() == "tiny"


@pytest.mark.parametrize("damage", ["", "{", "[1]", "checksum", "other cell"])
def test_a_damaged_record_is_set_aside_with_a_warning(store, records, damage, caplog):
    store.write(records[0])
    path = store.folder / "records" / f"{records[0].key}.json"
    if damage == "checksum":
        path.write_text(path.read_text().replace('"psnr_db": 0.0', '"psnr_db": 99.0'))
    elif damage == "other cell":
        store.write(records[1])
        path.write_bytes((path.parent / f"{records[1].key}.json").read_bytes())
    else:
        path.write_text(damage)
    assert store.read(records[0].key) is None and "set aside" in caplog.text
    assert path.with_name(f"{path.name}.damaged").is_file() and not path.exists()


def test_a_write_that_fails_leaves_the_old_file(store, records, monkeypatch):
    store.write(records[0])
    path = store.folder / "records" / f"{records[0].key}.json"
    before = path.read_bytes()
    monkeypatch.setattr(
        atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        store.write(replace(records[0], reason="newer"))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_study_file_does_not_hide_the_records(store, records, caplog):
    store.write(records[0])
    store.folder.joinpath("study.json").write_text(json.dumps({"name": "x"}))
    assert store.records() == [records[0]] and "set aside" in caplog.text
