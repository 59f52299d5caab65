"""Limits on the size of files and on the depth of JSON."""

from pathlib import Path

import pytest

from bench.files.checked_json import read_json_limited, read_limited


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_limited(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ValueError, match="more than the 4 bytes"):
        read_limited(tmp_path / "x", 4)


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the 100 bytes"):
        read_json_limited(Path("/dev/zero"), 100)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000])
def test_text_that_is_not_json_raises_value_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError):
        read_json_limited(tmp_path / "x.json")
