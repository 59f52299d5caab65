"""The command line, in this process: what it prints, what it writes, its exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

import tests.fakes  # noqa: F401  registers the task "fake" and the method "narrow"
from bench.cli.main import main
from bench.export.saved import load
from bench.runner.single import Wish, study_of

ROOT = Path(__file__).parents[3]
STUDY = """
tasks = ["fake"]
backbones = [{backbone = "tiny", width = 8}]
methods = ["unpruned", "narrow"]
ratios = [0.5, 0.75]
"""

TWO_INPUTS = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.only = nn.Conv2d(4, 3, 1)

    def forward(self, picture, mask):
        return self.only(torch.cat([picture, mask], 1))
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a study of the fake task in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "tiny.toml").write_text(STUDY)
    return tmp_path


def in_a_fresh_process(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]


def test_help_answers_in_under_a_second_without_heavy_imports() -> None:
    code = (
        "import sys, bench.cli.main\ntry: bench.cli.main.main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'pandas', 'mlflow', 'seaborn', 'numpy'} & set(sys.modules)"
    )
    begun = perf_counter()
    done = in_a_fresh_process(code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert perf_counter() - begun < 1
    assert "prune" in done.stdout


def test_run_prints_the_table_and_a_second_run_has_nothing_to_do(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "tiny.toml", "--no-mlflow", "--executor", "serial"]) == 0
    first = capsys.readouterr()
    assert "| narrow" in first.out and "results/runs/tiny" in first.out
    assert main(["run", "tiny.toml", "--no-mlflow", "--executor", "serial"]) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "all 3 cells are stored" in second.err
    assert not (workplace / "results" / "mlflow.db").exists()


def test_run_copies_to_mlflow_once_and_sync_finds_nothing_new(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "tiny.toml", "--executor", "serial"]) == 0
    assert "MLflow: 3 records copied to sqlite:" in capsys.readouterr().out
    assert (workplace / "results" / "mlflow.db").is_file()
    assert main(["sync", "results/runs/tiny"]) == 0
    assert "nothing new" in capsys.readouterr().out


def test_a_dry_run_says_what_would_run_and_writes_nothing(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "tiny.toml", "--dry-run", "--seeds", "0,1"]) == 0
    assert "6 of 6 cells to run" in capsys.readouterr().out
    assert [path.name for path in workplace.iterdir()] == ["tiny.toml"]


def test_a_plan_says_what_would_run_on_how_many_devices(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "tiny.toml", "--devices", "1,3", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made["seconds"]) == {"1", "3"} and [job["ratios"] for job in made["jobs"]] == [2, 1]
    assert main(["plan", "tiny.toml"]) == 0
    assert "8 at a time: about" in capsys.readouterr().out
    assert [path.name for path in workplace.iterdir()] == ["tiny.toml"]


def test_table_and_report_work_from_the_records_alone(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "tiny.toml", "--out", "here", "--no-mlflow", "--executor", "serial"])
    capsys.readouterr()
    assert main(["table", "here", "--format", "json"]) == 0
    assert [row["ratio"] for row in json.loads(capsys.readouterr().out)] == [1, 0.75, 0.5]
    assert main(["report", "here"]) == 0
    written = {path.name for path in (workplace / "here").iterdir()}
    assert {"table.md", "table.csv", "table.tex", "table.json", "curve.png", "curve.svg"} <= written


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("run tinny", "unknown study 'tinny'"),
        ("run nowhere.toml", "there is no study file nowhere.toml"),
        ("run tiny.toml --set recipe.finetun_steps=5", "did you mean 'finetune_steps'"),
        ("run tiny.toml --seeds 0,x", "--seeds 0,x is not a list of whole numbers"),
        ("run tiny.toml --set ratios=[1.5]", "ratio 1.5 is outside (0, 1]"),
        ("run tiny.toml --address auto", "--address is for --executor ray"),
        ("table nowhere", "nowhere holds no results"),
        ("report tiny.toml", "tiny.toml holds no results"),
        ("profile tinny", "did you mean 'tiny'"),
        ("profile tiny --shape 3x3", "shape '3x3' is not of the form"),
        ("profile tiny --set wide=3", "wide"),
        ("profile tiny --set wide", "--set wide is not of the form OPTION=VALUE"),
        ("profile tiny --shape 1x3x8x8,", "shape '' is not of the form"),
        ("profile tiny --plot tiny.gif", "one of .png, .svg, .pdf"),
        ("profile tiny --plot nowhere/tiny.png", "there is no folder nowhere"),
        ("prune narow --backbone tiny --ratio 0.5", "did you mean 'narrow'"),
        ("prune narrow --backbone tiny --peak-mib 99999", "is outside (0, "),
        ("prune narrow --backbone tiny --ratio 1.5", "ratio 1.5 is outside (0, 1]"),
        ("prune unpruned --backbone tiny --ratio 0.5", "removes nothing"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    words: str, answer: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("prunebench: ") and answer in printed.err
    assert [path.name for path in workplace.iterdir()] == ["tiny.toml"]


@pytest.mark.parametrize(
    "words",
    [
        "rin tiny.toml",
        "prune narrow --backbone tiny",
        "prune narrow --backbone tiny --peak-mib nan",
        "profile tiny --convention other",
        "profile tiny --top 0",
    ],
)
def test_a_wrong_command_line_is_one_line_too(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "tiny.toml", "--no-mlflow", "--executor", "serial"])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.runner.run.run_study", interrupted)
    assert main(["run", "tiny.toml", "--executor", "serial"]) == 130
    assert (
        "stored in results/runs/tiny: 3 records; the same command goes on"
        in capsys.readouterr().err
    )


def test_profile_as_json_has_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "unet", "--width", "4", "--shape", "1x3x64x64", "--json"]) == 0
    profile = json.loads(capsys.readouterr().out)
    assert {
        "backbone",
        "shape",
        "convention",
        "peak_bytes",
        "peak_mib",
        "peak_step",
        "parameters",
        "macs",
        "timeline",
    } <= set(profile)
    assert {"step", "op", "bytes", "live"} <= set(profile["timeline"][0])


def test_profile_takes_options_of_the_backbone_and_of_its_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        main(
            ["profile", "edsr", "--set", "scale=4", "--set", "blocks=2", "--width", "16", "--json"]
        )
        == 0
    )
    profile = json.loads(capsys.readouterr().out)
    assert (profile["shape"], profile["peak_bytes"]) == ("1x3x256x512", 20 * 16 * 4 * 256 * 512)
    assert main(["profile", "edsr", "--set", "scale=5"]) == 2
    assert capsys.readouterr().err == "prunebench: scale = 5 is not one of 2, 3, 4\n"


def test_prune_gives_each_option_to_the_method_the_backbone_or_the_task() -> None:
    texts = ["scale=4", "blocks=2", "pairs=true", "recipe.batch=1"]
    wish = Wish("mosp", "edsr", None, {"width": 8}, 0.5, None, "embedded", 0, "planned", texts)
    cell = study_of(wish).cells()[1]
    assert (cell.task_options, cell.backbone_options) == ({"scale": 4}, {"width": 8, "blocks": 2})
    assert (cell.method_options["pairs"], cell.recipe.batch) == (True, 1)


def test_data_check_prints_the_splits_and_gives_them_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["data", "check", "embedded", "--task", "fake"]) == 0
    assert re.search(
        r"photos +2 photographs, 27 x 20 to 32 x 32 +input \d\d\.\d\d dB", capsys.readouterr().out
    )
    assert (
        main(["data", "check", "embedded", "--task", "fake", "--set", "noise=0.2", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["splits"][0]["photographs"] == 2


def test_profile_with_compactors_has_more_parameters_and_the_same_peak(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["profile", "unet", "--set", "width=4", "--shape", "1x3x64x64", "--json"]
    main(words)
    plain = json.loads(capsys.readouterr().out)
    main([*words, "--compactors"])
    compacted = json.loads(capsys.readouterr().out)
    assert (
        compacted["peak_bytes"] == plain["peak_bytes"]
        and compacted["parameters"] > plain["parameters"]
    )


def test_profile_measures_a_network_of_the_users_own(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "net.py").write_text(
        "from torch import nn\n\n\ndef build(width=2):\n    return nn.Sequential(nn.Conv2d(3, width, 1))\n"
    )
    words = ["profile", "net.py:build", "--shape", "1x3x8x8"]
    assert main([*words, "--set", "width=5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["backbone"], found["peak_bytes"]) == ("net.py:build", 4 * 8 * 8 * (3 + 5))
    assert main([*words, "--top", "1"]) == 0
    assert "net.py:build at 1x3x8x8" in capsys.readouterr().out
    assert sorted(path.name for path in workplace.iterdir()) == ["net.py", "tiny.toml"]


def test_profile_takes_several_inputs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "two.py").write_text(TWO_INPUTS)
    assert main(["profile", "two.py:Two", "--shape", "1x3x8x8,1x1x8x8"]) == 0
    assert "two.py:Two at 1x3x8x8,1x1x8x8, convention planned" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["here.png", "here.svg"])
def test_profile_draws_the_timeline(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["profile", "unet", "--width", "4", "--shape", "1x3x64x64", "--plot", name, "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["backbone"] == "unet"
    assert (workplace / name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("kind", "name"),
    [("methods", "narrow"), ("tasks", "fake"), ("backbones", "tiny"), ("studies", "smoke")],
)
def test_list_names_what_there_is(kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    assert f"{name}\n" in capsys.readouterr().out
    assert main(["list", kind, "--json"]) == 0
    assert name in [entry["name"] for entry in json.loads(capsys.readouterr().out)]


def test_prune_saves_a_network_that_loads_again(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "prune",
                "narrow",
                "--backbone",
                "tiny",
                "--ratio",
                "0.75",
                "--out",
                "small",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    for word in ("budget", "peak planned", "peak eager", "parameters", "PSNR", "load('small')"):
        assert word in printed
    record = json.loads((workplace / "small" / "record.json").read_text())
    assert sum(weight.numel() for weight in load("small").parameters()) == record["parameters"]


def test_a_budget_in_mib_is_met_to_the_byte(workplace: Path) -> None:
    assert (
        main(
            [
                "prune",
                "narrow",
                "--backbone",
                "tiny",
                "--peak-mib",
                "0.03",
                "--out",
                "small",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert json.loads((workplace / "small" / "record.json").read_text())["budget_bytes"] == int(
        0.03 * 2**20
    )


def test_an_impossible_budget_names_the_least(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["prune", "narrow", "--backbone", "tiny", "--ratio", "0.01", "--device", "cpu"]) == 2
    )
    assert "the least" in capsys.readouterr().err.splitlines()[-1]


def test_a_package_that_shadows_bench_is_one_clear_line(workplace: Path) -> None:
    (workplace / "bench").mkdir()
    (workplace / "bench" / "__init__.py").write_text("raise RuntimeError('not ours')")
    code = f"import sys; sys.path[:0] = [{str(workplace)!r}, {str(ROOT)!r}]; import prunebench; sys.exit(prunebench.main(['list', 'tasks']))"
    done = in_a_fresh_process(code)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "shadows prunebench's own" in done.stderr


@pytest.mark.parametrize("name", ["methods", "tasks"])
def test_a_package_that_shadows_the_plugins_is_one_clear_line(name: str, workplace: Path) -> None:
    (workplace / name).mkdir()
    (workplace / name / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(workplace)!r}, {str(ROOT)!r}]; import prunebench; sys.exit(prunebench.main(['list', 'tasks']))"
    done = in_a_fresh_process(code)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and f"'{name}' is taken by" in done.stderr


def test_pretrain_writes_the_unpruned_networks_into_the_folder_and_trains_none_twice(
    workplace: Path, capsys
) -> None:
    assert main(["pretrain", "tiny.toml", "--out", "networks"]) == 0
    files = sorted((workplace / "networks").iterdir())
    assert {path.suffix for path in files} == {".json", ".safetensors"} and len(
        {path.stem for path in files}
    ) == 1
    times = [path.stat().st_mtime_ns for path in files]
    assert main(["pretrain", "tiny.toml", "--out", "networks"]) == 0
    assert times == [path.stat().st_mtime_ns for path in files]
    assert files[0].stem in capsys.readouterr().out
