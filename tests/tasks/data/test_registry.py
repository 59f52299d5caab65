"""Every official layout is recognised by its task; a wrong folder is answered with a suggestion."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.plugins.registry import TASKS
from tests.tasks.data.test_div2k import make_div2k
from tests.tasks.data.test_folders import make_pairs_folder
from tests.tasks.data.test_lol import make_lol
from tests.tasks.data.test_sid import make_sid
from tests.tasks.data.test_sidd import make_sidd

# Name -> function that makes it, its task, a folder inside.
LAYOUTS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "your own pairs, noisy and clean": (make_pairs_folder, "denoising", "train"),
    "SIDD-Medium": (make_sidd, "denoising", "SIDD_Medium_Srgb/Data"),
    "LOL": (make_lol, "low_light", "our485"),
    "SID-Sony": (make_sid, "low_light", "Sony"),
    "DIV2K and test sets": (make_div2k, "super_resolution", "DIV2K_train_LR_bicubic"),
}
every_layout = pytest.mark.parametrize("name", LAYOUTS)


@every_layout
def test_its_task_says_what_it_is_from_where_and_under_which_licence(
    name: str, tmp_path: Path
) -> None:
    make, task, _ = LAYOUTS[name]
    found = TASKS.get(task)().describe_data(str(make(tmp_path)))
    assert found.startswith(f"{tmp_path}: {name}, ")
    assert any(word in found for word in ("licence", "research", "not a published data set"))


@every_layout
@pytest.mark.parametrize("position", ["inside", "above"])
def test_a_folder_inside_or_above_is_answered_with_the_one_that_is_meant(
    name: str, position: str, tmp_path: Path
) -> None:
    make, task, below = LAYOUTS[name]
    make(tmp_path / "data")
    given = tmp_path / "data" / below if position == "inside" else tmp_path
    with pytest.raises(ConfigError, match=f"did you mean .*data.*, which looks like {name}"):
        TASKS.get(task)().fingerprint(str(given))


@pytest.mark.parametrize("name", [*LAYOUTS][:-1])  # all tasks read DIV2K
def test_another_task_names_the_one_that_reads_it(name: str, tmp_path: Path) -> None:
    make, task, _ = LAYOUTS[name]
    other = "super_resolution" if task != "super_resolution" else "denoising"
    with pytest.raises(ConfigError, match=f"it looks like {name}, which task {task} reads"):
        TASKS.get(other)().fingerprint(str(make(tmp_path)))
