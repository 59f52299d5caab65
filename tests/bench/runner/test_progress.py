"""Progress: lines for people about what runs and how long it will take."""

import io

from bench.runner import progress as progress_module
from bench.runner.progress import QUIET, VERBOSE, TextProgress
from tests.bench.report.synthetic import cell, record, unfinished_record

DONE = record(cell("mosp", 0.5))
FAILED = unfinished_record(cell("mosp", 0.25), "failed", "the loss is nan")


def write_records(verbosity: int) -> list[str]:
    stream = io.StringIO()
    progress = TextProgress(stream, verbosity)
    progress.on_begin(0, {DONE.key: 600.0, FAILED.key: 600.0}, 0.0)
    job = progress.at_job("job")
    job.on_work("'mosp', ratio 0.5, seed 0")
    for phase in ("search", "adapt", "search"):
        job.on_phase(phase)
    progress.on_record(DONE)
    progress.on_record(FAILED)
    return stream.getvalue().splitlines()


def test_each_record_is_a_line_with_the_label_in_quotes_and_a_forecast() -> None:
    first, done, failed = write_records(0)
    assert first == "2 of 2 cells to run, about 20 min"
    assert done.startswith("[1/2] 'mosp', ratio 0.5, seed 0: psnr_db ")
    assert "(1 left, about " in done
    assert failed == "[2/2] 'mosp', ratio 0.25, seed 0: failed: the loss is nan"


def test_quiet_leaves_the_failures_alone() -> None:
    assert write_records(QUIET) == ["[2/2] 'mosp', ratio 0.25, seed 0: failed: the loss is nan"]


def test_verbose_has_one_line_for_each_phase_of_a_job() -> None:
    lines = [line for line in write_records(VERBOSE) if line.startswith("[0/2]")]
    phases = [line.partition(" (")[0].partition("seed 0")[2] for line in lines]
    assert phases == ["", ": search", ": adapt"]


def test_jobs_at_one_time_keep_their_names_and_losses_apart(monkeypatch) -> None:
    monkeypatch.setattr(progress_module, "QUIET_SECONDS", 0.0)
    stream = io.StringIO()
    progress = TextProgress(stream)
    first, second = progress.at_job("first"), progress.at_job("second")
    first.on_work("'a'")
    second.on_work("'b'")
    first.on_step("finetune", 3, 10, 0.25)
    assert stream.getvalue().splitlines()[-1] == "'a': finetune 3/10"
    assert progress.at_job("first") is first and (first.loss, second.loss) == (0.25, None)


def test_a_cell_that_outlasts_its_forecast_is_said_to_take_longer(monkeypatch) -> None:
    monkeypatch.setattr(progress_module, "QUIET_SECONDS", 0.0)
    stream = io.StringIO()
    progress = TextProgress(stream)
    progress.on_begin(0, {"key": 0.0}, 0.0)
    progress.on_work("unpruned unet, seed 0")
    progress.on_step("pretrain", 690, 5000)
    assert stream.getvalue().splitlines()[-1] == (
        "[0/1] unpruned unet, seed 0: pretrain 690/5000 (1 left, longer than expected)"
    )


def test_a_label_cannot_send_codes_to_the_terminal(monkeypatch) -> None:
    monkeypatch.setattr(progress_module, "QUIET_SECONDS", 0.0)
    stream = io.StringIO()
    TextProgress(stream).at_job("key").on_work("'\x1b[2Jmosp\n'")
    assert stream.getvalue() == "'?[2Jmosp '\n"
