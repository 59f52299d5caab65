"""The page: studies as one HTML file that needs no network.

It answers the question first, then shows what the answer rests on: the curve, restored photographs
under a slider, tables, the memory of every time step, how rows were trained, what they keep, and
how all was made. It can be written while a study runs, and then says what is missing. Jinja2 fills
`page.html`; its style, script, charts and photographs are inside the file.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.files import atomic
from bench.records import Record
from bench.report import curve, page_crops, page_curves, page_table, pattern, rank_figure, skips
from bench.report.captions import row_notes, section_caption, section_title
from bench.report.components import describe_components
from bench.report.convention_agreement import describe_agreement
from bench.report.frame import MAIN_METHOD, first_per_key
from bench.report.headlines import describe_answers, describe_evidence
from bench.report.note import Block
from bench.report.page_chart import marker_paths
from bench.report.page_memory import compare_memory
from bench.report.pivot import build_pivot, render_latex
from bench.report.results import RunResults
from bench.report.style import label_styles
from bench.report.table import render_table
from bench.study.packaged import describe_study, packaged_studies
from bench.study.store import Store

TEMPLATE = "page.html"
PAPER = "https://doi.org/10.1609/aaai.v37i2.25319"
PROJECT = "https://github.com/prunebench/prunebench"
Studies = Sequence[tuple[Store, RunResults]]


@dataclass(frozen=True)
class Surroundings:
    """What the page of a study shows beside its results if it is part of a site.

    Args:
        home: address of the overview.
        records: address of the file of its records; "" if they were not kept.
        age: sentences, without full stop, on what has changed since.
        note: its provenance.
    """

    home: str = ""
    records: str = ""
    age: Sequence[str] = ()
    note: Sequence[Block] = ()


def write_page(store: Store, results: RunResults, path: Path) -> Path:
    """Write the page of a run folder; return the path."""
    return write_pages([(store, results)], path)


def write_pages(studies: Studies, path: Path, surroundings: Surroundings | None = None) -> Path:
    """Write one page of several run folders, one after the other; return the path."""
    around = asdict(surroundings or Surroundings())
    return write_html(path, TEMPLATE, page_content(studies) | {"around": around})


def write_html(path: Path, template: str, values: Mapping[str, Any]) -> Path:
    """Fill a template of this folder and write the file; return its path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unit_name"] = pattern.format_unit
    html = environment.get_template(template).render(values)
    atomic.write(path, html.encode())
    return path


def page_content(studies: Studies) -> dict[str, Any]:
    """Return the variables of the template."""
    sections = sum(len(results.split_sections()) for _, results in studies)
    room = page_crops.MAX_CHARACTERS // max(1, sections)
    numbers = count()
    names = _name_studies([store for store, _ in studies])
    return {
        "title": " and ".join(names),
        "studies": [
            {"name": name} | _build_study(store, results, numbers, room)
            for name, (store, results) in zip(names, studies, strict=True)
        ],
        "markers": marker_paths(),
        "paper": PAPER,
        "project": PROJECT,
    }


def _name_studies(stores: Sequence[Store]) -> list[str]:
    """Return the names of studies, with their folders if two have one name."""
    names = [store.name() for store in stores]
    return [
        name if names.count(name) == 1 else f"{name} in {store.folder}"
        for name, store in zip(names, stores, strict=True)
    ]


def _build_study(
    store: Store, results: RunResults, numbers: Iterator[int], room: int
) -> dict[str, Any]:
    """Return the variables of one study.

    Args:
        store: of the study.
        results: of the study.
        numbers: for the sections, unlike those of all other sections of the page.
        room: for the photographs of a section, in characters.
    """
    styles = label_styles(results.methods)
    about, dot, more = _describe(store).partition(". ")
    return {
        "about": about + dot.strip(),
        "more": more,
        "cell_count": len(results.cells) or len(results.records),
        "counts": _count_statuses(results),
        "agreement": describe_agreement(results.rows),
        "sections": [
            _build_section(store, section, styles, next(numbers), room)
            for section in results.split_sections()
        ],
        "facts": _collect_facts(store, results),
        "downloads": _collect_downloads(results),
    }


def _describe(store: Store) -> str:
    """Return what a packaged study says of itself; "" for a study of the user."""
    if ".toml" in store.command() or store.name() not in packaged_studies():
        return ""
    return describe_study(store.name())


def _build_section(
    store: Store, section: RunResults, styles: page_curves.Styles, number: int, room: int
) -> dict[str, Any]:
    """Return the variables of one section; None or empty for what has nothing to show."""
    rows, records = section.rows, section.records
    first_seeds = _select_first_seeds(records)
    curve_panels, skips_panels = curve.select_panels(section), skips.build_panels(section)
    pivot = build_pivot(rows)
    return {
        "number": number,
        "title": section_title(rows[0]),
        "main_label": next((row["label"] for row in rows if row["method"] == MAIN_METHOD), ""),
        "summary": [*describe_answers(rows), describe_evidence(rows)],
        "ratios": pivot.ratios,
        "trade_off": page_curves.trade_off_charts(curve_panels[0], styles)
        if curve_panels
        else None,
        "time": page_curves.time_charts(curve_panels[0], styles) if curve_panels else None,
        "views": page_crops.encode_views(page_crops.select_views(store, first_seeds), room),
        "unpruned": pivot.unpruned,
        "pivot": page_table.pivot_lines(pivot),
        "headers": page_table.table_headers(rows),
        "lines": page_table.table_lines(rows),
        "notes": section_caption(rows)
        + page_table.comparison_notes(rows)
        + describe_components(rows, records)
        + row_notes(rows),
        "ranks": _encode_figure(partial(rank_figure.draw, section), "image/png")
        if rank_figure.build_panels(section)
        else None,
        "memory": compare_memory(first_seeds),
        "learning": page_curves.learning_charts(first_seeds, styles),
        "skips": page_curves.skips_chart(skips_panels[0]) if skips_panels else None,
        "patterns": pattern.build_panels(section),
    }


def _select_first_seeds(records: Sequence[Record]) -> list[Record]:
    """Return the first finished record of each row and ratio."""
    done = [record for record in records if record.status == "done"]
    return first_per_key(done, lambda record: (record.cell.label, record.cell.ratio))


def _collect_downloads(results: RunResults) -> dict[str, str]:
    """Return suffix -> file as a data URL: the tables, and the curve if there is one."""
    files = {
        "csv": _encode_file(render_table(results, "csv").encode(), "text/csv"),
        "tex": _encode_file(render_latex(results).encode(), "text/plain"),
    }
    if curve.select_panels(results):
        files["pdf"] = _encode_figure(partial(curve.draw, results), "application/pdf")
    return files


def _encode_figure(draw: Callable[[Path], Path], kind: str) -> str:
    """Return a figure as a data URL; `kind` ends with its suffix."""
    with TemporaryDirectory() as folder:
        path = draw(Path(folder) / f"figure.{kind.partition('/')[2]}")
        return _encode_file(path.read_bytes(), kind)


def _encode_file(content: bytes, kind: str) -> str:
    """Return a file of a media type as a data URL."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


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
