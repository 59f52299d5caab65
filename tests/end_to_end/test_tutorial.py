"""The commands of the tutorial install a method as a package and give it a row of a table."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "tests" / "tutorial"
MAX_LINES = 40


def read_commands() -> list[str]:
    """Return the four commands of the tutorial, without their comments."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.S | re.M)
    (block,) = (block for block in blocks if "./tests/tutorial" in block)
    return [line.partition("   #")[0].strip() for line in block.splitlines()]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tutorial and a virtual environment that sees the packages of this one."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(TUTORIAL, folder / "tests" / "tutorial")
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", folder / "venv"],
        check=True,
    )
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A virtual environment made from another one does not see the packages of that one.
    outer_packages = sysconfig.get_paths()["purelib"]
    (packages / "outer.pth").write_text(
        f"import sys, site; sys.path.insert(0, {str(ROOT)!r}); "
        f"site.addsitedir({outer_packages!r})\n"
    )
    return folder


def run_shell(command: str, environment: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the tutorial in that environment."""
    functions = (
        f'python() {{ "{environment}/venv/bin/python" "$@"; }}; '
        'pip() { python -m pip "$@"; }; prunebench() { python -m prunebench "$@"; }'
    )
    return subprocess.run(
        ["bash", "-c", f"{functions}; {command}"],
        cwd=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_method_of_the_tutorial_is_short() -> None:
    assert len((TUTORIAL / "prunebench_taylor.py").read_text("utf-8").splitlines()) <= MAX_LINES


def test_four_commands_lead_from_a_file_to_a_row(environment: Path) -> None:
    install, list_methods, check, run = read_commands()
    installed = run_shell(install, environment)
    assert installed.returncode == 0, installed.stderr
    listed = run_shell(list_methods, environment).stdout
    assert re.search(r"^taylor\n  origin +prunebench-taylor 0\.1\.0", listed, re.M)
    assert "ranking: Literal['global', 'uniform'] = 'global'" in listed
    checked = run_shell(check, environment)
    assert checked.returncode == 0, checked.stdout
    done = run_shell(f"{run} --no-mlflow", environment)
    assert done.returncode == 0, done.stderr
    table = run_shell("prunebench table results/runs/mine --format json", environment).stdout
    rows = [row for row in json.loads(table) if row["method"] == "taylor"]
    assert [(row["ratio"], row["status"]) for row in rows] == [
        (0.75, "done"),
        (0.5, "done"),
        (0.25, "done"),
    ]
    assert all(row["peak_bytes"] <= row["budget_bytes"] and row["psnr_db"] > 0 for row in rows)
