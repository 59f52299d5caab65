"""The key of a cell depends on everything that changes its result, and on nothing else.

Cells and records survive conversion to JSON and back.
"""

import hashlib
import json
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest

from bench.contract import Recipe
from bench.files.hashing import digest
from bench.records import NOT_IN_KEY, SCHEMA, Cell, Record

CELL = Cell(
    task="denoising",
    task_options={"width": 8},
    backbone="unet",
    backbone_options={"width": 16},
    method="mosp",
    method_options={"compactors": True, "outer_stride": "1/12"},
    label="mosp",
    method_source="0a1b",
    data="embedded",
    data_fingerprint="2c3d",
    convention="planned",
    measured_at=(1, 3, 256, 256),
    ratio=0.5,
    compute="own",
    seed=0,
    recipe=Recipe(),
)
RECORD = Record(
    cell=CELL,
    status="done",
    budget_bytes=100,
    peak_bytes=96,
    scores={"val": {"astronaut": {"psnr_db": 30.5, "ssim": 0.9}}},
    widths={"c11": 2},
    kept={"c11": [0, 5]},
    inserted=("c12",),
    trace=({"peak_bytes": 96, "widths": {"c11": 2}, "note": "first"},),
    steps={"finetune": 10},
    tiling={"tile": [64, 80], "count": 6, "is_exact": False, "buffer_bytes": 48},
)
CHANGED = {
    "task": "other",
    "task_options": {"width": 9},
    "backbone": "other",
    "backbone_options": {"width": 17},
    "method": "other",
    "method_options": {"compactors": False, "outer_stride": "1/12"},
    "method_source": "ffff",
    "data_fingerprint": "ffff",
    "convention": "eager",
    "measured_at": (1, 3, 256, 512),
    "ratio": 0.25,
    "compute": "matched",
    "seed": 1,
    "recipe": Recipe(patch=32),
    "backbone_source": "ffff",
    "run_options": {"tiles": True},
}


@pytest.mark.parametrize(
    "name", [entry.name for entry in fields(Cell) if entry.name not in NOT_IN_KEY]
)
def test_the_key_changes_with_everything_that_changes_the_result(name: str) -> None:
    assert replace(CELL, **{name: CHANGED[name]}).key != CELL.key


@pytest.mark.parametrize("name", [entry.name for entry in fields(Recipe)])
def test_the_key_changes_with_every_entry_of_the_recipe(name: str) -> None:
    value = getattr(Recipe(), name)
    recipe = replace(Recipe(), **{name: "cosine" if isinstance(value, str) else value + 1})
    assert replace(CELL, recipe=recipe).key != CELL.key


def test_the_key_does_not_depend_on_the_label_and_on_folders() -> None:
    changes = {"label": "mine", "data": "/elsewhere", "backbone_folder": "/elsewhere"}
    assert replace(CELL, **changes).key == CELL.key


def test_entries_that_came_later_are_not_in_the_key_of_cells_without_them() -> None:
    old = {
        name: value
        for name, value in asdict(CELL).items()
        if not name.startswith(("label", "backbone_f", "backbone_s", "run_options"))
    }
    del old["data"]
    for later in ("averaging", "channel_multiple", "distillation", "training_precision"):
        del old["recipe"][later]
    assert digest({"schema": SCHEMA} | old) == CELL.key
    assert "backbone_source" not in RECORD.to_json()["cell"]


@pytest.mark.parametrize(
    ("run_options", "ratio"),
    [
        ({}, 0.5),
        ({"precision": "bf16"}, 1.0),
        ({"tiles": True, "prune_ratio": 0.75}, 0.75),
        ({"tiles": True, "prune_ratio": 0.25}, 0.5),
        ({"tiles": True, "prune_ratio": 0.75, "precision": "fp16"}, 1.0),
    ],
)
def test_a_network_is_pruned_less_if_tiles_or_precision_do_the_rest(run_options, ratio) -> None:
    cell = replace(CELL, run_options=run_options)
    assert cell.pruning_ratio == ratio and not cell.is_reference
    assert replace(cell, method="unpruned").is_reference == (not run_options)
    assert replace(cell, method="unpruned").pruning_ratio == (1.0 if run_options else 0.5)


@pytest.mark.parametrize("run_options", [{"tile": True}, {"precision": "int3"}, {"halo": 8}])
def test_a_stored_cell_with_other_run_options_is_refused(run_options) -> None:
    with pytest.raises((ValueError, TypeError)):
        Cell.from_json(CELL.to_json() | {"run_options": run_options})


def test_the_key_does_not_depend_on_the_order_in_which_options_are_named() -> None:
    assert (
        replace(CELL, method_options={"outer_stride": "1/12", "compactors": True}).key == CELL.key
    )


@pytest.mark.parametrize(("compute", "steps"), [("matched", 40), ("own", 0)])
def test_only_matched_compute_has_matched_steps(compute: str, steps: int) -> None:
    cell = replace(CELL, compute=compute, recipe=replace(CELL.recipe, matched_steps=40))
    assert cell.effective_recipe == replace(CELL.recipe, matched_steps=steps)


def test_methods_count_the_least_width_in_blocks() -> None:
    cell = replace(CELL, recipe=replace(CELL.recipe, channel_multiple=4, min_width=6))
    assert cell.effective_recipe.min_width == 2
    assert cell.key != replace(CELL, recipe=replace(cell.recipe, channel_multiple=1)).key


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert digest({"b": 1, "a": [1.5, "x"]}) == hashlib.sha256(b'{"a":[1.5,"x"],"b":1}').hexdigest()


def test_a_label_that_is_read_cannot_command_a_terminal() -> None:
    stored = replace(CELL, label="a\x1b[2J\u202eb").to_json()
    assert Cell.from_json(stored).label == "a?[2J?b"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"averaging": 0.9},
        {"channel_multiple": 4},
        {"distillation": 0.5},
        {"training_precision": "bf16"},
    ],
)
def test_a_cell_survives_json(changes: dict) -> None:
    cell = replace(CELL, recipe=Recipe(**changes), run_options={"tiles": True, "halo": 8})
    again = Cell.from_json(json.loads(json.dumps(cell.to_json())))
    assert (again, again.key) == (cell, cell.key)


def test_a_record_survives_json() -> None:
    assert Record.from_json(json.loads(json.dumps(RECORD.to_json()))) == RECORD


def test_a_record_without_a_result_survives_json() -> None:
    infeasible = Record(CELL, "infeasible", reason="the least peak is 3 MiB")
    assert Record.from_json(json.loads(json.dumps(infeasible.to_json()))) == infeasible


def test_the_json_of_a_record_has_its_key_and_schema() -> None:
    content = RECORD.to_json()
    assert (content["key"], content["schema"]) == (CELL.key, SCHEMA)


def test_cells_and_records_are_frozen() -> None:
    for value, name in ((CELL, "seed"), (RECORD, "status")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)
