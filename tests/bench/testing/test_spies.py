"""The watch on what a method does outside of the trainer."""

import tempfile

import pytest

from bench.testing.spies import watch_outside


def test_a_watch_does_not_wait_for_a_search_for_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes: list[str] = []
    with watch_outside(notes):
        monkeypatch.setattr(tempfile, "tempdir", None)  # its search opens files under a lock
        tempfile.gettempdir()
    assert all(tempfile.gettempdir() in note for note in notes)
