"""The command line as a whole: help, version, mistakes, exit codes; run in this process."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import pytest

from bench.cli.main import COMMANDS, build_parser, main
from bench.cli.parser import Command, Parser

ROOT = Path(__file__).parents[3]
COLUMNS = 80

pytestmark = pytest.mark.usefixtures("tiny_study")


def run_in_new_process(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def capture_help(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_answers_in_under_a_second_without_heavy_imports() -> None:
    code = (
        "import sys, bench.cli.main\n"
        "try: bench.cli.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'mlflow', 'numpy', 'rich', 'argcomplete'}\n"
        "assert not heavy & set(sys.modules)"
    )
    begun = perf_counter()
    done = run_in_new_process(code, ROOT)
    assert done.returncode == 0, done.stderr
    assert perf_counter() - begun < 1
    assert "prune" in done.stdout


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "run a study; cells that are stored are not run again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("prunebench ru", ["run "]),
        ("prunebench list st", ["studies "]),
        ("prunebench run table1_s", ["table1_sr", "table1_sr_paper"]),
        ("prunebench run tin", ["tiny.toml "]),
        ("prunebench run smoke --retry", ["--retry-failed "]),
    ],
)
def test_a_shell_completes_commands_studies_and_options(
    typed: str, offered: list[str], workplace: Path
) -> None:
    # What bash's completion sets; the answer goes to file descriptor 8.
    answers = workplace / "answers"
    variables = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": ",", "_ARGCOMPLETE_SUPPRESS_SPACE": "0"}
    variables |= {"COMP_LINE": typed, "COMP_POINT": str(len(typed)), "COMP_TYPE": "9"}
    variables |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answers), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import prunebench; prunebench.main([])"]
    subprocess.run(command, env=os.environ | variables, cwd=workplace, check=True)
    assert sorted(answers.read_text().split(",")) == offered


def test_version_is_that_of_the_package_and_torch_is_not_imported() -> None:
    code = (
        "import sys, prunebench\n"
        "try: prunebench.main(['--version'])\n"
        "except SystemExit as stopped: assert not stopped.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = run_in_new_process(code, ROOT)
    assert (done.returncode, done.stdout) == (0, f"prunebench {version('prunebench')}\n")


def test_help_has_one_line_for_each_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    lines = [line.strip() for line in capture_help(capsys=capsys).splitlines()]
    for command in COMMANDS:
        assert f"{command.NAME:<10}{command.HELP}" in lines


def iterate_arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of the parsers below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from iterate_arguments(subparser)
        else:
            yield action


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.NAME)
def test_every_argument_has_a_help_text_and_every_command_an_example_that_parses(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser()
    command.add_arguments(parser)
    assert [argument.dest for argument in iterate_arguments(parser) if not argument.help] == []
    assert f"example: {command.EXAMPLE}" in capture_help(command.NAME, capsys=capsys)
    words = shlex.split(command.EXAMPLE)
    assert words[:2] == ["prunebench", command.NAME]
    assert build_parser().parse_args(words[1:]).command is command


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
        "list method",
        "run tiny.toml -v -q",
        "prune narrow --backbone tiny",
        "prune narrow --backbone tiny --peak-mib nan",
        "prune narrow --backbone tiny --ratio 0",
        "prune narrow --backbone tiny --ratio 1.5",
        "prune narrow --backbone tiny --ratio half",
        "prune narrow --backbone tiny --ratio 0.5 --out tiny.toml",
        "profile tiny --convention other",
        "profile tiny --top 0",
        "profile tiny --top 10000000000000000000",  # more digits than are accepted
    ],
)
def test_a_wrong_command_line_is_one_line_too(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mistyped_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rin", "tiny.toml"])
    assert "unknown command 'rin'; did you mean 'run'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "plan tiny.toml --set tasks=['FAKE'] --set backbones=['Tiny'] --set methods=['NARROW']",
        "profile TINY --task Fake --top 1",
        "data check embedded --task FAKE",
    ],
)
def test_names_are_found_in_upper_and_lower_case(words: str) -> None:
    assert main(words.split()) == 0


def list_tasks_code(folder: Path) -> str:
    """Return code that runs `prunebench list tasks` with a folder first on the path."""
    return (
        f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]; "
        "import prunebench; sys.exit(prunebench.main(['list', 'tasks']))"
    )


def test_a_package_that_shadows_bench_is_one_clear_line(workplace: Path) -> None:
    (workplace / "bench").mkdir()
    (workplace / "bench" / "__init__.py").write_text("raise RuntimeError('not ours')")
    done = run_in_new_process(list_tasks_code(workplace))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "shadows prunebench's own" in done.stderr


@pytest.mark.parametrize("name", ["methods", "tasks"])
def test_a_package_that_shadows_the_plugins_is_one_clear_line(name: str, workplace: Path) -> None:
    (workplace / name).mkdir()
    (workplace / name / "__init__.py").write_text("")
    done = run_in_new_process(list_tasks_code(workplace))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and f"'{name}' is taken by" in done.stderr
