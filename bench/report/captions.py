"""The words of tables: titles, captions, notes, and the status and the verdict of a row."""

from collections.abc import Sequence

from bench.records import describe_outcome
from bench.report.frame import Row
from bench.report.ranks import describe_ranks, find_mark
from bench.report.statistics import MIN_SCENES, MIN_SEEDS, Agreement, tau_deviation

NUMERALS = {1: "one", 2: "two"}
VERDICT = (
    "better, worse, or level where no difference could be shown, at 5 % with Holm's correction for "
    "all rows and ratios of this table"
)


def format_status(row: Row) -> str:
    """Format the status of a row: "done", or with the number of its seeds "1 of 3 pending"."""
    if row["status"] == "done" or row["seeds_asked"] == 1:
        return str(row["status"])
    count = row["statuses"][row["status"]]
    if count == row["seeds_asked"]:
        return str(row["status"])
    return f"{count} of {row['seeds_asked']} {row['status']}"


def format_verdict(row: Row) -> str:
    """Format the result of a comparison in words."""
    if row["status"] != "done":
        return format_status(row)
    if row["difference_db"] is None:
        return "reference" if row["label"] == row["versus"] else "not compared"
    if row["verdict"] is None:
        return f"{describe_sample(row['paired_seeds'], row['scenes'])}: not tested"
    return str(row["verdict"])


def describe_sample(seeds: int, scenes: int) -> str:
    """Describe what there is too little of for a test: "one seed" or "3 scenes"."""
    if seeds < MIN_SEEDS:
        return f"{NUMERALS[seeds]} seed{'s' * (seeds > 1)}"
    return f"{scenes} scene{'s' * (scenes > 1)}"


def describe_test() -> str:
    """Return a sentence, without full stop, on the interval of a difference and its test."""
    return (
        "95 % interval and p: over seeds and scenes together, so for networks trained anew and "
        f"other scenes; from {MIN_SEEDS} seeds and {MIN_SCENES} scenes on; a scene is one "
        "photograph, or those whose names agree up to the last '/'"
    )


def describe_tau(agreement: Agreement, count: int) -> str:
    """Describe Kendall's tau of `count` rows, its certainty, and what chance would give."""
    tau, interval, p_value = agreement
    certainty = (
        "95 % interval {:.2f} to {:.2f}, {} rows".format(*interval, count)
        if interval
        else f"{count} rows, too few for an interval"
    )
    return (
        f"{tau:.2f} ({certainty}; by chance 0 ± {tau_deviation(0, count):.2f}, p = {p_value:.2g})"
    )


def shorten_label(label: str, width: int) -> str:
    """Return a label in at most `width` characters; "…" stands for what is left out of its end."""
    return label if len(label) <= width else f"{label[: width - 1]}…"


def section_title(row: Row) -> str:
    """Return the title of the section of a row: "denoising · unet (width 8)"."""
    options = ", ".join(f"{name} {value}" for name, value in row["backbone_options"].items())
    convention = "" if row["convention"] == "planned" else f", {row['convention']} budget"
    return f"{row['task']} · {row['backbone']}" + (f" ({options})" if options else "") + convention


