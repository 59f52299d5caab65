"""What intervals of ranks cover, and whether differences are found as forecast, by simulation.

`results/simulations/verdicts.py` prints these tables with its own. The PSNR of row r at seed s on
scene i is

    y[r, s, i] = true mean[r] + row x seed[r, s] + row x scene[r, i] + rest[r, s, i]

with independent normal effects, all in dB; what all rows have in common cancels. Row x seed may
have another standard deviation in each row, or two values of which one is rare. What is tested is
the code of the reports.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.report.components import Components
from bench.report.detectable import find_detectable
from bench.report.ranks import Rank, rank_rows
from bench.report.statistics import (
    CONFIDENCE,
    NO_PRIOR,
    Values,
    correct_holm,
    estimate_mean,
    fit_prior,
)

LEVEL = 1 - CONFIDENCE
ROWS, SEEDS, SCENES, RATIOS = 20, 3, 17, 3
RESAMPLES = 200
TABLES, STUDIES = 500, 200  # that are drawn for each number, on verdicts and on ranks
FEW_ROWS = (3, 4, 6, 10)
GAPS_DB = (0.0, 0.01, 0.1, 0.5)  # between one row and the next


# Standard deviations in dB, of rows of an earlier study. Those of `bench.report.detectable` were
# measured later: less row x seed, more rest.
SCATTER = Components(scene=0.0, seed=0.0, seed_scene=0.0, row_scene=0.38, row_seed=0.35, rest=0.29)


class Scatter(NamedTuple):
    """Standard deviations in dB; `seeds` one for each row, repeated as often as is needed."""

    name: str
    seeds: Sequence[float]
    scene: float = SCATTER.row_scene
    rest: float = SCATTER.rest
    fails: bool = False  # one training in five is much worse than the others


ALIKE = Scatter("as forecast", [SCATTER.row_seed])
SCATTERS = (
    ALIKE,
    Scatter("seeds alone", [0.35], 0.05, 0.05),
    Scatter("photographs alone", [0.0]),
    Scatter("every second row 10 times less stable", [0.1, 1.0]),
    Scatter("one row 15 times less stable", [4.5, *[0.3] * (ROWS - 1)]),
    Scatter("rows of 0.05 to 2 dB", list(np.geomspace(0.05, 2, ROWS))),
    Scatter("one training in five fails", [0.35], fails=True),
)


def draw_rows(
    scatter: Scatter, gap_db: float, count: int, rows: int = ROWS, seeds: int = SEEDS
) -> Iterator[Values]:
    """Yield arrays (rows, seeds, scenes) of rows with equal gaps, the best row last."""
    random = np.random.default_rng(0)
    for _ in range(count):
        deviations = random.permutation(np.resize(scatter.seeds, rows))
        training = random.standard_normal((rows, seeds, 1))
        if scatter.fails:
            training = -(np.where(random.random((rows, seeds, 1)) < 0.2, 1.0, 0.0) - 0.2) / 0.4
        values = scatter.rest * random.standard_normal((rows, seeds, SCENES))
        values += scatter.scene * random.standard_normal((rows, 1, SCENES))
        values += deviations[:, None, None] * training
        yield values + gap_db * np.arange(rows)[:, None, None]


def bootstrap_ranks(values: Values) -> list[Rank]:
    """Return percentile intervals of ranks, from seeds and scenes resampled for all rows alike."""
    random = np.random.default_rng(0)
    rows, seeds, scenes = values.shape
    weights = [
        random.multinomial(size, [1 / size] * size, RESAMPLES) / size for size in (seeds, scenes)
    ]
    means = np.einsum("rsi,bs,bi->br", values, *weights, optimize=True)
    ranks = rows - means.argsort(1).argsort(1)
    low, high = np.quantile(ranks, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return [Rank(0, int(one), int(-(-other // 1))) for one, other in zip(low, high, strict=True)]


def rank_coverage(
    scatter: Scatter,
    gap_db: float,
    count: int,
    rule: Callable[[Values], list[Rank]] = rank_rows,
    rows: int = ROWS,
) -> tuple[float, float]:
    """Return the percentage of intervals that hold all true ranks of their row, and their width.

    Rows that are exactly equal share their ranks: each is a true one. The width is the mean number
    of ranks in an interval.
    """
    true = np.arange(rows, 0, -1)
    low, high = (true, true) if gap_db else (np.ones(rows), np.full(rows, rows))
    intervals = np.array([rule(values) for values in draw_rows(scatter, gap_db, count, rows)])
    holds = (intervals[..., 1] <= low) & (intervals[..., 2] >= high)
    return 100 * float(holds.mean()), float((intervals[..., 2] - intervals[..., 1] + 1).mean())


def false_verdicts(scatter: Scatter, count: int, has_prior: bool = True) -> float:
    """Return the percentage of tables of equal rows, at three ratios, with any false verdict."""
    studies = draw_rows(scatter, 0.0, RATIOS * count)
    errors = 0
    for _ in range(count):
        p_values = [_test_rows(next(studies), has_prior) for _ in range(RATIOS)]
        errors += min(correct_holm(np.concatenate(p_values).tolist())) < LEVEL
    return 100 * errors / count


def false_pairs(scatter: Scatter, count: int) -> float:
    """Return the percentage of single p values of equal rows below 0.05, with the prior."""
    p_values = [_test_rows(values) for values in draw_rows(scatter, 0.0, count)]
    return 100 * float(np.mean(np.concatenate(p_values) < LEVEL))


def _test_rows(values: Values, has_prior: bool = True) -> Values:
    """Return the p values of all rows but the first, against the first."""
    prior = fit_prior(values) if has_prior else NO_PRIOR
    return estimate_mean(values[1:] - values[0], prior).p_value


def simulate_power(components: Components, seeds: int, count: int) -> tuple[float, float]:
    """Return the forecast difference, and the percentage of rows with it that are found better.

    A study has three ratios; at each, one row has the difference, all others are equal.
    """
    comparisons = RATIOS * (ROWS - 1)
    difference_db = find_detectable(components, (ROWS, seeds, SCENES), comparisons)
    scatter = Scatter("", [components.row_seed], components.row_scene, components.rest)
    studies = draw_rows(scatter, 0.0, RATIOS * count, ROWS, seeds)
    found = 0
    for _ in range(count):
        p_values = []
        for values in (next(studies) for _ in range(RATIOS)):
            values[1] += difference_db
            p_values.append(_test_rows(values))
        corrected = np.reshape(correct_holm(np.concatenate(p_values).tolist()), (RATIOS, -1))
        found += int((corrected[:, 0] < LEVEL).sum())
    return difference_db, 100 * found / (RATIOS * count)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    lines = [headers, ["---"] + ["---:"] * (len(headers) - 1), *rows]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n")


def print_family() -> None:
    """Print how often tables have a false verdict, with and without what other rows say."""
    print(
        "## Tables with a false verdict, in %; the aim is 5\n\n"
        f"{ROWS} equal rows at {RATIOS} ratios, {SCENES} photographs, {SEEDS} seeds; "
        f"{RATIOS * (ROWS - 1)} comparisons with one row, corrected by Holm; {TABLES} tables, so a "
        "rate of 5 % has a standard error of 1. The last column says how many single p values, not "
        "corrected, are below 0.05.\n"
    )
    rows = [
        [
            scatter.name,
            f"{false_verdicts(scatter, TABLES):.1f}",
            f"{false_verdicts(scatter, TABLES, has_prior=False):.1f}",
            f"{false_pairs(scatter, TABLES):.1f}",
        ]
        for scatter in SCATTERS
    ]
    print_table(["scatter of rows", "the reports'", "each pair for itself", "single p"], rows)


def print_ranks() -> None:
    """Print what intervals of ranks cover."""
    print(
        "## What 95 % intervals of ranks cover, in %, and how many ranks they hold\n\n"
        f"{ROWS} rows, {SCENES} photographs, {SEEDS} seeds, one gap from each row to the next; "
        f"{STUDIES} studies. An interval covers if it holds all true ranks of its row: rows with a "
        "gap of 0 share all ranks.\n"
    )
    rules = (("the reports'", rank_rows), ("crossed bootstrap", bootstrap_ranks))
    rows = [
        [
            f"{scatter.name}, {name}",
            *(
                "{:.1f} ({:.1f})".format(*rank_coverage(scatter, gap_db, STUDIES, rule))
                for gap_db in GAPS_DB
            ),
        ]
        for scatter in SCATTERS
        for name, rule in rules
        if rule is rank_rows or scatter is ALIKE
    ]
    print_table(["gap, dB", *(f"{gap_db:g}" for gap_db in GAPS_DB)], rows)
    rows = [
        [f"{scatter.name}", *(f"{_cover_few(scatter, count):.1f}" for count in FEW_ROWS)]
        for scatter in SCATTERS
    ]
    print("With fewer rows, all equal:\n")
    print_table(["rows", *map(str, FEW_ROWS)], rows)


def _cover_few(scatter: Scatter, rows: int) -> float:
    return rank_coverage(scatter, 0.0, STUDIES, rows=rows)[0]


def print_detectable() -> None:
    """Print whether the forecast difference is found as often as forecast."""
    print(
        "## The difference that `prunebench plan` forecasts to be found in 80 % of cases\n\n"
        f"{ROWS} rows at {RATIOS} ratios, {SCENES} photographs, scatter as forecast; one row of "
        f"each ratio has the difference; {TABLES} studies.\n"
    )
    rows = []
    for seeds in (3, 5, 10):
        difference_db, found = simulate_power(SCATTER, seeds, TABLES)
        rows.append([str(seeds), f"{difference_db:.2f}", f"{found:.1f}"])
    print_table(["seeds", "forecast, dB", "found, %"], rows)
