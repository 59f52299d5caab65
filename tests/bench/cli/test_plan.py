"""prunebench plan: what would run, as text and as JSON."""

import json
from pathlib import Path

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_a_plan_says_what_would_run_on_how_many_devices(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "tiny.toml", "--devices", "1,3", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert set(plan["seconds"]) == {"1", "3"}
    assert plan["tables"][0]["comparisons"] == 0
    assert [job["ratios"] for job in plan["jobs"]] == [2, 1]
    assert main(["plan", "tiny.toml"]) == 0
    text = capsys.readouterr().out
    assert "8 at a time: about" in text
    assert "fake · tiny (width 8): with " in text and "no verdict is possible" in text
    assert [path.name for path in workplace.iterdir()] == ["tiny.toml"]
