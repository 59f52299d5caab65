"""The tutorial of the README: a method in a package of its own, from its installation to its row, by the commands as they stand there."""

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
MOST_LINES = 40


def commands() -> list[str]:
    """The four commands of the README's tutorial, without their comments."""
    text = (ROOT / "README.md").read_text("utf-8").partition("### Your own method")[2]
    block = next(
        block for block in re.findall(r"```\n(.*?)```", text, re.S) if "pip install" in block
    )
    return [line.partition("   #")[0].strip() for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and an environment that has what is installed here, and nothing else of its own yet."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(TUTORIAL, folder / "tests" / "tutorial")
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", folder / "venv"],
        check=True,
    )
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    outer = [
        str(ROOT),
        sysconfig.get_paths()["purelib"],
    ]  # a virtual environment inside another one does not see the outer one's packages
    (packages / "outer.pth").write_text(
        f"import sys, site; sys.path.insert(0, {outer[0]!r}); site.addsitedir({outer[1]!r})\n"
    )
    return folder


def shell(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    """A command of the README in that environment."""
    words = f'python() {{ "{place}/venv/bin/python" "$@"; }}; pip() {{ python -m pip "$@"; }}; prunebench() {{ python -m prunebench "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"{words}; {command}"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_method_of_the_tutorial_is_short() -> None:
    assert len((TUTORIAL / "prunebench_taylor.py").read_text("utf-8").splitlines()) <= MOST_LINES


def test_four_commands_lead_from_a_file_to_a_row(place: Path) -> None:
    install, listing, check, run = commands()
    installed = shell(install, place)
    assert installed.returncode == 0, installed.stderr
    listed = shell(listing, place).stdout
    assert re.search(r"^taylor\n  origin +prunebench-taylor 0\.1\.0", listed, re.M)
    assert "ranking: Literal['global', 'uniform'] = 'global'" in listed
    checked = shell(check, place)
    assert checked.returncode == 0, checked.stdout
    done = shell(f"{run} --no-mlflow", place)
    assert done.returncode == 0, done.stderr
    table = shell("prunebench table results/runs/mine --format json", place).stdout
    rows = [row for row in json.loads(table) if row["method"] == "taylor"]
    assert [(row["ratio"], row["status"]) for row in rows] == [
        (0.75, "done"),
        (0.5, "done"),
        (0.25, "done"),
    ]
    assert all(row["peak_bytes"] <= row["budget_bytes"] and row["psnr_db"] > 0 for row in rows)
