"""Fuzz targets: each reads hostile input in the way the program does.

Every exception other than a ConfigError of one line is a finding. The suite runs each target on a
few derandomized examples (test_hostile_input.py); guided.py runs them for as long as you like.
"""

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import pyarrow
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

from bench.cli.main import main
from bench.errors import ConfigError
from bench.export.saved import build_skeleton, load, save
from bench.files import atomic, checked_json
from bench.files.hashing import checksum, digest
from bench.records import SCHEMA, Cell
from bench.report import records_file
from bench.report.paper_comparison import render_paper_comparison
from bench.report.results import read_results
from bench.report.significance import render_reference_comparison
from bench.report.table import FORMATS, render_table
from bench.report.write_report import write_report
from bench.study.store import Store
from bench.study.study import load_study
from bench.units import parse_shapes
from tasks.data.decoded_cache import load_data_set
from tasks.data.folders import pairs_folder
from tasks.data.photographs import read_photograph
from tasks.data.sidd import BLOCKS, SIDD
from tests.bench.report.stored import make_store
from tests.fuzz.strategies import damage_bytes, junk, mutate_tree, texts, toml

STUDY: dict[str, Any] = {
    "tasks": ["denoising", {"task": "low_light", "light": 0.1}],
    "backbones": ["unet", {"backbone": "res_unet", "width": 4, "levels": 2}],
    "methods": ["unpruned", "mosp", {"method": "uniform", "label": "u", "start": "slice"}],
    "ratios": [0.25, 0.5],
    "seeds": [0, 1],
    "data": "embedded",
    "convention": ["planned", "eager"],
    "compute": "own",
    "measured_at": "1x3x64x64",
    "recipe": {"patch": 64, "pretrain_rate": 0.001, "finetune_steps": 3},
    "options": {"mosp": {"outer_stride": "1/12"}},
}
SPEC: dict[str, Any] = {
    "task": "denoising",
    "task_options": {},
    "backbone": "unet",
    "backbone_options": {"width": 2, "levels": 2},
    "kept": {"c11": [0], "c21": [0, 2]},
    "inserted": [],
}
MODES = {
    "RGB": "PNG",
    "L": "PNG",
    "P": "GIF",
    "CMYK": "JPEG",
    "RGBA": "WEBP",
    "I;16": "PNG",
    "1": "BMP",
    "F": "TIFF",
    "LA": "TIFF",
}


@contextmanager
def allow_config_errors() -> Iterator[Path]:
    """Yield an empty folder; swallow a ConfigError of one line, let everything else through."""
    logging.disable(logging.ERROR)
    try:
        with TemporaryDirectory() as folder:
            os.environ["PRUNEBENCH_CACHE"] = f"{folder}/cache"
            yield Path(folder)
    except ConfigError as error:
        if "\n" in str(error) or not str(error):
            raise AssertionError(f"not one line: {error!r}") from error
    finally:
        logging.disable(logging.NOTSET)


@given(
    st.binary(max_size=200)
    | damage_bytes("\n".join(f"{key} = {toml(value)}" for key, value in STUDY.items()).encode())
)
def study_bytes(raw: bytes) -> None:
    """A study file of any bytes."""
    with allow_config_errors() as folder:
        (folder / "study.toml").write_bytes(raw)
        load_study(folder / "study.toml").cells()


@given(mutate_tree(STUDY))
def study_values(study: dict[str, Any]) -> None:
    """A study file of any values."""
    with allow_config_errors() as folder:
        lines = "\n".join(f"{json.dumps(str(key))} = {toml(value)}" for key, value in study.items())
        (folder / "study.toml").write_text(lines, errors="replace")
        load_study(folder / "study.toml").cells()


@cache
def real_records() -> list[dict[str, Any]]:
    """Return the records of a study, as JSON."""
    with TemporaryDirectory() as folder:
        return [
            json.loads(path.read_bytes())
            for path in sorted(make_store(Path(folder)).folder.glob("records/*.json"))
        ]


def _write_record(folder: Path, content: Any) -> None:
    """Write a record with a matching checksum and file name."""
    content = {name: value for name, value in content.items() if name != "checksum"}
    try:
        key = Cell.from_json(content["cell"]).key
    except Exception:
        key = "0" * 64
    text = json.dumps(content | {"checksum": digest(content)})
    atomic.write(folder / "records" / f"{key}.json", text.encode())


