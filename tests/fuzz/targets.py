"""What is fuzzed: each target reads hostile input the way the program does.

Anything but a ConfigError that comes out is a finding.

The suite runs each on a few derandomized examples (test_hostile_input.py); guided.py runs them for
as long as one likes.
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
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from bench.cli.main import main
from bench.errors import ConfigError
from bench.export.saved import load, save, skeleton
from bench.files import atomic, checked_json
from bench.files.hashing import checksum, digest
from bench.records import Cell
from bench.report.files import write_report
from bench.report.paper_comparison import render_against
from bench.report.significance import render_versus
from bench.report.table import FORMATS, render
from bench.study.store import Store
from bench.study.study import load_study
from bench.units import parse_shapes
from tasks.data.folders import pairs_folder
from tasks.data.photographs import read_photograph
from tasks.data.prepared import prepared
from tasks.data.sidd import BLOCKS, SIDD
from tests.bench.report.stored import stored
from tests.fuzz.strategies import changed, damaged, junk, texts, toml

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
def only_refused() -> Iterator[Path]:
    """An empty folder; a ConfigError of one line is what may come out."""
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
    | damaged("\n".join(f"{key} = {toml(value)}" for key, value in STUDY.items()).encode())
)
def study_bytes(raw: bytes) -> None:
    """A study file of any bytes."""
    with only_refused() as folder:
        (folder / "study.toml").write_bytes(raw)
        load_study(folder / "study.toml").cells()


@given(changed(STUDY))
def study_values(study: dict[str, Any]) -> None:
    """A study file of any values."""
    with only_refused() as folder:
        lines = "\n".join(f"{json.dumps(str(key))} = {toml(value)}" for key, value in study.items())
        (folder / "study.toml").write_text(lines, errors="replace")
        load_study(folder / "study.toml").cells()


@cache
def real_records() -> list[dict[str, Any]]:
    """Those of a study, as they are written."""
    with TemporaryDirectory() as folder:
        return [
            json.loads(path.read_bytes())
            for path in sorted(stored(Path(folder)).folder.glob("records/*.json"))
        ]


def _signed(folder: Path, content: Any) -> None:
    """Writes a record with a checksum and a name that agree."""
    content = {name: value for name, value in content.items() if name != "checksum"}
    try:
        key = Cell.from_json(content["cell"]).key
    except Exception:
        key = "0" * 64
    text = json.dumps(content | {"checksum": digest(content)})
    atomic.write(folder / "records" / f"{key}.json", text.encode())


@given(st.integers(0, 9), st.data())
def record_values(place: int, data: st.DataObject) -> None:
    """A record of any values: read, and shown in every form of the tables."""
    with only_refused() as folder:
        for one in real_records()[:3]:
            _signed(folder, one)
        _signed(folder, data.draw(changed(real_records()[place])))
        records = Store(folder).records()
        for fmt in FORMATS:
            render(records, fmt)
        render_against(records)
        render_versus("mosp", records)


@given(st.integers(0, 9), st.data())
def report(place: int, data: st.DataObject) -> None:
    """The page and the figures of a run with a record of any values."""
    with only_refused() as folder:
        for one in [*real_records()[:3], data.draw(changed(real_records()[place]))]:
            _signed(folder, one)
        list(write_report(Store(folder)))


@given(st.data())
def record_bytes(data: st.DataObject) -> None:
    """A record of any bytes."""
    with only_refused() as folder:
        raw = data.draw(st.binary(max_size=100) | damaged(json.dumps(real_records()[0]).encode()))
        atomic.write(folder / "records" / f"{real_records()[0]['key']}.json", raw)
        render(Store(folder).records())


@given(st.data())
def study_json(data: st.DataObject) -> None:
    """A study.json of any values or bytes."""
    whole = {
        "schema": 2,
        "name": "s",
        "command": "c",
        "cells": [one["cell"] for one in real_records()[:2]],
    }
    with only_refused() as folder:
        raw = data.draw(changed(whole).map(checked_json.text) | damaged(json.dumps(whole).encode()))
        atomic.write(folder / "study.json", raw)
        store = Store(folder)
        render(store.records(), "md", store.cells())
        store.name(), store.command()


@cache
def real_network() -> dict[str, bytes]:
    """Name -> bytes of the files of a saved network."""
    with TemporaryDirectory() as folder:
        place = {key: SPEC[key] for key in SPEC}
        save(folder, skeleton(SPEC), **place)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@given(st.data())
def network_folder(data: st.DataObject) -> None:
    """The spec.json and the weights of a saved network."""
    with only_refused() as folder:
        raw, weights = real_network()["spec.json"], real_network()["weights.safetensors"]
        spec = {name: value for name, value in json.loads(raw).items() if name != "checksum"}
        if data.draw(st.integers(0, 3)):
            raw = checked_json.text(data.draw(changed(spec)))
        elif data.draw(st.booleans()):
            raw = data.draw(damaged(raw))
        else:
            weights = data.draw(damaged(weights))
            raw = checked_json.text(spec | {"sha256": checksum(weights)})
        (folder / "spec.json").write_bytes(raw)
        (folder / "weights.safetensors").write_bytes(weights)
        load(folder)


@cache
def real_image(mode: str) -> bytes:
    """A small picture."""
    content = io.BytesIO()
    pixels = numpy.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype="uint8")
    Image.fromarray(pixels).convert("L" if mode == "I;16" else mode).convert(mode).save(
        content, MODES[mode]
    )
    return content.getvalue()


@given(st.data())
def image(data: st.DataObject) -> None:
    """One image file."""
    with only_refused() as folder:
        raw = data.draw(damaged(real_image(data.draw(st.sampled_from(list(MODES))))))
        (folder / "x.png").write_bytes(raw)
        read_photograph(folder / "x.png")


@given(st.data())
def image_folder(data: st.DataObject) -> None:
    """A folder of pairs: a hostile name, a folder, a link or a damaged image among them."""
    with only_refused() as root:
        for side in ("train/noisy", "train/clean", "val/noisy", "val/clean"):
            (root / side).mkdir(parents=True)
            (root / side / "a.png").write_bytes(real_image("RGB"))
        place = root / data.draw(st.sampled_from(["train", "val"]))
        name = data.draw(
            st.sampled_from(["a.png", "b.png", "%2e%2e", "-rf", "x" * 250, "a b\n.png", "<b>.png"])
        )
        for side in data.draw(st.sampled_from([("noisy",), ("clean",), ("noisy", "clean")])):
            _planted(
                place / side / name,
                data.draw(
                    st.sampled_from(["bytes", "folder", "loop", "away", "fifo", "empty", "gone"])
                ),
                data,
            )
        prepared(root, pairs_folder("noisy", "clean"))


def _planted(path: Path, kind: str, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    match kind:
        case "bytes":
            path.write_bytes(
                data.draw(damaged(real_image(data.draw(st.sampled_from(list(MODES))))))
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
    """Blocks of SIDD's form, small."""
    content = io.BytesIO()
    savemat(
        content, {name: numpy.zeros((1, 2, 16, 16, 3), "uint8")}, do_compression=name == BLOCKS[0]
    )
    return content.getvalue()


