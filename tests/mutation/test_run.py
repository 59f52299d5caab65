"""The list of mutants fits the code, and the script tells those that are noticed from others."""

import re
from pathlib import Path

import pytest

from tests.mutation.run import (
    ROOT,
    Mutant,
    describe_result,
    find_noticing,
    read_mutants,
    read_noticing,
)

MUTANTS = read_mutants()


def test_there_are_mutants_of_every_part_that_makes_numbers() -> None:
    parts = {mutant.file.rpartition("/")[0] for mutant in MUTANTS}
    assert len(MUTANTS) >= 60
    assert parts >= {f"bench/{room}" for room in ("memory", "channels", "surgery", "runner")}
    assert parts >= {"bench/training", "bench/study", "bench/report", "methods/mosp"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name[:70])
def test_a_mutant_changes_one_place_and_its_tests_exist(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new
    assert mutant.tests and all((ROOT / path).exists() for path in mutant.tests)


def test_a_text_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = 1\nb = 1\n")
    with pytest.raises(ValueError, match=r"2 times in code\.py instead of once: '1'"):
        Mutant("code.py", "1", "2", ()).apply(tmp_path)
    assert Mutant("code.py", "a = 1", "a = 2", ()).apply(tmp_path) == "a = 1\nb = 1\n"
    assert (tmp_path / "code.py").read_text() == "a = 2\nb = 1\n"


@pytest.mark.parametrize(
    ("status", "result"), [(1, "killed"), (0, r"\*\*survived\*\*"), (4, "no result: .* status 4")]
)
def test_the_result_is_that_of_pytest(status: int, result: str) -> None:
    row = describe_result(Mutant("code.py", "a", "b", ()), status, "", 1.0)
    assert re.fullmatch(rf"\| {result} \| `code.py: b` \| - \| 1 \|", row)


TESTS = """from code_of import add

def test_zero():
    assert add(0, 0) == 0

def test_two():
    assert add(1, 1) == 2
"""


def test_the_test_that_notices_a_change_is_named_and_tried_first_the_next_time(
    tmp_path: Path,
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "code_of.py").write_text("def add(a, b):\n    return a | b\n")
    (tmp_path / "tests/test_code.py").write_text(TESTS)
    mutant = Mutant("code_of.py", "a + b", "a | b", ("tests",))
    status, failed = find_noticing(mutant, tmp_path, ["tests/test_code.py::test_zero"])
    assert (status, failed) == (1, "tests/test_code.py::test_two")
    table = tmp_path / "table.md"
    table.write_text(describe_result(mutant, status, failed, 1.0))
    assert read_noticing(table) == {"code_of.py: a | b": [failed]}
    assert find_noticing(mutant, tmp_path, [failed]) == (1, failed)
