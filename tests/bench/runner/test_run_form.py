"""Rows that run their network in tiles or in fewer bits: budgets, peaks, and what is scored."""

from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch

from bench.contract import Budget
from bench.errors import Infeasible
from bench.memory.profile import count_macs, peak_memory
from bench.records import UNPRUNED, Record
from bench.runner.executors.serial import SerialExecutor
from bench.runner.image_time import choose_part
from bench.runner.run import run_study
from bench.runner.run_form import RunForm, choose_form
from bench.study.store import Store
from bench.study.study import study_from_values
from bench.study.study_file import parse_toml
from tests.bench.conftest import STUDY
from tests.bench.test_records import CELL
from tests.fakes import Tiny, tiny_peak_bytes

SHAPE = (1, 3, 32, 32)
WHOLE = tiny_peak_bytes(8, SHAPE)
BUFFERS = 2 * 4 * prod(SHAPE)
ROWS = """methods=["unpruned",
    {method = "unpruned", label = "tiled", tiles = true},
    {method = "unpruned", label = "half", precision = "bf16"},
    {method = "narrow", label = "both", tiles = true, prune_ratio = 0.8},
    {method = "narrow", label = "narrow half", precision = "bf16"}]"""


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> dict[tuple[str, float], Record]:
    """The records of one study of such rows, by label and ratio."""
    threads = torch.get_num_threads()
    study = study_from_values("tiny", parse_toml(STUDY.encode(), ""), [ROWS, "ratios=[0.4, 0.7]"])
    found = run_study(study, Store(tmp_path_factory.mktemp("forms")), SerialExecutor())
    torch.set_num_threads(threads)
    return {(record.cell.label, record.cell.ratio): record for record in found}


class Gated(Tiny):
    """Tiny whose channels are weighted by their means over the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.out(x * x.mean((2, 3), keepdim=True))


def choose(budget_bytes: int, model: torch.nn.Module | None = None, **options: Any) -> RunForm:
    cell = replace(CELL, measured_at=SHAPE, run_options=options)
    return choose_form(model or Tiny(8), cell, Budget(budget_bytes, SHAPE))


def test_the_unpruned_network_in_tiles_or_in_bf16_has_a_cell_at_each_ratio(records):
    ratios = [at for at, record in records.items() if record.cell.method == UNPRUNED]
    assert ratios == [
        ("unpruned", 1.0), ("tiled", 0.4), ("tiled", 0.7), ("half", 0.4), ("half", 0.7)
    ]  # fmt: skip


def test_the_peak_of_tiles_has_input_and_output_and_fits_the_budget_of_the_ratio(records):
    tiled = records["tiled", 0.7]
    tile = (1, 3, *tiled.tiling["tile"])
    assert tiled.tiling["buffer_bytes"] == BUFFERS and tiled.tiling["is_exact"]
    assert tiled.peak_bytes == BUFFERS + peak_memory(Tiny(8), tile) <= tiled.budget_bytes
    assert tiled.budget_bytes == int(0.7 * WHOLE)
    assert max(step["bytes"] for step in tiled.timeline) == tiled.peak_bytes
    assert all(sum(step["live"].values()) == step["bytes"] for step in tiled.timeline)
    assert tiled.macs > records["unpruned", 1.0].macs == count_macs(Tiny(8), SHAPE)
    assert tiled.as_run_peak_bytes > tiled.peak_bytes


def test_exact_tiles_keep_the_quality_and_bf16_nearly(records):
    whole, tiled, half = (
        records[at].means["psnr_db"] for at in (("unpruned", 1.0), ("tiled", 0.7), ("half", 0.7))
    )
    assert tiled == pytest.approx(whole, abs=1e-5)
    assert half != whole and half == pytest.approx(whole, abs=1e-2)


def test_values_of_half_the_bytes_halve_the_peak(records):
    assert records["half", 0.7].peak_bytes == WHOLE // 2
    assert records["half", 0.4].status == "infeasible"
    assert "in bf16 the network takes" in records["half", 0.4].reason


def test_tiles_and_bf16_let_a_method_prune_less(records):
    assert records["both", 0.7].widths == {"first": 5}, "pruned to 0.8"
    assert records["both", 0.7].peak_bytes <= int(0.7 * WHOLE)
    assert records["narrow half", 0.4].widths == {"first": 5}, "pruned to twice 0.4"
    assert records["narrow half", 0.4].peak_bytes <= int(0.4 * WHOLE)
    assert records["narrow half", 0.4].steps == {"finetune": 4}


def test_a_budget_below_input_and_output_is_infeasible(records):
    assert records["tiled", 0.4].status == "infeasible"
    assert "input and output alone take" in records["tiled", 0.4].reason
    assert records["tiled", 0.4].budget_bytes == int(0.4 * WHOLE)


def test_every_record_has_seconds_beside_those_of_the_unpruned_network(records):
    done = [record for record in records.values() if record.status == "done"]
    assert len(done) == 6
    assert all(r.image_seconds > 0 and r.unpruned_image_seconds > 0 for r in done)


def test_tiles_of_an_operator_over_the_image_need_a_halo():
    network, budget_bytes = Gated(8), WHOLE * 9 // 10
    with pytest.raises(Infeasible, match=r"^no halo makes tiles exact: .*give a halo"):
        choose(budget_bytes, network, tiles=True)
    form = choose(budget_bytes, network, tiles=True, halo=0)
    assert form.plan and form.plan.count > 1 and not form.plan.is_exact


def test_a_form_takes_and_gives_float32_and_leaves_the_network_as_it_is():
    network, x = Tiny(8).eval(), torch.rand(1, 3, 24, 40)
    form = choose(WHOLE * 2 // 5, network, tiles=True, precision="bf16")
    with torch.inference_mode():
        restored, whole = form.apply(network)(x), network(x)
    assert form.plan and form.plan.count > 1
    assert restored.dtype == torch.float32 == next(network.parameters()).dtype
    assert 0 < (restored - whole).abs().max() < 0.02


def test_a_part_of_an_image_is_timed_that_the_task_accepts():
    assert choose_part((1, 3, 1024, 2048), 16) == (1, 3, 256, 512)
    assert choose_part((1, 3, 608, 656), 16) == (1, 3, 304, 320)
    assert choose_part((1, 3, 270, 480), 1) == (1, 3, 270, 480)
    assert choose_part((2, 3, 1024, 1024), 512) == (2, 3, 512, 512), "not a smaller multiple"
