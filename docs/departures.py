"""Write docs/departures.md from the methods: python docs/departures.py."""

from pathlib import Path

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Departures from the papers

Every place where a method of `prunebench` differs from its paper: what the paper does, what is done
here, why, and what the difference changes, as far as it was measured. This page is written by
`python docs/departures.py` from the methods' own attribute `departures`; in a terminal,
`prunebench list departures` prints it. Study `table1_paper` gives methods the form that they have
in the MOSP paper's table, as far as options can.
"""
TABLE_HEAD = "| paper | here | why | effect |\n| --- | --- | --- | --- |"


def render_page() -> str:
    """Return the page: one table for each method that has departures."""
    from bench.study.catalogue import list_entries

    lines = [HEAD]
    previous = ""
    for entry in list_entries("departures"):
        if entry["name"] != previous:
            previous = entry["name"]
            lines += [f"\n## {previous}\n", TABLE_HEAD]
        cells = (entry[column] for column in ("paper", "here", "why", "effect"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