@given(st.data())
def mat_file(data: st.DataObject) -> None:
    """The validation blocks of SIDD."""
    with only_refused() as root:
        scene = root / "Data" / "0001"
        scene.mkdir(parents=True)
        for side in ("NOISY", "GT"):
            (scene / f"0001_{side}_SRGB_010.PNG").write_bytes(real_image("RGB"))
        spoiled = data.draw(st.sampled_from(BLOCKS))
        for name in BLOCKS:
            (root / f"{name}.mat").write_bytes(
                data.draw(damaged(real_blocks(name))) if name == spoiled else real_blocks(name)
            )
        for photo in SIDD.open(root).test["sidd_validation"]:
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
    """Words of the command line that plan, measure or look: exit code and one line, and no other word."""
    with (
        only_refused() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                code = main([*command.split(), *(word for flag in flags for word in flag)])
            except SystemExit as left:
                code = int(left.code or 0)
        if code not in (0, 2) or (code == 2 and said.getvalue().count("\n") != 1):
            raise AssertionError(f"exit code {code}: {said.getvalue()}")


@given(
    st.lists(
        texts | st.sampled_from(["1x3x64x64", "1x3x8x8", "9" * 99, "1x3x99999x99999"]), max_size=3
    ),
    junk,
)
def overrides(words: list[str], value: Any) -> None:
    """Shapes and --set."""
    with only_refused():
        parse_shapes(",".join(words))
    with only_refused():
        load_study(
            "smoke",
            overrides=[f"{key}={toml(value)}" for key in ("recipe.patch", "ratios", *words)],
        ).cells()


TARGETS: dict[str, Callable[..., None]] = {
    target.__name__: target
    for target in (
        *(
            study_bytes,
            study_values,
            record_values,
            report,
            record_bytes,
            study_json,
            network_folder,
        ),
        *(image, image_folder, mat_file, arguments, overrides),
    )
}
