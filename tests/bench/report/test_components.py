"""The components of the variance: recovered from drawn studies, and said in one line."""

import numpy
import pytest

from bench.report.components import Components, describe_components, estimate_components
from bench.report.results import collect_results
from tests.bench.report.synthetic import scored_record

TRUE = Components(2.0, 0.5, 0.2, 0.4, 0.3, 0.25)


def draw(shape: tuple[int, int, int], true: Components, seed: int = 0) -> numpy.ndarray:
    """Draw the PSNR (rows, seeds, scenes) of rows with unequal means."""
    random = numpy.random.default_rng(seed)
    rows, seeds, scenes = shape
    values = 30.0 + numpy.arange(rows)[:, None, None] + true.rest * random.normal(size=shape)
    values += true.scene * random.normal(size=scenes) + true.seed * random.normal(size=(seeds, 1))
    values += true.seed_scene * random.normal(size=(seeds, scenes))
    values += true.row_scene * random.normal(size=(rows, 1, scenes))
    return values + true.row_seed * random.normal(size=(rows, seeds, 1))


def test_what_was_drawn_is_estimated() -> None:
    estimate = estimate_components(draw((30, 40, 60), TRUE))
    assert estimate == pytest.approx(TRUE, rel=0.25)


def test_estimates_are_right_on_average_also_in_small_studies() -> None:
    studies = [estimate_components(draw((20, 3, 17), TRUE, seed)) for seed in range(200)]
    variances = numpy.square(studies).mean(0)[2:]
    assert variances == pytest.approx(numpy.square(TRUE)[2:], rel=0.1)


def test_a_negative_estimate_is_zero() -> None:
    values = numpy.array([[[0.0, 1], [1, 0]], [[1, 0], [0, 1]]])  # an interaction of all three
    assert estimate_components(values)[2:5] == (0, 0, 0)


def test_a_table_says_them_in_one_line_if_there_are_three_of_each() -> None:
    records = [
        scored_record(label, list(gains), seed)
        for row, label in enumerate(("mosp", "uniform", "dhp"))
        for seed, gains in enumerate(draw((3, 3, 4), TRUE)[row])
    ]
    results = collect_results(records)
    (sentence,) = describe_components(results.rows, records)
    assert sentence.startswith("Standard deviations in dB at 0.5: photographs ")
    assert "row x photograph 0." in sentence and "row x seed 0." in sentence
    fewer = [record for record in records if record.cell.seed < 2]
    assert describe_components(collect_results(fewer).rows, fewer) == []
