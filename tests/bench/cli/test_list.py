"""prunebench list: methods, tasks, backbones and studies by name."""

import json

import pytest

from bench.cli.list import KINDS
from bench.cli.main import main


@pytest.mark.parametrize(
    ("kind", "name"),
    [("methods", "narrow"), ("tasks", "fake"), ("backbones", "tiny"), ("studies", "smoke")],
)
def test_list_prints_names_and_gives_them_as_json(
    kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", kind]) == 0
    assert f"{name}\n" in capsys.readouterr().out
    assert main(["list", kind, "--json"]) == 0
    assert name in [entry["name"] for entry in json.loads(capsys.readouterr().out)]


def test_list_alone_lists_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(KINDS)
