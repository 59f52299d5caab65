"""The page: a study as one HTML file that needs no network, to read, sort, hover over and compare pictures.

It holds what the folder holds: the table, the curve, the memory of every time step, the pattern,
the crops, and what produced them. It can be made while the study runs, and says what is missing.
Jinja2 fills `page.html`, plotly draws, DataTables (as itables packs it) sorts and filters; crops
and scripts are inside the file.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.files import atomic
from bench.records import Cell, Record
from bench.report import curve, interactive, page_table, pattern, skips
from bench.report.convention_agreement import agreement
from bench.report.frame import REFERENCE, asked, first_of_each, rows, section
from bench.report.significance import versus
from bench.report.table import caption, reasons, title
from bench.report.visual import View, views
from bench.study.store import Store

TEMPLATE = "page.html"
TABLE_SCRIPT = "itables"  # packs DataTables, its script and its style, as two files


def write_page(store: Store, path: Path) -> Path:
    """Writes the page of a run folder. Returns the path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    atomic.write(path, environment.get_template(TEMPLATE).render(content(store)).encode())
    return path


def content(store: Store) -> dict[str, Any]:
    """What the template shows."""
    records, cells = store.records(), store.cells()
    merged, (script, style) = rows(records, cells), _table_files()
    return {
        "name": store.name(),
        "sections": _sections(store, records, merged),
        "asked": len(cells) or len(records),
        "rulers": agreement(merged),
        "counts": _counts(records, cells),
        "facts": _facts(store, records, cells),
        "plotly": interactive.script(),
        "table_script": b64encode(script).decode(),
        "table_style": style.decode(),
    }


def _table_files() -> tuple[bytes, bytes]:
    """Script and style of DataTables.

    Read as files: importing the package would bring a notebook's ways with it.
    """
    found = find_spec(TABLE_SCRIPT)
    folder = Path(str(found.origin)).parent / "html" if found else Path()
    return (folder / "dt_bundle.js").read_bytes(), (folder / "dt_bundle.css").read_bytes()


def _sections(
    store: Store, records: Sequence[Record], merged: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One entry per section of `frame`."""
    curves = {section(panel[0]): panel for panel in curve.panels(records)}
    result = []
    for place, (key, group) in enumerate(groupby(merged, key=section)):
        block = list(group)
        mine = [record for record in records if section(asked(record.cell)) == key]
        reference = next((row["label"] for row in block if row["method"] == REFERENCE), None)
        compared = versus(reference, block, mine) if reference else block
        result.append(
            {
                "title": title(block[0]),
                "anchor": f"section{place}",
                "headers": page_table.headers(compared),
                "lines": page_table.lines(compared),
                "notes": caption(block) + page_table.notes(compared) + reasons(block),
                "summary": _summary(block, mine),
                "curve": interactive.curve(curves[key], f"curve{place}") if key in curves else None,
                "timelines": _timelines(mine, place),
                "pattern": _pattern(mine, place),
                "skips": next(
                    (interactive.skips(panel, f"skips{place}") for panel in skips.panels(mine)),
                    None,
                ),
                "views": [_view(view, reference) for view in views(store, _first_seeds(mine))],
            }
        )
    return result


def _summary(block: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> list[str]:
    """The best of every ratio, in words, and whether what is next could as well be."""
    lines = []
    for ratio, group in groupby(block, key=lambda row: row["ratio"]):
        done = sorted(
            (row for row in group if row["status"] == "done" and row["psnr_db"] is not None),
            key=lambda row: -row["psnr_db"],
        )
        if ratio < 1 and len(done) > 1:
            best, next_best = done[:2]
            ahead = f"{best['psnr_db'] - next_best['psnr_db']:.2f} dB ahead of {next_best['label']}"
            interval = versus(next_best["label"], [best, next_best], records)[0]["interval_db"]
            doubt = (
                "; the interval of that difference holds zero"
                if interval and interval[0] <= 0 <= interval[1]
                else ""
            )
            lines.append(
                f"At {ratio:g} of the peak, {best['label']} keeps the most: {best['psnr_db']:.2f} dB, {ahead}{doubt}."
            )
    return lines


def _first_seeds(records: Sequence[Record]) -> list[Record]:
    """Of each row and ratio the first record that is finished."""
    done = [record for record in records if record.status == "done"]
    return first_of_each(done, lambda record: (record.cell.label, record.cell.ratio))


def _timelines(records: Sequence[Record], place: int) -> str | None:
    known = [record for record in _first_seeds(records) if record.timeline]
    return interactive.timelines(known, f"timelines{place}") if known else None


def _pattern(records: Sequence[Record], place: int) -> str | None:
    found = {panel.ratio: panel for panel in pattern.panels(records)}
    return interactive.pattern(found, f"pattern{place}") if found else None


def _view(view: View, reference: str | None) -> dict[str, Any]:
    """One photograph with its crops inside; at first MOSP at the smallest ratio is seen beside the degraded one."""
    tiles = [
        {
            "name": tile.name,
            "figures": tile.figures,
            "image": f"data:image/png;base64,{b64encode(tile.path.read_bytes()).decode()}",
        }
        for tile in view.tiles
    ]
    seen = max(
        range(len(tiles)),
        key=lambda place: (view.tiles[place].label == reference, -(view.tiles[place].ratio or 1)),
    )
    return {"name": f"{view.test_set}: {view.photograph}", "tiles": tiles, "seen": seen}


def _counts(records: Sequence[Record], cells: Sequence[Cell]) -> dict[str, int]:
    """How many cells are in which state; pending is what was asked and has no record."""
    found = {
        status: sum(record.status == status for record in records)
        for status in ("done", "infeasible", "failed")
    }
    return found | {"pending": max(0, len(cells) - len(records))}


def _facts(store: Store, records: Sequence[Record], cells: Sequence[Cell]) -> dict[str, str]:
    """What produced the numbers."""
    first = next((record for record in records if record.status == "done"), None)
    environment = first.environment if first else {}
    asked_cells = cells or [record.cell for record in records]
    recipe = asdict(asked_cells[0].recipe) if asked_cells else {}
    facts = {
        "command": store.command() or "not recorded",
        "versions": ", ".join(
            f"{name} {value}" for name, value in environment.get("versions", {}).items()
        ),
        "machine": ", ".join(
            str(environment[name])
            for name in ("device", "platform", "python")
            if name in environment
        ),
        "threads": str(environment.get("threads", "")),
        "data": ", ".join(
            dict.fromkeys(f"{cell.data} ({cell.data_fingerprint[:16]})" for cell in asked_cells)
        ),
        "recipe of the first cell": ", ".join(f"{name} {value}" for name, value in recipe.items()),
    }
    return {name: value for name, value in facts.items() if value}
