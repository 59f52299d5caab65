"""Studies: the cells of a file, and a message of one line for every mistake in it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from bench.errors import ConfigError
from bench.plugins.registry import METHODS
from bench.report.paper_comparison import read_paper_table
from bench.study.packaged import packaged_studies
from bench.study.study import (
    load_study,
    study_from_values,
)
from tests.fakes import Narrow


def test_cells_come_in_the_order_of_the_table(study):
    cells = study("seeds=[0, 1]").cells()
    assert [(cell.label, cell.ratio, cell.seed) for cell in cells] == [
        ("unpruned", 1.0, 0),
        ("unpruned", 1.0, 1),
        *(("narrow", ratio, seed) for ratio in (0.5, 0.75) for seed in (0, 1)),
    ]


def test_names_in_upper_and_lower_case_are_the_same_cells(study):
    typed = study("tasks=['FAKE']", "backbones=[{backbone='Tiny', width=8}]", "methods=['NARROW']")
    plain = study("methods=['narrow']")
    assert typed.cells() == plain.cells()
    assert study("options.Narrow.train_steps=2").rows == study("options.narrow.train_steps=2").rows
    with pytest.raises(ConfigError, match="tasks has the entry 'FAKE' twice"):
        study("tasks=['fake', 'FAKE']")


def test_more_rows_come_below_those_of_the_study_and_change_no_other_key(study):
    more = [{"method": "narrow", "train_steps": 2, "label": "trained"}]
    cells = study(more_rows=more).cells()
    assert cells[:3] == study().cells()
    assert [(cell.label, cell.ratio) for cell in cells[3:]] == [("trained", 0.5), ("trained", 0.75)]
    with pytest.raises(ConfigError, match="the study needs methods"):
        study("methods=3", more_rows=more)


def test_a_job_holds_the_ratios_of_one_row_and_seed(study):
    checked = study("seeds=[0, 1]")
    jobs = checked.jobs(checked.cells())
    assert [[(cell.label, cell.ratio, cell.seed) for cell in job.cells] for job in jobs][2:] == [
        [("narrow", 0.5, 0), ("narrow", 0.75, 0)],
        [("narrow", 0.5, 1), ("narrow", 0.75, 1)],
    ]


def test_a_cell_holds_all_options_and_the_merged_recipe(study):
    cell = study(
        "recipe.finetune_steps=9",
        "options.narrow.train_steps=1",
        "methods=[{method='narrow', fault='over'}]",
    ).cells()[0]
    assert cell.method_options == {
        "train_steps": 1,
        "finishing": "finetune",
        "fault": "over",
        "fault_below": 1.0,
    }
    assert (cell.recipe.finetune_steps, cell.recipe.patch) == (9, 16)
    assert cell.label == "narrow, fault=over"
    assert cell.task_options == {"noise": 0.1}
    assert cell.measured_at == (1, 3, 32, 32)
    assert cell.data_fingerprint == "fake embedded"


def test_arguments_and_overrides_replace_values_of_the_file(study):
    changes = ("measured_at=1x3x64x64", "compute='matched'", "recipe.matched_steps=5")
    cell = study(*changes, data="elsewhere", seeds=[7], convention="eager").cells()[0]
    assert (cell.measured_at, cell.compute) == ((1, 3, 64, 64), "matched")
    assert (cell.data, cell.seed, cell.convention) == ("elsewhere", 7, "eager")


def test_a_label_does_not_change_the_key_and_an_option_does(study):
    entries = ("'narrow'", "{method='narrow', label='x'}", "{method='narrow', train_steps=1}")
    keys = [study(f"methods=[{entry}]").cells()[0].key for entry in entries]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ratio=[0.5]", "unknown study key 'ratio'; did you mean 'ratios'"),
        ("tasks=['fakes']", "unknown task 'fakes'; did you mean 'fake'"),
        ("tasks=[{task='fake', noize=1.0}]", "did you mean 'noise'"),
        ("backbones=['tinny']", "unknown backbone of task fake 'tinny'; did you mean 'tiny'"),
        ("backbones=[{backbone='tiny', widht=3}]", "backbone tiny: .*widht"),
        ("methods=['narow']", "unknown method 'narow'; did you mean 'narrow'"),
        (
            "methods=[{method='narrow', train_step=1}]",
            "unknown option of method narrow 'train_step'; did you mean 'train_steps'",
        ),
        (
            "methods=[{method='unpruned', precision='int3'}]",
            "option precision = 'int3' cannot be used; give 'fp32' or 'bf16' or 'fp16'",
        ),
        ("methods=[{method='unpruned', tiles=1}]", "tiles = 1 cannot be used; give true or false"),
        ("methods=[{method='unpruned', tiles=true, halo=-1}]", "halo of -1 pixels .* 0 or more"),
        ("methods=[{method='unpruned', halo=8}]", "halo is for tiles; add tiles = true"),
        ("methods=[{method='narrow', tiles=true}]", "runs in tiles; say with prune_ratio"),
        (
            "methods=[{method='narrow', tiles=true, prune_ratio=2.0}]",
            r"prune_ratio 2\.0 is outside \(0, 1\]",
        ),
        (
            "methods=[{method='unpruned', tiles=true, prune_ratio=0.5}]",
            "nothing is pruned; leave prune_ratio out",
        ),
        (
            "methods=[{method='narrow', train_steps=1.5}]",
            "train_steps = 1.5 cannot be used; give a whole number",
        ),
        ("methods=[{method='narrow', train_steps=true}]", "give a whole number"),
        (
            "methods=[{method='narrow', finishing='later'}]",
            "give 'finetune' or 'none' or 'scratch'",
        ),
        ("methods=[{label='x'}]", "give a name in quotes or a table"),
        ("methods=[{method='narrow', label=\"\\u001b[2J\"}]", "without control characters"),
        ("methods=[]", "at least one method"),
        ("methods=['narrow', 'narrow']", "two rows are called 'narrow'"),
        ("methods=['narrow', {method='narrow', label='x'}]", "rows 'narrow' and 'x' are the same"),
        ("options.narow.fault=x", "did you mean 'narrow'"),
        ("options=3", "options must be tables"),
        ("ratios=[0.0]", r"ratio 0.0 is outside \(0, 1\]"),
        ("ratios=[1.5]", "outside"),
        ("ratios=[nan]", "not a finite number"),
        ("ratios=['a']", "not a number"),
        ("ratios=[]", "a list of numbers"),
        ("ratios=[0.5, 0.5]", "twice"),
        ("backbones=[{backbone='tiny', width=2}, {backbone='tiny', width=2}]", "twice"),
        ("seeds=[0.5]", "seed 0.5 is not a whole number"),
        ("convention=planed", "did you mean 'planned'"),
        ("compute=matched", "set recipe.matched_steps above 0"),
        ("measured_at=1x3x64", "not of the form NxCxHxW"),
        ("data=3", "the path of a folder"),
        ("recipe.finetune_step=3", "did you mean 'finetune_steps'"),
        ("recipe.finetune_steps=many", "give a whole number"),
        ("recipe.finetune_steps=-1", "too small"),
        ("recipe.patch=20", "multiple of 16"),
        ("recipe.pretrain_rate=nan", "not a finite number"),
        ("recipe=3", "must be a table"),
        ("recipe.patch=1048576", "too large; it must be at most 4,096"),
        ("recipe.pretrain_steps=10000000000", "at most 100,000,000"),
        ("recipe.pretrain_rate=1e31", "above"),
        ("recipe.pretrain_halvings=1001", "at most 1,000"),
        ("recipe.averaging=1.0", "too large"),
        ("recipe.channel_multiple=3", "channel_multiple = 3; it must be one of 1, 2, 4, 8, 16"),
        ("seeds=[4294967296]", "not a whole number from 0 to 4294967295"),
        ("seeds=[99999999999999999999]", "a number is above"),
        ("measured_at=1x3x65537x8", "is too large"),
        ("measured_at=1x3x60000x60000", "is too large"),
        ("options.narrow=1979-05-27", "is not a JSON value"),
        ("nothing", "KEY=VALUE"),
        ("ratios.x=3", "not a table"),
    ],
)
def test_the_error_for_a_mistake_is_one_line(study, change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        study(change).cells()
    assert "\n" not in str(caught.value)


def test_the_error_for_broken_toml_is_one_line_with_the_line_number(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text('tasks = ["denoising"]\nratios = [0.5\n')
    with pytest.raises(ConfigError, match=r"broken\.toml is not valid TOML: .*line is 2") as caught:
        load_study(path)
    assert "\n" not in str(caught.value)


def test_the_error_for_an_unknown_study_has_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'table1'"):
        load_study("tabel1")
    with pytest.raises(ConfigError, match="there is no study file"):
        load_study(tmp_path / "absent.toml")


def test_a_row_that_runs_otherwise_is_another_row(study):
    rows = "methods=['narrow', {method='narrow', label='half', precision='bf16', tiles=false}]"
    plain, half = study(rows, "ratios=[0.5]").cells()
    assert half.run_options == {"precision": "bf16"} and "run_options" not in plain.to_json()
    assert half.key != plain.key and half.method_options == plain.method_options


def test_a_method_keeps_an_option_of_its_own_that_is_called_like_one_of_the_harness(
    study, monkeypatch
):
    @dataclass(frozen=True)
    class Wide(Narrow):
        halo: int = 0

    monkeypatch.setitem(METHODS._known, "wide", Wide)
    row = study("methods=[{method='wide', halo=2}]").rows[0]
    assert row.options["halo"] == 2 and row.run_options == {}


@pytest.mark.parametrize("name", packaged_studies())
def test_packaged_studies_have_every_cell_once(name):
    study = load_study(name)
    assert study.rows[0].label == "unpruned"
    if study.data == "embedded":
        cells = study.cells()
        assert len(cells) == len({cell.key for cell in cells})


@pytest.mark.parametrize(
    "name", [name for name in packaged_studies() if name.startswith(("table1", "smoke"))]
)
def test_studies_that_compare_have_every_method_of_the_paper(name):
    study = load_study(name)
    assert set(study.ratios) == ({0.5} if name == "smoke_tasks" else {0.25, 0.5, 0.75})
    for ratio in study.ratios:
        assert {one.method for one in read_paper_table() if one.ratio == ratio} <= {
            row.method for row in study.rows
        }


def test_a_study_like_another_replaces_the_values_that_it_has(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('like = "smoke"\nratios = [0.5]\n[recipe]\nbatch = 2\n')
    mine, smoke = load_study(path), load_study("smoke")
    assert (mine.name, mine.rows, mine.ratios) == ("mine", smoke.rows, (0.5,))
    assert mine.recipe == {**smoke.recipe, "batch": 2}
    with pytest.raises(ConfigError, match="unknown study key 'like'"):
        load_study("smoke", overrides=["like=smoke"])
    path.write_text('like = "smok"')
    with pytest.raises(
        ConfigError,
        match=r"unknown packaged study 'smok'; did you mean 'smoke'.* names it in 'like'",
    ):
        load_study(path)


def test_a_study_of_several_tasks_uses_each_backbone_with_its_tasks(tmp_path):
    cells = load_study("smoke_tasks").cells()
    assert list(dict.fromkeys((cell.task, cell.backbone) for cell in cells)) == [
        ("denoising", "unet"),
        ("denoising", "res_unet"),
        ("low_light", "unet"),
        ("low_light", "res_unet"),
        ("super_resolution", "edsr"),
    ]
    path = tmp_path / "mine.toml"
    path.write_text('like = "smoke"\ntasks = ["denoising", "super_resolution"]')
    with pytest.raises(
        ConfigError,
        match="no backbone of the study belongs to task super_resolution; add one of edsr",
    ):
        load_study(path)


def test_overrides_leave_the_values_of_the_caller_as_they_are() -> None:
    values = {
        "tasks": ["fake"],
        "backbones": ["tiny"],
        "methods": ["unpruned"],
        "ratios": [0.5],
        "seeds": [0],
        "recipe": {"finetune_steps": 4},
    }
    study = study_from_values("mine", values, ["recipe.finetune_steps=2"])
    assert study.recipe == {"finetune_steps": 2}
    assert values["recipe"] == {"finetune_steps": 4}


def test_a_changed_source_makes_new_cells(tmp_path, monkeypatch, study):
    before = study().cells()
    monkeypatch.setattr("bench.study.study.method_source", lambda cls: f"{cls.__name__} changed")
    after = study().cells()
    assert not {cell.key for cell in before} & {cell.key for cell in after}
    assert [replace(cell, method_source="") for cell in before] == [
        replace(cell, method_source="") for cell in after
    ]


def test_an_option_that_a_method_rejects_raises_config_error(study):
    @dataclass(frozen=True)
    class Picky(Narrow):
        paper: ClassVar[str] = "none"

        def __post_init__(self):
            raise ValueError("never content")

    METHODS._known["picky"] = Picky
    try:
        with pytest.raises(ConfigError, match="method picky: never content"):
            study("methods=['picky']")
    finally:
        del METHODS._known["picky"]


def test_each_convention_has_its_own_cells_and_jobs(study):
    checked = study('convention=["planned", "eager"]')
    cells = checked.cells()
    half = len(cells) // 2
    assert [cell.convention for cell in cells] == ["planned"] * half + ["eager"] * half
    assert all(len({cell.convention for cell in job.cells}) == 1 for job in checked.jobs(cells))


def test_a_convention_twice_is_refused(study):
    with pytest.raises(ConfigError, match="names a value twice"):
        study('convention=["planned", "planned"]')


def test_a_grid_of_millions_is_refused_before_anything_is_built(study):
    ratios = [f"0.{index:04}1" for index in range(2000)]
    seeds = list(range(600))
    factors = r"1 tasks x 1 backbones x 2 methods x 2,000 ratios x 600 seeds"
    with pytest.raises(ConfigError, match=rf"has 2,400,000 cells \({factors}\)"):
        study(f"ratios=[{', '.join(ratios)}]", f"seeds={seeds}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks = " + "[" * 3000, "nested too deeply"),
        ("tasks = " + "[1, " * 500 + "]" * 500, "nested too deeply"),
        ("a" + ".a" * 3000 + " = 1", "a line of 6,005 bytes"),
        ("# \n" * 50_000, "more than the 131,072 bytes"),
        ("a" + ".a" * 300 + " = 1", "unknown study key"),
        ("recipe" + ".a" * 300 + " = 1", "nested more than"),
    ],
)
def test_a_file_that_would_take_long_to_parse_is_refused_at_once(text, message, tmp_path):
    (tmp_path / "bomb.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_study(tmp_path / "bomb.toml")
