"""Provenance notes as blocks of text."""

from bench.report.note import parse_note

NOTE = """# Nine budgets

    prunebench run sweep
    prunebench report results/runs/sweep

made everything here, as
[table1](../table1/provenance.md), with `--seeds 0`.
"""


def test_a_note_is_headings_commands_and_paragraphs() -> None:
    assert parse_note(NOTE) == [
        ("heading", "Nine budgets"),
        ("code", "prunebench run sweep\nprunebench report results/runs/sweep"),
        ("text", "made everything here, as table1, with `--seeds 0`."),
    ]


def test_no_note_has_no_blocks() -> None:
    assert parse_note("") == []
