"""prunebench data check: what a folder holds for a task."""

import json
import re

import pytest

from bench.cli.main import main

CHECK = ["data", "check", "embedded", "--task", "fake"]


def test_data_check_prints_the_splits_and_gives_them_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(CHECK) == 0
    line = r"photos +2 photographs, 27 x 20 to 32 x 32 +input \d\d\.\d\d dB"
    assert re.search(line, capsys.readouterr().out)
    assert main([*CHECK, "--set", "noise=0.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"][0]["photographs"] == 2
