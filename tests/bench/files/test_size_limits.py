"""Files are read up to a size, and JSON up to a depth."""

from pathlib import Path

import pytest

from bench.files.checked_json import content_of, json_of


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert content_of(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ValueError, match="more than the 4 bytes"):
        content_of(tmp_path / "x", 4)


def test_a_file_without_end_is_not_waited_for() -> None:
    with pytest.raises(ValueError, match="more than the 100 bytes"):
        json_of(Path("/dev/zero"), 100)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000])
def test_what_is_no_json_is_a_value_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError):
        json_of(tmp_path / "x.json")
