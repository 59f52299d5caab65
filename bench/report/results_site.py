"""A static site of stored studies: an overview, a page for each study, and its records to download.

    index.html              the best row of every task, network, budget and convention
    STUDY/index.html        the page of a study (bench.report.page), with its provenance
    STUDY/STUDY.parquet     its records (bench.report.records_file); or, where records were not
                            kept, STUDY/STUDY.csv, the table

Everything comes from the stored results; nothing is fetched when the site is read.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import ConfigError
from bench.files import atomic
from bench.report.captions import describe_sample, section_title
from bench.report.frame import MAIN_METHOD, Row, competes, group_by
from bench.report.headlines import describe_evidence
from bench.report.note import parse_note
from bench.report.page import PROJECT, Surroundings, write_html, write_pages
from bench.report.page_table import PLAIN
from bench.report.records_file import StoredRecords, write_records
from bench.report.reference import Reference, list_studies, open_reference
from bench.report.statistics import MIN_SEEDS
from bench.report.study_age import Age, find_age
from bench.report.table import format_mean, render_table

OVERVIEW = "page_overview.html"
INDEX = "index.html"
NO_RECORDS = "no scores of photographs"


class Answer(NamedTuple):
    """The best row of a budget: its lead is over MOSP, or MOSP's over the second best.

    `verdict` is "ahead", "level", or why there is no test; `other` is the best row that runs in
    tiles or in fewer bits, "" without one.
    """

    ratio: float
    label: str
    psnr: str
    lead: str
    verdict: str
    other: str


class Study(NamedTuple):
    """A stored study and what the overview says of it."""

    name: str
    reference: Reference
    age: Age
    title: str
    download: str


def write_site(folders: Sequence[Path], out: Path) -> Iterator[Path]:
    """Write the site of all studies in some folders, file by file, and yield each path.

    Args:
        folders: each of a study, or of many, such as results/reference.
        out: folder of the site.

    Raises:
        ConfigError: there are no results, or two studies of one name.
    """
    paths = [path for folder in folders for path in list_studies(folder)]
    names = [path.resolve().name for path in paths]
    if not paths:
        raise ConfigError(
            f"{', '.join(map(str, folders))} holds no results; give folders of runs, or of "
            "many runs, such as results/reference"
        )
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two studies are named {name}; give one of the two folders")
    studies = []
    for name, path in zip(names, paths, strict=True):
        reference = open_reference(path)
        age = find_age(name, reference.results.rows, reference.results.records)
        yield from _write_download(reference, out / name / name)
        studies.append(_describe_study(name, reference, age))
        if reference.results.rows:
            yield _write_study(studies[-1], out)
    values = {"tasks": _group_sections(studies), "others": _list_others(studies)}
    yield write_html(out / INDEX, OVERVIEW, values | {"project": PROJECT})


def _describe_study(name: str, reference: Reference, age: Age) -> Study:
    notes = parse_note(reference.note)
    title = notes[0].text if notes and notes[0].kind == "heading" else name
    suffix = ".parquet" if reference.results.records else ".csv"
    return Study(name, reference, age, title, f"{name}{suffix}" if reference.results.rows else "")


def _write_download(reference: Reference, path: Path) -> Iterator[Path]:
    """Write the records of a study, or the table where there are none."""
    results, store = reference.results, reference.store
    if results.records:
        stored = StoredRecords(store.name(), store.command(), list(results.records))
        yield write_records(path.with_suffix(".parquet"), stored)
    elif results.rows:
        text = render_table(results, "csv")
        atomic.write(path.with_suffix(".csv"), f"{text}\n".encode())
        yield path.with_suffix(".csv")


def _write_study(study: Study, out: Path) -> Path:
    has_records = bool(study.reference.results.records)
    surroundings = Surroundings(
        home=f"../{INDEX}",
        records=study.download if has_records else "",
        age=study.age.sentences,
        note=parse_note(study.reference.note),
    )
    pair = (study.reference.store, study.reference.results)
    return write_pages([pair], out / study.name / INDEX, surroundings)


def _group_sections(studies: Sequence[Study]) -> dict[str, list[dict[str, Any]]]:
    """Return task -> its sections with the best row of each budget; older studies come last."""
    sections = [
        {
            "study": study,
            "task": section.rows[0]["task"],
            "title": section_title(section.rows[0]),
            "answers": find_answers(section.rows),
            "evidence": describe_evidence(section.rows),
        }
        for study in sorted(studies, key=_order)
        for section in study.reference.results.split_sections()
    ]
    return {group[0]["task"]: group for group in group_by(sections, lambda entry: entry["task"])}


def _order(study: Study) -> tuple[bool, bool, str]:
    """Return a key that sorts studies: not older ones first, then those with records."""
    return bool(study.age.older), not study.reference.results.records, study.name


def _list_others(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """Return the title and provenance of what has no rows, such as a report of fuzzing."""
    return [
        {"title": study.title, "note": parse_note(study.reference.note)[1:]}
        for study in studies
        if not study.reference.results.rows
    ]


def find_answers(section: Sequence[Row]) -> list[Answer]:
    """Return the best row of each ratio below 1 that has two rows or more.

    `section` has the rows of one section, ranked and compared with MOSP.
    """
    answers = []
    for ratio, block in groupby(section, key=lambda row: row["ratio"]):
        rows = [row for row in block if row["ratio"] < 1]
        done = sorted(filter(competes, rows), key=lambda row: -row["psnr_db"])
        if len(done) > 1:
            psnr = format_mean(done[0], "psnr_db", ".2f", PLAIN)
            main = next((row for row in rows if row["method"] == MAIN_METHOD), None)
            lead = _find_lead(done, main)
            answers.append(Answer(ratio, done[0]["label"], psnr, *lead, _find_other(rows)))
    return answers


def _find_lead(done: Sequence[Row], main: Row | None) -> tuple[str, str]:
    """Return how far the best row is ahead, with its interval, and the verdict.

    Args:
        done: the rows that compete, the best first.
        main: the row of MOSP that others are compared with.
    """
    best, second = done[:2]
    has_rival = main is not None and main is not best and main in done
    other: Row = main if main is not None and has_rival else second
    compared, sign = (second, -1) if best is main else (best, 1)
    over = f"dB over '{other['label']}'"
    if main is None or main not in done or compared["difference_db"] is None:
        return f"{best['psnr_db'] - other['psnr_db']:+.2f} {over}", _explain_no_test(best)
    lead = f"{sign * compared['difference_db']:+.2f} {over}"
    if compared["interval_db"] is None:
        sample = describe_sample(compared["paired_seeds"], compared["scenes"])
        return lead, f"not tested: {sample}"
    low, high = sorted(sign * end for end in compared["interval_db"])
    verdict = "level" if compared["verdict"] == "level" else "ahead"
    return f"{lead} ({low:+.2f} to {high:+.2f})", verdict


def _explain_no_test(row: Row) -> str:
    """Say why a row of a table without records has no test."""
    few_seeds = row["seeds"] < MIN_SEEDS
    return f"not tested: {describe_sample(row['seeds'], 0) if few_seeds else NO_RECORDS}"


def _find_other(rows: Sequence[Row]) -> str:
    """Return the best finished row in tiles or in fewer bits: "half 31.21"."""
    done = [row for row in rows if row["run_options"] and row["psnr_db"] is not None]
    if not done:
        return ""
    best = max(done, key=lambda row: row["psnr_db"])
    return f"{best['label']} {best['psnr_db']:.2f}"
