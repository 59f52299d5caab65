"""Break the code in ways that are written down, and see whether a test notices.

    python -m tests.mutation.run --out results/reference/mutation/mutants.md

Each change of mutants.toml is made in a copy of the tracked files, and its tests run until the
first one fails. A change that no test notices has survived: either a test is missing, or the code
that it breaks is not needed. The table names the test that failed; it runs first the next time.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
RECORD = ROOT / "results/reference/mutation/mutants.md"
PYTEST_FAILED = 1  # exit status; others say that no test ran
TIMEOUT_SECONDS = 900
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.*?)(?: - .*)?$", re.MULTILINE)
ROW = re.compile(r"^\| killed \| `(.*)` \| `(tests/.*)` \|", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """A change that breaks the code.

    Args:
        file: path in the repository.
        old: text that stands in the file once.
        new: what replaces it.
        tests: paths of tests, of which one must fail.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file and the text that replaces the old one, in one line."""
        change = " ".join(self.new.split()) or f"without {' '.join(self.old.split())}"
        return f"{self.file}: {change}"

    def apply(self, root: Path) -> str:
        """Change the file in a copy of the repository, and return its text before.

        Raises:
            ValueError: the old text does not stand in the file once.
        """
        path = root / self.file
        before = path.read_text()
        if before.count(self.old) != 1:
            raise ValueError(
                f"{LIST.name}: {before.count(self.old)} times in {self.file} instead of once: "
                f"{self.old!r}"
            )
        path.write_text(before.replace(self.old, self.new))
        return before


def read_mutants() -> list[Mutant]:
    """Return the mutants of the list."""
    content = tomllib.loads(LIST.read_text())
    return [Mutant(**entry | {"tests": tuple(entry["tests"])}) for entry in content["mutant"]]


def copy_repository(target: Path) -> None:
    """Copy all tracked files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)


def run_tests(root: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests in a copy of the repository until one fails.

    Returns:
        pytest's exit status; the test that failed, "" if none did or its name is not known.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-rfE", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return PYTEST_FAILED, ""  # a change that never ends is noticed
    failed = FAILED.search(done.stdout)
    return done.returncode, failed[1] if failed else ""


def find_noticing(mutant: Mutant, root: Path, known: Iterable[str]) -> tuple[int, str]:
    """Run the tests until one notices the change; see `run_tests`.

    First those that noticed it before, then those of the changed file, then all.
    """
    path = Path(mutant.file)
    mirror = f"tests/{path.parent}/test_{path.name}"
    for test in (*known, *([mirror] if (root / mirror).exists() else [])):
        status, failed = run_tests(root, [test])
        if status == PYTEST_FAILED and failed:
            return status, failed
    return run_tests(root, mutant.tests)


def describe_result(mutant: Mutant, status: int, failed: str, seconds: float) -> str:
    """Return a row of the table."""
    results = {PYTEST_FAILED: "killed", 0: "**survived**"}
    result = results.get(status, f"no result: pytest ended with status {status}")
    test = f"`{_escape(failed)}`" if failed else "-"
    return f"| {result} | `{_escape(mutant.name)}` | {test} | {seconds:.0f} |"


def read_noticing(table: Path) -> dict[str, list[str]]:
    """Return change -> tests that noticed it, from a table that an earlier run has written."""
    noticing: dict[str, list[str]] = {}
    for name, test in ROW.findall(table.read_text("utf-8") if table.exists() else ""):
        noticing.setdefault(name.replace("\\|", "|"), []).append(test.replace("\\|", "|"))
    return noticing


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def run_all(mutants: list[Mutant], known: Mapping[str, list[str]]) -> list[str]:
    """Try all mutants, print a line for each, and return the lines of a table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_repository(root)
        for mutant in mutants:
            before = mutant.apply(root)
            start = perf_counter()
            status, failed = find_noticing(mutant, root, known.get(mutant.name, ()))
            (root / mutant.file).write_text(before)
            rows.append(describe_result(mutant, status, failed, perf_counter() - start))
            print(rows[-1], flush=True)
    killed = sum(row.startswith("| killed") for row in rows)
    score = f"{killed} of {len(rows)} mutants are killed: {killed / len(rows):.0%}"
    head = ["| result | change | noticed by | seconds |", "| --- | --- | --- | ---: |"]
    return [score, "", *head, *rows]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="see whether the tests notice broken code")
    parser.add_argument("--only", default="", help="try the mutants of files with this in the path")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    arguments = parser.parse_args()
    mutants = [mutant for mutant in read_mutants() if arguments.only in mutant.file]
    lines = run_all(mutants, read_noticing(arguments.out or RECORD))
    print(lines[0])
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("# Mutants\n\n    make mutants\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
