"""SID-Sony in its official layout.

A stand-in for rawpy returns the amplification as pixel value: no raw file is needed.
"""

import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from tasks.data.decoded_cache import load_data_set
from tasks.data.sid import SID
from tests.tasks.data.trees import Faults, check_refusal

PAIRS = {
    "Sony_train_list.txt": ("00001_00_0.04s", "00001_00_0.1s", "00002_00_0.1s"),
    "Sony_test_list.txt": ("10003_00_0.1s", "10034_00_0.1s"),
}


def make_sid(root: Path) -> Path:
    for name, shorts in PAIRS.items():
        lines = []
        for short in shorts:
            lines.append(f"./Sony/short/{short}.ARW ./Sony/long/{short[:8]}_10s.ARW ISO200 F8")
            for file in (f"short/{short}", f"long/{short[:8]}_10s"):
                (root / "Sony" / file).parent.mkdir(parents=True, exist_ok=True)
                (root / "Sony" / f"{file}.ARW").write_bytes(file.encode())
        (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def rawpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Develop every file to 12 x 16, with its amplification as value; an empty file raises."""

    @contextmanager
    def imread(path: str) -> Any:
        if not Path(path).read_bytes():
            raise OSError("unexpected end of file")
        sizes = SimpleNamespace(raw_width=24, raw_height=32)
        yield SimpleNamespace(
            sizes=sizes,
            postprocess=lambda bright, **_: numpy.full(
                (12, 16, 3), min(255, round(bright)), numpy.uint8
            ),
        )

    monkeypatch.setitem(sys.modules, "rawpy", SimpleNamespace(imread=imread))


def test_short_exposures_are_amplified_by_the_ratio_of_the_exposures(
    tmp_path: Path, rawpy: None
) -> None:
    found = load_data_set(make_sid(tmp_path), SID)
    assert [
        (photograph.name, int(photograph.images[0][0, 0, 0])) for photograph in found.train
    ] == [
        ("00001/00001_00_0.04s", 250),
        ("00001/00001_00_0.1s", 100),
        ("00002/00002_00_0.1s", 100),
    ]
    assert found.train[0].images[1].shape == (3, 12, 16)


def test_scenes_with_a_shift_are_not_tested_on(tmp_path: Path, rawpy: None) -> None:
    assert [pair.name for pair in load_data_set(make_sid(tmp_path), SID).test["sid_sony"]] == [
        "10003/10003_00_0.1s"
    ]


def test_where_rawpy_is_missing_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    check_refusal(
        make_sid(tmp_path), SID, lambda root: None, r"need rawpy: pip install 'prunebench\[raw\]'"
    )


FAULTS: Faults = {
    "no list": (
        lambda root: (root / "Sony_test_list.txt").unlink(),
        r"Sony_test_list\.txt is missing",
    ),
    "half a pair": (
        lambda root: (root / "Sony/long/00002_00_10s.ARW").unlink(),
        r"1 files of Sony_train_list\.txt are missing: Sony/long/00002_00_10s\.ARW",
    ),
    "half a line": (
        lambda root: (root / "Sony_test_list.txt").write_text("./Sony/short/x.ARW\n"),
        r"has the line '\./Sony/short/x\.ARW'",
    ),
    "empty list": (
        lambda root: (root / "Sony_train_list.txt").write_text("\n"),
        r"SID-Sony, and has no photographs of 'train'",
    ),
    "only shifted scenes": (
        lambda root: (root / "Sony_test_list.txt").write_text(
            "Sony/short/10034_00_0.1s.ARW Sony/long/10034_00_10s.ARW\n"
        ),
        r"has no photographs of 'sid_sony'",
    ),
    "no text": (
        lambda root: (root / "Sony_test_list.txt").write_bytes(b"\xff\xfe \x00"),
        r"2 files of Sony_test_list\.txt are missing",
    ),
    "elsewhere": (
        lambda root: (root / "Sony_test_list.txt").write_text(
            "/no/short_0.1s.ARW /no/long_10s.ARW"
        ),
        r"names .*, which is outside of",
    ),
    "one floor up": (
        lambda root: (root / "Sony_test_list.txt").write_text(
            "Sony/../../short_0.1s.ARW Sony/long_10s.ARW"
        ),
        r"names Sony/\.\./\.\./short_0\.1s\.ARW, which is outside of",
    ),
    "no time": (
        lambda root: (
            (root / "Sony/short/00001_00_0s.ARW").write_bytes(b"raw"),
            (root / "Sony_test_list.txt").write_text(
                "Sony/short/00001_00_0s.ARW Sony/long/00001_00_10s.ARW"
            ),
        ),
        "does not end in its exposure",
    ),
    "cut short": (
        lambda root: (root / "Sony/long/00001_00_10s.ARW").write_bytes(b""),
        r"10s\.ARW cannot be developed \(OSError: unexpected",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path, rawpy: None) -> None:
    check_refusal(make_sid(tmp_path), SID, *FAULTS[fault])
