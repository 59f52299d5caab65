"""The declared downloads: complete entries, whose folders the tasks can read."""

import re
from pathlib import Path

import pytest

from bench.files.download import file_name
from bench.files.remote_files import Download
from bench.files.unpack import is_archive
from bench.study.catalogue import list_downloads
from tasks.data.clean import TEST_SETS
from tasks.data.div2k import super_resolution_folder
from tasks.data.downloads import BSDS500, CLEAN, DIV2K
from tasks.denoising import Denoising
from tests.tasks.data.test_clean import make_folder
from tests.tasks.data.test_div2k import make_div2k

ENTRIES = [data_set for data_set, _ in list_downloads()]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_says_what_it_is_and_under_which_terms(entry: Download) -> None:
    assert entry.content and entry.terms and "http" in entry.source
    names = [file_name(file) for file in entry.files]
    assert len(set(names)) == len(names)
    for file in entry.files:
        assert re.fullmatch(r"(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})?", file.checksum)
        assert file.size_bytes > 0
        assert is_archive(Path(file_name(file))) or not file.inside


def test_names_are_unique_and_the_same_entry_serves_several_tasks() -> None:
    tasks = {data_set.name: names for data_set, names in list_downloads()}
    assert len(tasks) == len(ENTRIES)
    assert tasks["DIV2K"] == ["denoising", "low_light", "super_resolution"]


def test_every_clean_set_is_read_from_the_folder_that_it_is_put_into(tmp_path: Path) -> None:
    tested = {data_set.name.lower() for data_set in CLEAN} - {"bsds500", "div2k"}
    assert tested == {name for name in TEST_SETS if name not in ("kodak", "mcm")}
    (file,) = BSDS500.files
    for split in ("train", "test", "val"):
        make_folder(tmp_path / BSDS500.name / file.folder / split)
    make_div2k(tmp_path / DIV2K.name)
    make_folder(tmp_path / "Kodak24")
    found = {name: len(pairs) for name, pairs in Denoising().photographs(str(tmp_path)).items()}
    assert found == {"train": 7, "div2k_valid": 10, "bsds500_val": 2, "kodak24": 2}


def test_super_resolution_finds_div2k_in_the_same_place(tmp_path: Path) -> None:
    make_div2k(tmp_path / DIV2K.name)
    make_folder(tmp_path / "Set5")
    splits = super_resolution_folder(2).find_splits(tmp_path)
    assert (len(splits.train), list(splits.test)) == (3, ["div2k_valid", "set5"])
