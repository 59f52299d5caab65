"""LOL in its official layout."""

import shutil
from pathlib import Path

import pytest

from tasks.data.decoded_cache import load_data_set
from tasks.data.lol import LOL
from tests.tasks.data.trees import (
    Faults,
    check_refusal,
    empty_folder,
    truncate,
    write_float_image,
    write_noise,
)


def make_lol(root: Path) -> Path:
    for part, names in (("our485", ("2", "5", "6")), ("eval15", ("1", "22"))):
        for side in ("low", "high"):
            for name in names:
                write_noise(root / part / side / f"{name}.png", seed=len(part + side) + int(name))
    return root


def test_our485_is_trained_on_and_eval15_is_tested_on(tmp_path: Path) -> None:
    found = load_data_set(make_lol(tmp_path), LOL)
    assert [photograph.name for photograph in found.train] == ["2.png", "5.png", "6.png"]
    assert {name: [pair.name for pair in pairs] for name, pairs in found.test.items()} == {
        "eval15": ["1.png", "22.png"]
    }


FAULTS: Faults = {
    "half a pair": (
        lambda root: (root / "our485/high/5.png").unlink(),
        r"our485: 1 of the photographs .*: low/5\.png",
    ),
    "other size": (
        lambda root: write_noise(root / "eval15/low/1.png", size=(20, 24)),
        r"1\.png differ in size \(low 20 x 24 and high 24 x 20",
    ),
    "floating point": (
        lambda root: write_float_image(root / "our485/high/5.png"),
        r"5\.png holds floating-point values",
    ),
    "cut short": (
        lambda root: truncate(root / "our485/low/6.png"),
        r"our485/low/6\.png cannot be read as an image",
    ),
    "empty": (lambda root: empty_folder(root / "eval15/high"), r"eval15/high is empty"),
    "half there": (
        lambda root: shutil.rmtree(root / "eval15"),
        r"eval15/low is missing; the layout must be our485/low",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    check_refusal(make_lol(tmp_path), LOL, *FAULTS[fault])
