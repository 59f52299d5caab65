"""What the README and the pages of docs/ show works."""

import csv
import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS, build_parser
from bench.report.headlines import describe_answers

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
LINES_OF_README = 150
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
CODE_PATH = re.compile(r"`((?:bench|methods|tasks|tests|docs|examples)/[\w/.-]+)`")


def _blocks(path: Path, language: str) -> Iterator[str]:
    for indent, name, text in FENCE.findall(path.read_text("utf-8")):
        if name == language:
            yield "\n".join(line.removeprefix(indent) for line in text.splitlines())


def _python_blocks() -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(ROOT).as_posix()}-{number}", block)
        for path in PAGES
        for number, block in enumerate(_blocks(path, "python"))
    ]


def _command_lines() -> list[str]:
    lines = [line for path in PAGES for block in _blocks(path, "") for line in block.splitlines()]
    return sorted({line for line in lines if re.match(r"(\.venv/bin/)?prunebench ", line)})


@pytest.mark.parametrize(("name", "block"), _python_blocks())
def test_a_python_example_runs(
    name: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, name, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("line", _command_lines())
def test_a_command_line_is_understood(line: str) -> None:
    build_parser().parse_args(shlex.split(line, comments=True)[1:])


def test_every_command_is_in_the_list_of_all_commands() -> None:
    page = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", page.partition("## All commands")[2], re.M)
    listed = {name.split()[0] for row in rows for name in re.findall("`(.*?)`", row)}
    assert listed == {command.NAME for command in COMMANDS}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_files_that_a_page_links_to_or_names_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing + [name for name in CODE_PATH.findall(text) if not (ROOT / name).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= LINES_OF_README


def test_the_table_of_results_is_that_of_the_records() -> None:
    text = README.read_text("utf-8")
    (study,) = set(re.findall(r"results/reference/(\w+)/table\.md", text))
    with (ROOT / "results/reference" / study / "table.csv").open(encoding="utf-8") as file:
        records = {(row["label"].lower(), row["ratio"]): row for row in csv.DictReader(file)}
    printed = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|", text, re.MULTILINE)
    rows = [row for row in printed if (row[0].lower(), "0.5") in records]
    assert len(rows) == len({label for label, ratio in records if ratio == "0.5"})
    for label, *cells in rows:
        for ratio, cell in zip(("0.75", "0.5", "0.25"), cells, strict=True):
            assert cell.strip("*") == _format_psnr(records[label.lower(), ratio]), (label, ratio)


def test_the_sentences_below_the_table_are_those_of_the_records() -> None:
    text = README.read_text("utf-8")
    (study,) = set(re.findall(r"results/reference/(\w+)/table\.md", text))
    table = ROOT / "results/reference" / study / "table.json"
    answers = describe_answers(json.loads(table.read_text("utf-8")))
    assert len(answers) == 3
    assert all(answer in " ".join(text.split()) for answer in answers)


def _format_psnr(row: dict[str, str]) -> str:
    if not row["psnr_db"]:
        return row["status"]
    half_width = f" ± {float(row['psnr_db_half95']):.2f}" if row["psnr_db_half95"] else ""
    return f"{float(row['psnr_db']):.2f}{half_width}"


def test_the_page_of_departures_is_what_the_methods_say():
    page = runpy.run_path(str(ROOT / "docs" / "departures.py"))["render_page"]()
    assert (ROOT / "docs" / "departures.md").read_text(encoding="utf-8") == page, (
        "run: python docs/departures.py"
    )
