"""prunebench pretrain: the unpruned networks of a study in one folder."""

from pathlib import Path

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_pretrain_writes_the_unpruned_networks_into_the_folder_and_trains_none_twice(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", "tiny.toml", "--out", "networks"]) == 0
    files = sorted((workplace / "networks").iterdir())
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert len({path.stem for path in files}) == 1
    times = [path.stat().st_mtime_ns for path in files]
    assert main(["pretrain", "tiny.toml", "--out", "networks"]) == 0
    assert times == [path.stat().st_mtime_ns for path in files]
    assert files[0].stem in capsys.readouterr().out