def section_caption(section: Sequence[Row]) -> list[str]:
    """Return sentences, without full stop, on what is equal in a section and on the columns."""
    first = section[0]
    seeds = sorted({seed for row in section for seed in row["seed_values"]})
    several = "; peaks are the largest over the seeds, other numbers means" * (len(seeds) > 1)
    if any(row["psnr_db_half95"] is not None for row in section):
        several += (
            "; ± is half of the 95 % interval over seeds, on these photographs (Student's, for "
            "normal values)"
        )
    sentences = [
        f"Budget and ratio: {first['convention']} peak memory of the activations at an input of "
        f"{first['measured_at']}; weights are not counted; peak MiB is planned, eager MiB what "
        "the operators as written need",
        f"Data {_join_values(section, 'data')}; {'seeds' if len(seeds) > 1 else 'seed'} "
        f"{', '.join(map(str, seeds))}{several}",
        _describe_training(section),
    ]
    if any((row["parameters_stored"] or 0) > (row["parameters"] or 0) for row in section):
        sentences.append(
            "Parameters are those that are executed; stored: where more must be stored, because "
            "several widths share them"
        )
    sentences += _describe_runs(section)
    machines = dict.fromkeys(row["measured_on"] for row in section if row["measured_on"])
    if machines:
        sentences.append(
            "Measured: what one forward pass of PyTorch, of the lean executor, of ONNX Runtime "
            f"allocated, or what a runtime plans, on {'; '.join(machines)}"
        )
    scored = [row for row in section if row["input_psnr_db"] is not None]
    if scored:
        psnr_db = scored[0]["input_psnr_db"]
        ssim = scored[0]["input_ssim"] or 0
        sentences.append(
            f"Without a network the photographs have {psnr_db:.2f} dB, SSIM {ssim:.4f}"
        )
    sentences.append(
        "Samples, forward passes and seconds cover all phases after the shared pretraining and all "
        "networks; testing counts only in the seconds, and work that serves several budgets counts "
        "for each of them"
    )
    sentences += describe_ranks(section)
    if any(row["verdict"] for row in section):
        sentences.append(f"Verdict: against '{first['versus']}'; {VERDICT}")
    if any(find_mark(section, row) for row in section):
        sentences.append(
            "Bold: the best PSNR of a ratio among finished rows; italic or underlined: "
            "the second best"
        )
    return sentences


def _describe_runs(section: Sequence[Row]) -> list[str]:
    """Return sentences, without full stop, on rows that run otherwise and on the time of images."""
    sentences = []
    if any(row["run_options"] for row in section):
        sentences.append(
            "Rows in tiles or in fewer bits: the network is run so after its training; their peak "
            "is that of a tile with input and output, or that of values of fewer bytes; they have "
            "no rank"
        )
    if any(row["relative_time"] for row in section):
        sentences.append(
            f"s/image: seconds for {section[0]['measured_at']} on the machine of the run, scaled "
            "from parts; time: the same as a share of the unpruned network's, timed in turn, tiles "
            "with what they compute twice; front: rows that no other row equals in peak, time and "
            "PSNR and beats in one"
        )
    return sentences


def _join_values(section: Sequence[Row], name: str) -> str:
    return ", ".join(dict.fromkeys(str(row[name]) for row in section))


def _describe_training(section: Sequence[Row]) -> str:
    """Describe how many training steps rows had, as recorded, and whether they were equal."""
    shared = ", ".join(dict.fromkeys(f"{row['recipe']['pretrain_steps']:,}" for row in section))
    text = f"Steps: training steps spent after the shared pretraining of {shared}"
    steps = {
        row["steps"] - row["pretrain_steps_spent"]
        for row in section
        if row["steps"] and row["ratio"] < 1
    }
    unbooked = [_name_row(row) for row in section if row["unbooked"]]
    if unbooked:
        text += f"; not equal: {', '.join(unbooked)} trained beyond the booked steps"
    elif len(steps) == 1:
        text += f"; equal training: {steps.pop():,} for every pruned row"
    elif steps:
        text += f"; not equal: {min(steps):,} to {max(steps):,}"
    sums = [row["tuning_rate_sum"] for row in section if row["tuning_rate_sum"]]
    if sums:
        text += f"; the learning rates of these steps have a sum of {min(sums):.3f}" + (
            f" to {max(sums):.3f}" if max(sums) > 1.02 * min(sums) else ""
        )
    if any(row["pretrain_steps_spent"] for row in section):
        text += "; rows trained from scratch repeat the pretraining, and their steps include it"
    return text


def row_notes(section: Sequence[Row]) -> list[str]:
    """Return a sentence for each row that has no result or that carries a note."""
    refused = [
        f"{_name_row(row)} {describe_outcome(row['status'], row['phase'], row['reason'])}"
        for row in section
        if row["reason"] and row["status"] != "done"
    ]
    return refused + [f"{_name_row(row)}: {row['note']}" for row in section if row["note"]]


def _name_row(row: Row) -> str:
    """Return the name of a row in notes: "mosp at 0.5"."""
    return f"{row['label']} at {row['ratio']:g}"