@given(st.integers(0, 9), st.data())
def record_values(index: int, data: st.DataObject) -> None:
    """A record of any values, in every table format."""
    with allow_config_errors() as folder:
        for record in real_records()[:3]:
            _write_record(folder, record)
        _write_record(folder, data.draw(mutate_tree(real_records()[index])))
        results = read_results(Store(folder))
        for fmt in FORMATS:
            render_table(results, fmt)
        render_paper_comparison(results)
        render_reference_comparison(results, "mosp")


@given(st.integers(0, 9), st.data())
def report(index: int, data: st.DataObject) -> None:
    """The page and the figures of a run that has a record of any values."""
    with allow_config_errors() as folder:
        for record in [*real_records()[:3], data.draw(mutate_tree(real_records()[index]))]:
            _write_record(folder, record)
        list(write_report(Store(folder)))


@given(st.data())
def record_bytes(data: st.DataObject) -> None:
    """A record of any bytes."""
    with allow_config_errors() as folder:
        whole = json.dumps(real_records()[0]).encode()
        raw = data.draw(st.binary(max_size=100) | damage_bytes(whole))
        atomic.write(folder / "records" / f"{real_records()[0]['key']}.json", raw)
        render_table(read_results(Store(folder)))


@given(st.data())
def study_json(data: st.DataObject) -> None:
    """A study.json of any values or bytes."""
    whole = {
        "schema": 2,
        "name": "s",
        "command": "c",
        "cells": [record["cell"] for record in real_records()[:2]],
    }
    with allow_config_errors() as folder:
        sealed = mutate_tree(whole).map(checked_json.serialize)
        raw = data.draw(sealed | damage_bytes(json.dumps(whole).encode()))
        atomic.write(folder / "study.json", raw)
        store = Store(folder)
        render_table(read_results(store))
        store.name(), store.command()


def write_parquet(texts: list[str], about: dict[str, Any]) -> bytes:
    """Return a Parquet file of these records and this description, with a checksum that agrees."""
    metadata = {records_file.METADATA: json.dumps(about | {"checksum": digest(texts)})}
    table = pyarrow.table({records_file.COLUMN: texts}).replace_schema_metadata(metadata)
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink)
    return bytes(sink.getvalue())


@given(st.integers(0, 9), st.data())
def parquet_file(index: int, data: st.DataObject) -> None:
    """A Parquet file of records with damaged bytes, or any description or record."""
    about = {"schema": SCHEMA, "name": "s", "command": "c"}
    with allow_config_errors() as folder:
        if data.draw(st.booleans()):
            content = write_parquet([json.dumps(real_records()[index])], about)
            content = data.draw(damage_bytes(content))
        else:
            hostile = json.dumps(data.draw(mutate_tree(real_records()[index])))
            content = write_parquet([hostile], data.draw(mutate_tree(about)))
        (folder / "records.parquet").write_bytes(content)
        records_file.read_records(folder / "records.parquet")


@cache
def real_network() -> dict[str, bytes]:
    """Return file name -> bytes of a saved network."""
    with TemporaryDirectory() as folder:
        save(folder, build_skeleton(SPEC), **SPEC)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@given(st.data())
def network_folder(data: st.DataObject) -> None:
    """The spec.json and the weights of a saved network."""
    with allow_config_errors() as folder:
        raw = real_network()["spec.json"]
        weights = real_network()["weights.safetensors"]
        spec = {name: value for name, value in json.loads(raw).items() if name != "checksum"}
        if data.draw(st.integers(0, 3)):
            raw = checked_json.serialize(data.draw(mutate_tree(spec)))
        elif data.draw(st.booleans()):
            raw = data.draw(damage_bytes(raw))
        else:
            weights = data.draw(damage_bytes(weights))
            raw = checked_json.serialize(spec | {"sha256": checksum(weights)})
        (folder / "spec.json").write_bytes(raw)
        (folder / "weights.safetensors").write_bytes(weights)
        load(folder)


@cache
def real_image(mode: str) -> bytes:
    """Return a small picture of a colour mode, in its file format."""
    content = io.BytesIO()
    pixels = numpy.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype="uint8")
    Image.fromarray(pixels).convert("L" if mode == "I;16" else mode).convert(mode).save(
        content, MODES[mode]
    )
    return content.getvalue()


@given(st.data())
def image(data: st.DataObject) -> None:
    """One image file."""
    with allow_config_errors() as folder:
        raw = data.draw(damage_bytes(real_image(data.draw(st.sampled_from(list(MODES))))))
        (folder / "x.png").write_bytes(raw)
        read_photograph(folder / "x.png")


