"""prunebench table: the table of a stored run, or of several."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from bench.cli.main import main
from bench.study.store import Store

RUN = ["run", "tiny.toml", "--no-mlflow", "-q", "--executor", "serial"]

pytestmark = pytest.mark.usefixtures("tiny_study")


@pytest.fixture(autouse=True)
def run_folder(tiny_study: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the tiny study into the folder "here"."""
    main([*RUN, "--out", "here"])
    capsys.readouterr()


def print_table(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["table", *words]) == 0
    return capsys.readouterr().out


def test_table_works_from_the_records_alone(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(print_table(capsys, "here", "--format", "json"))
    assert [row["ratio"] for row in rows] == [1, 0.75, 0.5]
    assert "  narrow " in print_table(capsys, "here")
    assert "| narrow" in print_table(capsys, "here", "--wide")
    assert "| narrow" in print_table(capsys, "here", "--format", "md")
    assert "method & 0.75 & 0.5" in print_table(capsys, "here", "--format", "tex")
    assert "label & ratio & budget MiB" in print_table(capsys, "here", "--format", "tex", "--wide")


def test_no_stored_text_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    store = Store("here")
    for record in store.records():
        text = "\x1b]0;title\a"
        store.write(replace(record, status="failed", reason=text, phase=text))
    for words in ([], ["--wide"], *(["--format", fmt] for fmt in ("md", "csv", "tex", "json"))):
        assert "\x1b" not in print_table(capsys, "here", *words)


def test_against_takes_a_label_in_upper_or_lower_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert "| narrow" in print_table(capsys, "here", "--against", "UNPRUNED")


def test_columns_and_budgets_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("here", "--columns", "label,ratio,steps", "--ratio", "0.5")
    assert print_table(capsys, *words).splitlines()[-1].split() == ["narrow", "0.5", "4"]
    rows = json.loads(print_table(capsys, *words, "--format", "json"))
    assert rows == [{"label": "narrow", "ratio": 0.5, "steps": 4}]


def test_two_folders_are_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            *RUN,
            "--out",
            "there",
            "--set",
            "methods=[{method='narrow', label='other', train_steps=1}]",
        ]
    )
    capsys.readouterr()
    printed = print_table(capsys, "here", "there")
    assert "  narrow " in printed and "  other " in printed


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("here --ratio 0.4", "no row has the ratio 0.4; the ratios are 1, 0.75, 0.5"),
        ("here --columns label,stepps", "unknown column 'stepps'; did you mean 'steps'?"),
        ("here --against nobody", "unknown row 'nobody'"),
        ("here --against narrow --columns label", "--columns is not for --against"),
        ("here nowhere", "nowhere holds no results"),
    ],
)
def test_what_cannot_be_printed_is_one_line(
    words: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", *words.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and answer in printed.err


def test_a_table_is_printed_without_loading_torch() -> None:
    command = (
        "import sys; from bench.cli.main import main; "
        "main(['table', 'here']); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", command], check=True, stdout=subprocess.DEVNULL)
