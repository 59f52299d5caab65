"""prunebench data: what a folder holds for a task; downloads."""

import json
import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.files.download import Arrived
from bench.files.remote_files import Download, RemoteFile
from bench.plugins.registry import TASKS

CHECK = ["data", "check", "embedded", "--task", "fake"]
FILE = RemoteFile("http://127.0.0.1/pictures.zip", 2**21)
SETS = (
    Download("Pictures", "three pictures", "free to use", "the page of Pictures", (FILE,)),
    Download("Form", "many pictures", "sign a form", "the page of Form"),
)


@pytest.fixture(autouse=True)
def data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake task declares two data sets, other tasks none."""
    for name in TASKS.names():
        monkeypatch.setattr(TASKS.get(name), "downloads", SETS if name == "fake" else ())


def test_data_check_prints_the_splits_and_gives_them_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(CHECK) == 0
    line = r"photos +2 photographs, 27 x 20 to 32 x 32 +input \d\d\.\d\d dB"
    assert re.search(line, capsys.readouterr().out)
    assert main([*CHECK, "--set", "noise=0.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"][0]["photographs"] == 2


def test_data_get_without_a_name_lists_all_with_size_and_terms(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["data", "get"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Form      by hand  fake  sign a form",
        "Pictures  2.0 MiB  fake  free to use",
        "Next: prunebench data get NAME",
    ]


def test_data_get_says_what_it_downloads_before_and_how_to_use_it_after(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = []

    def download(data_set: Download, root: Path) -> dict[RemoteFile, Arrived]:
        printed.append(capsys.readouterr().out)
        return {FILE: Arrived(2_000_000, "ab12")}

    monkeypatch.setattr("bench.files.download.download", download)
    assert main(["data", "get", "pictures", "--out", "here"]) == 0
    for text in ("three pictures", FILE.url, "free to use", "2.0 MiB", "here/Pictures"):
        assert text in printed[0]
    after = capsys.readouterr().out
    assert "pictures.zip: 2,000,000 bytes, SHA-256 ab12; no checksum is published" in after
    assert "Next: prunebench data check here/Pictures --task fake" in after


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("form", "Form (sign a form) is not downloaded by a program; get it from the page of Form"),
        ("picture", "unknown data set 'picture'; did you mean 'Pictures'? known: Form, Pictures"),
    ],
)
def test_data_get_says_why_it_downloads_nothing(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "get", name]) == 2
    assert message in capsys.readouterr().err
