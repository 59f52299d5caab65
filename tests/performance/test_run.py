"""The benchmark runs at tiny sizes and writes its table; what it times is not tested."""

import sys
from pathlib import Path

import pytest

from tests.performance.cases import Case
from tests.performance.run import main, measure


@pytest.mark.slow
def test_every_case_runs_and_has_a_row_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "performance.md"
    monkeypatch.setattr(sys, "argv", ["run", "--tiny", "--repetitions", "1", "--out", str(path)])
    main()
    rows = [line.split(" | ") for line in path.read_text().splitlines() if line.startswith("| ")]
    names = [row[0] for row in rows[2:]]
    assert len(names) == len(set(names)) == 25
    assert all(len(row) == 6 and float(row[1]) >= 0 for row in rows[2:])


def test_the_two_calls_of_a_case_run_in_turn_after_one_of_each() -> None:
    calls: list[str] = []
    case = Case("a / b", lambda: calls.append("a"), lambda: calls.append("b"))
    assert measure(case, 2).startswith("| a / b | ")
    assert calls == ["a", "b"] * 3
