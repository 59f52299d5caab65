"""Write docs/what-we-found.md from results/reference: python docs/what_we_found.py.

The words are here, every number is read from the stored results when the page is written.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.report.comparison import compare_with_reference
from bench.report.frame import competes
from bench.report.headlines import describe_answers
from bench.report.paper_comparison import add_paper_values
from bench.report.reference import open_reference, read_rows
from bench.report.results import RunResults
from bench.report.results_site import find_answers
from bench.report.study_age import find_age

PAGE = Path(__file__).with_name("what-we-found.md")
REFERENCE = Path(__file__).parents[1] / "results" / "reference"
RATIOS = (0.75, 0.5, 0.25)
PAPER_STEPS = 10**5  # more than any study here, fewer than 80 epochs of SIDD
LONG, SHORT = "table1_embedded", "table1"
PHOTOGRAPHS = {  # study -> what it restores, with which network
    "photographs": "denoising, U-Net",
    "photographs_real_noise": "real camera noise (PolyU), Res-U-Net",
    "photographs_nafnet": "denoising, NAFNet",
    "photographs_sr": "super-resolution x2, EDSR",
    "photographs_sr_x4": "super-resolution x4, EDSR",
    "photographs_low_light": "low light, U-Net",
}
JOINT = ("MOSP", "MOSP joint", "MOSP joint, corrected")
OURS = ("mosp", "mosp_joint")  # what is compared with the best of all other methods
PARTS = {  # part of MOSP -> a row that has it, and one that has not
    "criterion: gradients, not norms": ("MOSP", "MOSP, l2"),
    "loop over the peak step, not one share": ("MOSP, no compactors", "uniform, gradient"),
    "compactors": ("MOSP", "MOSP, no compactors"),
}
RATE_COMMAND = "prunebench run table1 --seeds 0,1 --set recipe.tuning_rate=0.004"
BATCH, STEPS, CLIP = "2", "1200", "0.1"  # of the trials of the rate
Rows = Sequence[dict[str, Any]]


def render_page() -> str:
    """Return the page."""
    long, short = load(LONG), load(SHORT)
    parts = [
        HEAD,
        _photographs(),
        _reproduced(long),
        _not_reproduced(long, short),
        _why(long, short),
        _runtimes(),
        _rest(),
    ]
    return "\n".join(parts)


def load(study: str) -> Rows:
    """Return the stored rows of a study."""
    return read_rows(REFERENCE / study / "table.json")


def find(rows: Rows, label: str, ratio: float) -> dict[str, Any]:
    """Return the one row of a label and a ratio."""
    (row,) = [row for row in rows if (row["label"], row["ratio"]) == (label, ratio)]
    return row


def table(headers: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rules = ["---"] * len(headers)
    return "\n".join(f"| {' | '.join(line)} |" for line in (headers, rules, *lines)) + "\n"


def command(*lines: str) -> str:
    """Return commands as a block."""
    return "\n".join(["```", *lines, "```", ""])


def interval(row: dict[str, Any], sign: int = 1) -> list[str]:
    """Return difference to MOSP, interval and verdict of a row; with -1, of MOSP to it."""
    low, high = sorted(sign * end for end in row["interval_db"])
    return [f"{sign * row['difference_db']:+.2f}", f"{low:+.2f} to {high:+.2f}", row["verdict"]]


HEAD = """# What we found

