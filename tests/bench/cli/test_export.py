"""prunebench export: one network of a run as files for other programs."""

from pathlib import Path

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_export_writes_the_network_of_a_row_and_how_to_reload_it(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "tiny.toml", "--out", "here", "--no-mlflow", "--executor", "serial"])
    capsys.readouterr()
    words = ["export", "here", "--row", "narrow", "--ratio", "0.5", "--format", "safetensors"]
    assert main(words) == 0
    (folder,) = (workplace / "results" / "exported").iterdir()
    printed = capsys.readouterr().out
    assert "narrow, ratio 0.5, seed 0 at " in printed
    assert f"load({str(folder.relative_to(workplace))!r})" in printed
