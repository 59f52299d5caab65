"""Break the code in ways that are written down, and see whether a test notices.

    python -m tests.mutation.run --out results/reference/mutation/mutants.md

Each change of mutants.toml is made in a copy of the tracked files, and its tests run until the
first one fails. A change that no test notices has survived: either a test is missing, or the code
that it breaks is not needed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
PYTEST_FAILED = 1  # exit status; others say that no test ran
TIMEOUT_SECONDS = 900


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


def run_tests(root: Path, tests: tuple[str, ...]) -> int:
    """Run tests in a copy of the repository until one fails; return pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return PYTEST_FAILED  # a change that never ends is noticed
    return done.returncode


def describe_result(mutant: Mutant, status: int, seconds: float) -> str:
    """Return a row of the table."""
    results = {PYTEST_FAILED: "killed", 0: "**survived**"}
    result = results.get(status, f"no result: pytest ended with status {status}")
    name = mutant.name.replace("|", "\\|")
    return f"| {result} | `{name}` | {seconds:.0f} |"


def run_all(mutants: list[Mutant]) -> list[str]:
    """Try all mutants, print a line for each, and return the lines of a table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_repository(root)
        for mutant in mutants:
            before = mutant.apply(root)
            start = perf_counter()
            status = run_tests(root, mutant.tests)
            (root / mutant.file).write_text(before)
            rows.append(describe_result(mutant, status, perf_counter() - start))
            print(rows[-1], flush=True)
    killed = sum(row.startswith("| killed") for row in rows)
    score = f"{killed} of {len(rows)} mutants are killed: {killed / len(rows):.0%}"
    return [score, "", "| result | change | seconds |", "| --- | --- | ---: |", *rows]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="see whether the tests notice broken code")
    parser.add_argument("--only", default="", help="try the mutants of files with this in the path")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    arguments = parser.parse_args()
    mutants = [mutant for mutant in read_mutants() if arguments.only in mutant.file]
    lines = run_all(mutants)
    print(lines[0])
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("# Mutants\n\n    make mutants\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