*The paper's claim: at the same peak memory MOSP keeps the most quality.* This page says where its
order of methods is reproduced here, where it is not, and which experiment shows why. It is written
by `python docs/what_we_found.py`; every number is read from
[the stored results](../results/reference), and the commands beside it make it again. Networks here
are small and trained for minutes, so compare orders with the paper, not decibels
([limits](results.md#limits)). *Older*: the study has another network, data or recipe today, so its
command makes the stored numbers at the commit that its provenance names.
"""


def _photographs() -> str:
    """MOSP and mosp_joint minus the best baseline on real photographs, and the parts of MOSP."""
    studies = [study for study in PHOTOGRAPHS if (REFERENCE / study).is_dir()]
    leads, parts, joint, shares, verdicts, corrected, commands = [], [], [], [], [], [], []
    for study in studies:
        results = _open(study)
        labels = {row["label"] for row in results.rows}
        for ratio in RATIOS:
            rows = [row for row in results.rows if row["ratio"] == ratio and competes(row)]
            others = [row for row in rows if row["method"] not in OURS]
            best = max(others, key=lambda row: row["psnr_db"])
            found = [_compare(study, label, best["label"], ratio) for label in JOINT]
            name = f"{best['label']}, {best['psnr_db']:.2f}"
            leads.append([PHOTOGRAPHS[study], f"{ratio:g}", name, *found])
            found = [_compare(study, label, "MOSP", ratio) for label in JOINT[1:]]
            searched = [_count_search_passes(find(results.rows, label, ratio)) for label in JOINT]
            shares.append(searched[0] / searched[1])
            verdict = find(_compare_all(study, "MOSP"), JOINT[1], ratio)["verdict"]
            verdicts.append((PHOTOGRAPHS[study], f"{ratio:g}", verdict))
            corrected.append(find(_compare_all(study, JOINT[1]), JOINT[2], ratio)["verdict"])
            passes = " / ".join(f"{count:,}" for count in searched)
            joint.append([PHOTOGRAPHS[study], f"{ratio:g}", *found, passes])
        for part, (whole, without) in PARTS.items():
            own = whole if whole in labels else "MOSP"  # where no skip can have a compactor
            if without in labels:
                found = [_compare(study, own, without, ratio) for ratio in RATIOS]
                parts.append([part, PHOTOGRAPHS[study], *found])
        commands.append(f"prunebench run {study} --data DIR")
    notes = ", ".join(
        f"[{PHOTOGRAPHS[study]}](../results/reference/{study}/provenance.md)" for study in studies
    )
    return f"""
## On real photographs

Trained on photographs, tested on others, three seeds: 3,000 steps of pretraining, 800 equal steps
after pruning ({notes}).
MOSP and `mosp_joint` minus the best of all other ways of pruning, in dB, with the 95 % interval
over seeds and photographs. Which way is best is read from the same photographs, which is hard on
MOSP. Verdicts are corrected for all comparisons with that row, so that an interval may exclude zero
and be level.

{table(["task", "budget", "best other, dB", *JOINT], leads)}
{_describe_turns()}

Ablation of MOSP: a row with a part minus the row without it.

{table(["part of MOSP", "task", *map(str, RATIOS)], parts)}
`mosp_joint` minus MOSP, and the forward passes of their searches (MOSP / joint / corrected).
With one backward pass for each stride it is {_describe_verdicts(verdicts)};
MOSP's search takes {min(shares):.0f} to {max(shares):.0f} times its passes.
Measured losses in its costs ("corrected") change nothing measurable in
{corrected.count("level")} of {len(corrected)} comparisons.
{_describe_distillation()}

{table(["task", "budget", *JOINT[1:], "passes of the search"], joint)}
{command(*commands, "prunebench table results/runs/photographs --against LABEL")}
DIR is laid out as the provenance of the study says; LABEL is the row that is subtracted.
"""


def _describe_turns() -> str:
    """Return why MOSP is behind on NAFNet: few steps are left for the fine-tuning at the end."""
    study, longer = "photographs_nafnet", "MOSP, strides of 1/4"
    left = [
        fmean(
            record.steps["finetune"]
            for record in _open(study).records
            if (record.cell.label, record.cell.ratio) == (label, RATIOS[-1])
        )
        for label in ("MOSP", longer)
    ]
    gains = [f"{_compare(study, longer, 'MOSP', ratio)} at {ratio}" for ratio in RATIOS[1:]]
    return (
        "On NAFNet many time steps have the same peak. MOSP frees a stride at one of them and\n"
        f"trains for an epoch, again and again: at {RATIOS[-1]} of the peak {left[0]:.0f} of its\n"
        "800 steps are left for the fine-tuning at the end. With outer strides of 1/4 instead of\n"
        f"1/12, {left[1]:.0f} are left; the difference in dB is {_join(gains)}\n"
        "([table](results.md#real-photographs-nafnet))."
    )


def _describe_distillation() -> str:
    """Return what a share of the unpruned network's output in the targets changes."""
    changes = [
        f"{find(load('distillation'), label, ratio)['psnr_db'] - row['psnr_db']:+.2f}"
        for label in JOINT[:2]
        for ratio in RATIOS[1:]
        for row in [find(load("photographs"), label, ratio)]
    ]
    mosp, joint = _join(changes[:2]), _join(changes[2:])
    return (
        "Half of each training target from the unpruned network (`recipe.distillation`) changes\n"
        f"MOSP by {mosp} dB at {_join(RATIOS[1:])} and `mosp_joint` by {joint} dB, within what\n"
        "the rows scatter over seeds ([table](results.md#distillation))."
    )


def _count_search_passes(row: dict[str, Any]) -> int:
    """Return the forward passes beyond the training steps."""
    count: int = row["forward_passes"] - row["steps"]
    return count


def _describe_verdicts(verdicts: Sequence[tuple[str, str, str]]) -> str:
    """Return how often mosp_joint is level with MOSP, and where it is not.

    Args:
        verdicts: task, ratio and verdict of each comparison.
    """
    others = [
        f"{verdict} at {ratio} of {task}" for task, ratio, verdict in verdicts if verdict != "level"
    ]
    level = f"level with MOSP in {len(verdicts) - len(others)} of {len(verdicts)} comparisons"
    return ", ".join([level, *others])


@cache
def _open(study: str) -> RunResults:
    """Return the stored rows and records of a study."""
    return open_reference(REFERENCE / study).results


@cache
def _compare_all(study: str, reference: str) -> Rows:
    """Return all rows of a study, compared with one of them."""
    results = _open(study)
    return compare_with_reference(reference, results.rows, results.records)


def _compare(study: str, label: str, reference: str, ratio: float) -> str:
    """Return the difference of two rows; without a test, with its scatter over seeds."""
    row = find(_compare_all(study, reference), label, ratio)
    if row["difference_db"] is None:
        return str(row["status"])
    if row["interval_db"] is None:
        return f"{row['difference_db']:+.2f} ± {row['difference_db_half95']:.2f}, not tested"
    low, high = row["interval_db"]
    return f"{row['difference_db']:+.2f} ({low:+.2f} to {high:+.2f}), {row['verdict']}"


def _reproduced(rows: Rows) -> str:
    """Ranks in the paper and here, and how far both orders agree."""
    paper = [row for row in add_paper_values(rows) if row["rank"] is not None]
    labels = dict.fromkeys(row["label"] for row in paper)
    ranks = {label: [find(paper, label, ratio) for ratio in RATIOS] for label in labels}
    lines = [
        [label, *(f"{row['paper_rank']} → {row['rank']}" for row in of_label)]
        for label, of_label in sorted(
            ranks.items(), key=lambda item: fmean(r["rank"] for r in item[1])
        )
    ]
    taus = [find(paper, "MOSP", ratio) for ratio in RATIOS]
    agreements = [
        f"{row['kendall_tau']:.2f} ({row['kendall_interval'][0]:.2f} to "
        f"{row['kendall_interval'][1]:.2f})"
        for row in taus
    ]
    beyond = [row["ratio"] for row in taus if row["kendall_interval"][0] > 0]
    return f"""
## Where the paper's order is reproduced

Rank in the paper → rank here among the paper's ten rows, U-Net of width 24 with three levels, 4,800
steps after pruning, three seeds ([table](../results/reference/{LONG}/against_paper.md)).
The last line is Kendall's tau of both orders, with its 95 % interval: 1 for the same order, 0 for
chance.

{table(["", *map(str, RATIOS)], [*lines, ["Kendall's tau", *agreements]])}
{command(f"prunebench run {LONG}", f"prunebench table results/runs/{LONG} --against paper")}
- MOSP has rank {_join(row["rank"] for row in taus)} at {_join(RATIOS)} of the peak.
- The interval of tau excludes zero at {_join(beyond) if beyond else "no budget"}.
"""


def _not_reproduced(long: Rows, short: Rows) -> str:
    """What differs from the paper: leads over MOSP, and the order after short training."""
    compared = [row for row in long if row["verdict"] and competes(row)]
    apart = [
        f"'{row['label']}' at {row['ratio']:g} is {row['verdict']}, by "
        f"{abs(row['difference_db']):.1f} dB"
        for row in compared
        if row["verdict"] != "level"
    ]
    leads = [
        answer.ratio
        for answer in find_answers(long)
        if (answer.label, answer.verdict) == ("MOSP", "ahead")
    ]
    lead = f"a measurable lead at {_join(leads)}" if leads else "no lead that three seeds can show"
    firsts = _join(dict.fromkeys(f"'{answer.label}'" for answer in find_answers(short)))
    bullets = "\n".join(f"- {answer}" for answer in describe_answers(long))
    answers = "\n".join(f"- {answer}" for answer in describe_answers(short))
    return f"""
## Where it is not

**MOSP has {lead}.** Of {len(compared)} comparisons of other rows with MOSP,
{len(apart)} {"is" if len(apart) == 1 else "are"} not level: {"; ".join(apart)}.

{bullets}

{command(f"prunebench run {LONG}", f"prunebench table results/runs/{LONG} --against MOSP")}
**After short training {firsts} is first.** With 1,200 steps in place of 4,800, one seed, nothing
tested ([table](../results/reference/{SHORT}/table.md)):

{answers}

{command(f"prunebench run {SHORT}", f"prunebench table results/runs/{SHORT} --against MOSP")}
**The strides have no order that three seeds can show** (Tables 2 and 3; half of the peak, real
photographs, 800 steps):

{_describe_stride("outer_strides", "outer stride 1/12")}
{_describe_stride("inner_strides", "inner stride of a channel")}

The paper's own differences are at most 0.09 and 0.003 dB.

{command("prunebench run outer_strides --data DIR", "prunebench run inner_strides --data DIR")}"""


def _describe_stride(study: str, default: str) -> str:
    """Return the differences of all strides from the default, and the agreement with the paper."""
    compared = [row for row in _compare_all(study, default) if row["interval_db"]]
    differences = [row["difference_db"] for row in compared]
    level = sum(row["verdict"] == "level" for row in compared)
    tau = find(add_paper_values(load(study)), compared[0]["label"], 0.5)["kendall_tau"]
    return (
        f"- {study.replace('_', ' ').capitalize()}: {min(differences):+.2f} to "
        f"{max(differences):+.2f} dB from '{default}', level in {level} of "
        f"{len(compared)} comparisons; "
        f"Kendall's tau with the paper's order is {tau:.2f}."
    )


def _why(long: Rows, short: Rows) -> str:
    """The experiments: length, rate, parts of MOSP, tiles."""
    scratch = [
        (name, [find(rows, "uniform, scratch", ratio) for ratio in RATIOS])
        for name, rows in (("1,200 steps, one seed", short), ("4,800 steps, three seeds", long))
    ]
    lengths = [[name, *(f"{-row['difference_db']:+.2f}" for row in rows)] for name, rows in scratch]
    compactors = [
        [f"{ratio:g}", *interval(find(long, "MOSP, no compactors", ratio), -1)] for ratio in RATIOS
    ]
    ways = [
        [label, *(_run(find(long, label, ratio)) for ratio in RATIOS)]
        for label in ("tiled", "half")
    ]
    columns = "label,ratio,psnr_db,time"
    return f"""
## Which experiment shows why

**Length of training.** MOSP minus uniform scaling from scratch, dB. The row from scratch has the
whole pretraining of 10,000 steps on top, and MOSP gains on it as its own training grows:

{table(["", *map(str, RATIOS)], lengths)}
{command(f"prunebench run {SHORT}", f"prunebench run {LONG}")}
**Rate of training.** MOSP minus slicing at 0.5 of the peak, {int(STEPS):,} steps, two seeds, on
images held out from training ([trials](methods.md#training)): {_trial("0.002")} dB at a rate of
2e-3, {_trial("0.004")} dB at 4e-3. The higher rate repairs what slicing has cut. Rows of these
commands, scored on other images ([provenance](../results/reference/recipe/provenance.md)):

{command("prunebench run table1 --seeds 0,1", f"{RATE_COMMAND} --out results/runs/rate")}
**Compactors.** MOSP minus MOSP without compactors, 95 % interval over seeds and photographs:

{table(["", "difference, dB", "95 % interval", "verdict"], compactors)}
{command(f"prunebench table results/reference/{LONG} --against MOSP")}
**Tiles.** At the same peak the network need not be pruned at all, where it can run in tiles or in
fewer bits. PSNR in dB, and the time of an image as a share of the unpruned network's
([when tiles hurt](which-to-use.md)):

{table(["", *map(str, RATIOS)], ways)}
{command(f"prunebench table results/reference/{LONG} --columns {columns}")}"""


def _runtimes() -> str:
    """The best row of each budget by the memory plan of what executes the network."""
    rows = sorted(load("runtimes"), key=lambda row: -row["psnr_db"])
    first = [
        [
            f"{ratio:g} of {convention}",
            *(
                f"{row['label']} {row['psnr_db']:.2f}"
                for row in rows
                if (row["convention"], row["ratio"]) == (convention, ratio)
            ),
        ]
        for ratio in RATIOS[1:]
        for convention in ("planned", "executorch", "onnxsim")
    ]
    return f"""
## The runtime changes the order

A budget may be a share of what a runtime plans for the network, met by its own plan. One seed, so
nothing is tested; PSNR in dB, the best row first:

{table(["budget", "1", "2", "3", "4"], first)}
{command("prunebench run runtimes")}"""


def _rest() -> str:
    """Other tasks, the convention of memory, and what has no result."""
    lines = [
        [study, f"{answer.ratio:g}", f"{answer.label}, {answer.psnr} dB", answer.lead]
        for study in ("table1_sr", "table1_low_light")
        for answer in find_answers(load(study))
    ]
    stored = [row for path in sorted(REFERENCE.glob("*/table.json")) for row in read_rows(path)]
    open_questions = {
        "The paper's own schedule on SIDD (study `table1_paper`): days on a GPU.": any(
            row["recipe"]["pretrain_steps"] >= PAPER_STEPS for row in stored
        ),
    } | {
        f"Real photographs: {task} (study `{study}`).": (REFERENCE / study).is_dir()
        for study, task in PHOTOGRAPHS.items()
    }
    unanswered = "\n".join(f"- {text}" for text, found in open_questions.items() if not found)
    pairs = _quotes("conventions/table.md", "pairs of rows")
    return f"""
## Other tasks, and budgets in eager memory

Super-resolution ({_older("table1_sr")}) and
low light ({_older("table1_low_light")}), one seed, nothing
tested; the best row of each budget, and its lead over MOSP, or MOSP's over the second best:

{table(["study", "budget", "best row", "lead"], lines)}
{command("prunebench run table1_sr", "prunebench run table1_low_light")}
Budgets counted as eager memory in place of planned ({_older("conventions")}):

{pairs}

{command("prunebench run conventions")}
## What has no stored result

{unanswered}
"""


def _join(values: Iterable[object]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def _older(study: str) -> str:
    """Return how a study is older than today's; "as asked today" if it is not."""
    rows = load(study)
    sentence = find_age(study, rows).older or "as asked today"
    return re.sub(r"^Older: today the study differs in ([^(]*\w).*", r"*older*: other \1", sentence)


def _quotes(file: str, words: str) -> str:
    """Return the bullets of a stored table that have some words."""
    lines = (REFERENCE / file).read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("- ") and words in line)


def _trial(rate: str) -> str:
    """Return MOSP minus slicing at half of the peak, mean over the seeds of the trials."""
    with (REFERENCE / "recipe" / "trials.csv").open(encoding="utf-8") as file:
        lines = [
            line
            for line in csv.DictReader(file)
            if (line["batch"], line["matched_steps"]) == (BATCH, STEPS)
            and (line["max_gradient_norm"], line["tuning_curve"]) == (CLIP, "cosine")
            and line["tuning_rate"] == rate
            and (line["averaging"], line["ratio"]) == ("0", "0.5")
        ]
    means = {
        label: fmean(float(line["psnr_db_leaves"]) for line in lines if line["label"] == label)
        for label in ("mosp", "sliced")
    }
    return f"{means['mosp'] - means['sliced']:+.2f}"


def _run(row: dict[str, Any]) -> str:
    if row["psnr_db"] is None:
        return str(row["status"])
    return f"{row['psnr_db']:.2f}, {row['relative_time']:.2f}"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