@given(st.data())
def image_folder(data: st.DataObject) -> None:
    """A folder of pairs with a hostile name, a folder, a link or a damaged image in it."""
    with allow_config_errors() as root:
        for side in ("train/noisy", "train/clean", "val/noisy", "val/clean"):
            (root / side).mkdir(parents=True)
            (root / side / "a.png").write_bytes(real_image("RGB"))
        split = root / data.draw(st.sampled_from(["train", "val"]))
        name = data.draw(
            st.sampled_from(["a.png", "b.png", "%2e%2e", "-rf", "x" * 250, "a b\n.png", "<b>.png"])
        )
        for side in data.draw(st.sampled_from([("noisy",), ("clean",), ("noisy", "clean")])):
            kinds = ["bytes", "folder", "loop", "away", "fifo", "empty", "gone"]
            _plant(split / side / name, data.draw(st.sampled_from(kinds)), data)
        load_data_set(root, pairs_folder("noisy", "clean"))


def _plant(path: Path, kind: str, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    match kind:
        case "bytes":
            path.write_bytes(
                data.draw(damage_bytes(real_image(data.draw(st.sampled_from(list(MODES))))))
            )
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "away":
            path.symlink_to("/dev/zero" if data.draw(st.booleans()) else "/etc/passwd")
        case "fifo":
            os.mkfifo(path)
        case "empty":
            path.touch()


@cache
def real_blocks(name: str) -> bytes:
    """Return small blocks in the format of SIDD."""
    content = io.BytesIO()
    savemat(
        content, {name: numpy.zeros((1, 2, 16, 16, 3), "uint8")}, do_compression=name == BLOCKS[0]
    )
    return content.getvalue()


@given(st.data())
def mat_file(data: st.DataObject) -> None:
    """The validation blocks of SIDD."""
    with allow_config_errors() as root:
        scene = root / "Data" / "0001"
        scene.mkdir(parents=True)
        for side in ("NOISY", "GT"):
            (scene / f"0001_{side}_SRGB_010.PNG").write_bytes(real_image("RGB"))
        damaged_name = data.draw(st.sampled_from(BLOCKS))
        for name in BLOCKS:
            whole = real_blocks(name)
            content = data.draw(damage_bytes(whole)) if name == damaged_name else whole
            (root / f"{name}.mat").write_bytes(content)
        for photo in SIDD.find_splits(root).test["sidd_validation"]:
            photo.read()


FLAGS = (
    "--shape",
    "--width",
    "--set",
    "--top",
    "--convention",
    "--task",
    "--seeds",
    "--data",
    "--ratio",
    "--format",
    "--seed",
    "--json",
)
COMMANDS = (
    "profile unet",
    "run smoke --dry-run",
    "table .",
    "data check .",
    "export .",
    "list",
    "check uniform",
    "prune uniform",
)
VALUES = (
    "1x3x64x64",
    "width=4",
    "levels=2",
    "ratios=[0.5]",
    "planned",
    "denoising",
    "0,1",
    "0.5",
    "md",
    "1",
    "seeds=[1]",
)


@given(
    st.sampled_from(COMMANDS),
    st.lists(st.tuples(st.sampled_from(FLAGS), st.sampled_from(VALUES) | texts), max_size=3),
)
def arguments(command: str, flags: list[tuple[str, str]]) -> None:
    """Commands that only plan, measure or list: exit code 0, or 2 with a message of one line."""
    with (
        allow_config_errors() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            try:
                code = main([*command.split(), *(word for flag in flags for word in flag)])
            except SystemExit as leaving:
                code = int(leaving.code or 0)
        if code not in (0, 2) or (code == 2 and errors.getvalue().count("\n") != 1):
            raise AssertionError(f"exit code {code}: {errors.getvalue()}")


@given(
    st.lists(
        texts | st.sampled_from(["1x3x64x64", "1x3x8x8", "9" * 99, "1x3x99999x99999"]), max_size=3
    ),
    junk,
)
def overrides(words: list[str], value: Any) -> None:
    """Shapes and --set."""
    with allow_config_errors():
        parse_shapes(",".join(words))
    with allow_config_errors():
        load_study(
            "smoke",
            overrides=[f"{key}={toml(value)}" for key in ("recipe.patch", "ratios", *words)],
        ).cells()


TARGETS: dict[str, Callable[..., None]] = {
    target.__name__: target
    for target in (
        *(study_bytes, study_values, record_values, report, record_bytes, study_json, parquet_file),
        *(network_folder, image, image_folder, mat_file, arguments, overrides),
    )
}
