"""The page: a study as one HTML file that needs no network.

It is for reading, sorting, hovering over points and comparing pictures. It holds the table, the
curve, the memory of every time step, the pattern, the crops, and how they were made. It can be
written while the study runs, and then says what is missing. Jinja2 fills `page.html`, plotly draws,
DataTables (as packed by itables) sorts and filters; crops and scripts are inside the file.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.files import atomic
from bench.records import Record
from bench.report import curve, interactive, page_table, pattern, rank_figure, skips
from bench.report.captions import row_notes, section_caption, section_title
from bench.report.components import describe_components
from bench.report.convention_agreement import describe_agreement
from bench.report.crops_figure import View, collect_views
from bench.report.frame import MAIN_METHOD, first_per_key
from bench.report.headlines import describe_answers, describe_evidence
from bench.report.results import RunResults
from bench.study.store import Store

TEMPLATE = "page.html"
TABLE_SCRIPT = "itables"  # packs DataTables, its script and its style, as two files


def write_page(store: Store, results: RunResults, path: Path) -> Path:
    """Write the page of a run folder; return the path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(TEMPLATE).render(page_content(store, results))
    atomic.write(path, html.encode())
    return path


def page_content(store: Store, results: RunResults) -> dict[str, Any]:
    """Return the variables of the template."""
    script, style = _read_table_files()
    return {
        "name": store.name(),
        "sections": [
            _build_section(store, section, index)
            for index, section in enumerate(results.split_sections())
        ],
        "cell_count": len(results.cells) or len(results.records),
        "agreement": describe_agreement(results.rows),
        "counts": _count_statuses(results),
        "facts": _collect_facts(store, results),
        "plotly": interactive.plotly_script(),
        "table_script": b64encode(script).decode(),
        "table_style": style.decode(),
    }


def _read_table_files() -> tuple[bytes, bytes]:
    """Read script and style of DataTables.

    The package is not imported, because importing it would set up a notebook.
    """
    package = find_spec(TABLE_SCRIPT)
    folder = Path(str(package.origin)).parent / "html" if package else Path()
    return (folder / "dt_bundle.js").read_bytes(), (folder / "dt_bundle.css").read_bytes()


def _build_section(store: Store, section: RunResults, index: int) -> dict[str, Any]:
    """Return the variables of one section."""
    rows = section.rows
    records = section.records
    main_label = next((row["label"] for row in rows if row["method"] == MAIN_METHOD), None)
    first_seeds = _select_first_seeds(records)
    curve_panels = curve.select_panels(section)
    pattern_panels = {panel.ratio: panel for panel in pattern.build_panels(section)}
    skips_panels = skips.build_panels(section)
    timelines = [record for record in first_seeds if record.timeline]
    return {
        "title": section_title(rows[0]),
        "anchor": f"section{index}",
        "headers": page_table.table_headers(rows),
        "lines": page_table.table_lines(rows),
        "notes": section_caption(rows)
        + page_table.comparison_notes(rows)
        + describe_components(rows, records)
        + row_notes(rows),
        "summary": [*describe_answers(rows), describe_evidence(rows)],
        "curve": interactive.render_curve(curve_panels[0], f"curve{index}")
        if curve_panels
        else None,
        "ranks": _encode_ranks(section) if rank_figure.build_panels(section) else None,
        "timelines": interactive.render_timelines(timelines, f"timelines{index}")
        if timelines
        else None,
        "pattern": interactive.render_pattern(pattern_panels, f"pattern{index}")
        if pattern_panels
        else None,
        "skips": interactive.render_skips(skips_panels[0], f"skips{index}")
        if skips_panels
        else None,
        "views": [_encode_view(view, main_label) for view in collect_views(store, first_seeds)],
    }


def _select_first_seeds(records: Sequence[Record]) -> list[Record]:
    """Return the first finished record of each row and ratio."""
    done = [record for record in records if record.status == "done"]
    return first_per_key(done, lambda record: (record.cell.label, record.cell.ratio))


def _encode_ranks(section: RunResults) -> str:
    """Return the figure of the ranks as a data URL."""
    with TemporaryDirectory() as folder:
        path = rank_figure.draw(section, Path(folder) / "ranks.png")
        return _encode_picture(path)


def _encode_picture(path: Path) -> str:
    return f"data:image/png;base64,{b64encode(path.read_bytes()).decode()}"


def _encode_view(view: View, main_label: str | None) -> dict[str, Any]:
    """Return one photograph with its crops as data URLs.

    `shown` is the index of the crop that is shown beside the degraded one at first: that of
    `main_label` at the smallest ratio.
    """
    tiles = [
        {
            "name": tile.name,
            "scores": tile.scores,
            "image": _encode_picture(tile.path),
        }
        for tile in view.tiles
    ]
    ranks = [(tile.label == main_label, -(tile.ratio or 1)) for tile in view.tiles]
    shown = ranks.index(max(ranks))
    return {"name": f"{view.test_set}: {view.photograph}", "tiles": tiles, "shown": shown}


def _count_statuses(results: RunResults) -> dict[str, int]:
    """Return status -> number of cells; a cell without a record is pending."""
    counts = {
        status: sum(record.status == status for record in results.records)
        for status in ("done", "infeasible", "failed")
    }
    return counts | {"pending": max(0, len(results.cells) - len(results.records))}


def _collect_facts(store: Store, results: RunResults) -> dict[str, str]:
    """Return how the numbers were made: command, versions, machine, data and recipe."""
    first = next((record for record in results.records if record.status == "done"), None)
    environment: Mapping[str, Any] = first.environment if first else {}
    cells = results.cells or [record.cell for record in results.records]
    recipe = asdict(cells[0].recipe) if cells else {}
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
            dict.fromkeys(f"{cell.data} ({cell.data_fingerprint[:16]})" for cell in cells)
        ),
        "recipe of the first cell": ", ".join(f"{name} {value}" for name, value in recipe.items()),
    }
    return {name: value for name, value in facts.items() if value}
