"""How often verdicts are wrong and intervals miss, by simulation.

    python -m results.simulations.verdicts > results/simulations/verdicts.md

The difference of two rows at seed s on photograph k of scene i is drawn as

    d[s, i, k] = true difference + seed[s] + scene[i] + photograph[i, k] + rest[s, i, k]

with independent effects of mean zero, all in dB. What is tested is the code of the reports,
`bench.report.statistics`; older rules stand beside it.
"""

import platform
from collections.abc import Callable, Iterator
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import scipy
from scipy.stats import norm, t, wilcoxon

from bench.report.statistics import (
    CONFIDENCE,
    MIN_SCENES,
    Values,
    estimate_mean,
    interval_half_width,
    tau_interval,
)
from results.simulations.ranks import print_detectable, print_family, print_ranks, print_table

DRAWS = 20_000
FEW = 4_000
CHUNK = 500  # comparisons that are drawn together
LEVEL = 1 - CONFIDENCE


class Design(NamedTuple):
    """How much was measured."""

    seeds: int
    scenes: int
    photographs: int = 1  # of a scene

    def __str__(self) -> str:
        """Return it in words."""
        photographs = f"{self.scenes * self.photographs:,} photographs"
        scenes = f" of {self.scenes} scenes" if self.photographs > 1 else ""
        return f"{photographs}{scenes}, {self.seeds} seed{'s' * (self.seeds > 1)}"


class Noise(NamedTuple):
    """Standard deviations in dB, and the shape of the effects of scenes.

    Half of the variance of photographs is that of their scene if it has several.
    """

    seed: float = 0.10
    photograph: float = 0.15
    rest: float = 0.07
    shape: str = "normal"


PHOTOGRAPHS = Design(3, 17)
BLOCKS = Design(3, 40, 32)  # as many as SIDD has
DESIGNS = (PHOTOGRAPHS, Design(5, 17), BLOCKS)
NOISES = (
    Noise(rest=0.05),
    Noise(),
    Noise(rest=0.10),
    Noise(seed=0.30),
    Noise(seed=0.05),
    Noise(seed=0.0),
    Noise(seed=0.0, rest=0.15),
    Noise(photograph=0.0),
    Noise(shape="skewed"),
    Noise(seed=0.03, shape="skewed"),
    Noise(seed=0.0, shape="skewed"),
    Noise(shape="one in five"),
)


def draw_effects(random: np.random.Generator, shape: str, size: tuple[int, ...]) -> Values:
    """Draw effects of mean 0 and standard deviation 1."""
    if shape == "skewed":  # skewness 2
        return random.exponential(size=size) - 1
    if shape == "one in five":  # two values; skewness 1.5
        return (np.where(random.random(size) < 0.2, 1.0, 0.0) - 0.2) / 0.4
    return random.standard_normal(size)


def draw_differences(design: Design, noise: Noise, count: int = DRAWS) -> Iterator[Values]:
    """Yield arrays (comparisons, seeds, scenes, photographs) with a true difference of 0."""
    random = np.random.default_rng(0)
    seeds, scenes, photographs = design
    within = 0.5 if photographs > 1 else 0.0
    for _ in range(0, count, CHUNK):
        scene = draw_effects(random, noise.shape, (CHUNK, 1, scenes, 1))
        values = noise.rest * random.standard_normal((CHUNK, *design))
        values += noise.seed * random.standard_normal((CHUNK, seeds, 1, 1))
        values += noise.photograph * (1 - within) ** 0.5 * scene
        if within:
            photograph = random.standard_normal((CHUNK, 1, scenes, photographs))
            values += noise.photograph * within**0.5 * photograph
        yield values


def p_of_reports(differences: Values) -> Values:
    """Return the p values of the reports."""
    return estimate_mean(differences.mean(-1)).p_value


def p_of_satterthwaite(differences: Values) -> Values:
    """Return p values with Clark's quasi-F, by Satterthwaite's degrees of freedom."""
    values = differences.mean(-1)
    _, seeds, scenes = values.shape
    of_seeds, of_scenes = values.mean(2, keepdims=True), values.mean(1, keepdims=True)
    mean = values.mean((1, 2))
    rest = values - of_seeds - of_scenes + mean[:, None, None]
    freedom = np.array([seeds - 1, scenes - 1, (seeds - 1) * (scenes - 1)])
    sums = [seeds * scenes * part.var((1, 2)) for part in (of_seeds, of_scenes, rest)]
    squares = np.stack(sums) / freedom[:, None]
    total = np.maximum(squares[0] + squares[1] - squares[2], squares[:2].max(0))
    degrees = total**2 / (squares**2 / freedom[:, None]).sum(0)
    return np.asarray(2 * t.sf(abs(mean) * (seeds * scenes / total) ** 0.5, degrees))


def p_of_wilcoxon(differences: Values) -> Values:
    """Return p values of the signed-rank test over photographs, on their means over seeds."""
    means = differences.mean(1).reshape(len(differences), -1)
    return np.asarray(wilcoxon(means, axis=1).pvalue)


def false_positives(
    design: Design,
    noise: Noise,
    p_values: Callable[[Values], Values] = p_of_reports,
    count: int = DRAWS,
) -> float:
    """Return the percentage of comparisons without a difference that are called significant."""
    chunks = draw_differences(design, noise, count)
    return 100 * float(np.mean([p_values(values) < LEVEL for values in chunks]))


def bootstrap_coverage(photographs: int, count: int) -> float:
    """Return the percentage of bootstrap intervals over photographs, of one seed, with the mean."""
    chosen = np.random.default_rng(1).integers(photographs, size=(4000, photographs))
    hits = []
    for values in draw_differences(Design(1, photographs), Noise(seed=0.0), count):
        means = values[:, 0, :, 0][:, chosen].mean(-1)
        low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2], axis=1)
        hits.append((low <= 0) & (high >= 0))
    return 100 * float(np.mean(hits))


def seed_coverage(seeds: int, shape: str, count: int = DRAWS) -> float:
    """Return the percentage of Student's intervals over seeds that hold the mean."""
    values = draw_effects(np.random.default_rng(0), shape, (count, seeds))
    half = interval_half_width(1.0, seeds) * values.std(1, ddof=1)
    return 100 * float(np.mean(abs(values.mean(1)) <= half))


def draw_taus(tau: float, items: int, count: int = DRAWS) -> Values:
    """Draw Kendall's tau of normal samples whose true tau is given, counted pair by pair."""
    random = np.random.default_rng(0)
    correlation = np.sin(np.pi / 2 * tau)
    ours, noise = random.standard_normal((2, count, items))
    theirs = correlation * ours + (1 - correlation**2) ** 0.5 * noise
    first, second = np.array(list(combinations(range(items), 2))).T
    same = (ours[:, first] - ours[:, second]) * (theirs[:, first] - theirs[:, second])
    return np.sign(same).mean(1)


def fisher_interval(tau: float, items: int) -> tuple[float, float]:
    """Return the interval of tau by Fisher's z with the variance of Fieller et al. (1957)."""
    z = np.arctanh(np.clip(tau, -1 + 1e-9, 1 - 1e-9))
    reach = norm.ppf(1 - LEVEL / 2) * (0.437 / (items - 4)) ** 0.5
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def tau_coverage(
    tau: float,
    items: int,
    interval: Callable[[float, int], tuple[float, float]] = tau_interval,
    count: int = DRAWS,
) -> float:
    """Return the percentage of intervals of Kendall's tau that hold it."""
    seen, counts = np.unique(draw_taus(tau, items, count).round(9), return_counts=True)
    limits = [interval(float(value), items) for value in seen]
    return 100 * float(np.average([low <= tau <= high for low, high in limits], weights=counts))


def print_false_positives() -> None:
    """Print the rates of the reports."""
    print("## Verdicts without a difference, in %; the aim is 5\n")
    rows = [
        [
            *(f"{value:.2f}" for value in noise[:3]),
            noise.shape,
            *(f"{false_positives(design, noise):.1f}" for design in DESIGNS),
        ]
        for noise in NOISES
    ]
    headers = ["sd of seeds, dB", "of photographs", "of the rest", "shape of photographs"]
    print_table([*headers, *map(str, DESIGNS)], rows)
    grid = [Noise(a, b, 0.1) for a, b in product((0, 0.02, 0.05, 0.1, 0.2, 0.5), repeat=2)]
    print(
        f"The highest and the lowest rate of {len(grid)} pairs of standard deviations of seeds and "
        "of photographs, from 0 to 0.5 dB each, with 0.1 dB for the rest, all normal:\n"
    )
    designs = (Design(3, 10), *DESIGNS[:2], Design(3, 40), Design(3, 300), Design(10, 17))
    rates = {design: [false_positives(design, noise) for noise in grid] for design in designs}
    rows = [[str(key), f"{max(of):.1f}", f"{min(of):.1f}"] for key, of in rates.items()]
    print_table(["", "highest", "lowest"], rows)


def print_other_rules() -> None:
    """Print the rates of several rules at the same noise."""
    noise = Noise()
    print(
        "## Other rules, in %\n\n"
        f"At {noise.seed:.2f} dB for seeds, {noise.photograph:.2f} for photographs, "
        f"{noise.rest:.2f} for the rest, all normal:\n"
    )
    designs = (*DESIGNS, Design(1, 40), Design(1, 40, 32))
    crossed = {
        "the reports'": p_of_reports,
        "Satterthwaite's degrees of freedom": p_of_satterthwaite,
    }
    rows = [
        [name]
        + [
            f"{false_positives(design, noise, rule):.1f}" if design.seeds > 1 else "not tested"
            for design in designs
        ]
        for name, rule in crossed.items()
    ]
    wilcoxon_rates = [false_positives(design, noise, p_of_wilcoxon, FEW) for design in designs]
    rows.append(["Wilcoxon over photographs", *(f"{rate:.1f}" for rate in wilcoxon_rates)])
    print_table(["", *map(str, designs)], rows)


def print_least_scenes() -> None:
    """Print why a test takes ten scenes."""
    print(
        "## Few scenes, in %\n\nScenes are skewed (skewness 2), training adds nothing. The reports "
        f"test from {MIN_SCENES} scenes on: there the rate stays below 10, twice the aim, for any "
        "number of seeds.\n"
    )
    noise = Noise(seed=0.0, shape="skewed")
    seeds = (3, 5, 10, 20)
    rows = [
        [str(scenes), *(f"{false_positives(Design(count, scenes), noise):.1f}" for count in seeds)]
        for scenes in (3, 5, 8, 10, 12, 17)
    ]
    print_table(["scenes", *(f"{count} seeds" for count in seeds)], rows)


def print_intervals() -> None:
    """Print what intervals of differences cover, and what differences are found."""
    print("## What 95 % intervals of a difference cover, in %\n")
    rows = []
    for design in DESIGNS:
        estimates = [estimate_mean(values.mean(-1)) for values in draw_differences(design, Noise())]
        mean = np.concatenate([estimate.mean for estimate in estimates])
        half = np.concatenate([estimate.half_width() for estimate in estimates])
        covered = f"{100 * np.mean(abs(mean) <= half):.1f}"
        found = f"{np.quantile(half - mean, 0.8):.2f}"
        rows.append([str(design), covered, f"{np.median(half):.2f}", found])
    print_table(["", "covered", "half width, dB", "found in 80 % of cases, dB"], rows)
    print(
        "The bootstrap over three photographs, of one seed, covers "
        f"{bootstrap_coverage(3, FEW):.0f} %.\n"
    )


def print_seed_intervals() -> None:
    """Print what Student's interval over seeds covers."""
    print("## What Student's 95 % interval over seeds covers, in %\n")
    shapes = ("normal", "skewed", "one in five")
    rows = [
        [
            str(seeds),
            *(f"{seed_coverage(seeds, shape):.1f}" for shape in shapes),
            f"{interval_half_width(1.0, seeds):.1f}",
        ]
        for seeds in (2, 3, 5, 10)
    ]
    print_table(["seeds", *shapes, "half width, sample standard deviations"], rows)


def print_taus() -> None:
    """Print what intervals of Kendall's tau cover."""
    print("## What 95 % intervals of Kendall's tau cover, in %\n")
    taus = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
    rows = [
        [f"{items} methods, {name}", *(f"{tau_coverage(tau, items, way):.1f}" for tau in taus)]
        for items in (4, 5, 9, 10)
        for name, way in (("the reports'", tau_interval), ("Fisher's z", fisher_interval))
        if items > 4 or way is tau_interval
    ]
    print_table(["true tau", *(f"{tau:g}" for tau in taus)], rows)


def main() -> None:
    """Print all tables as Markdown."""
    print(
        "# How often verdicts are wrong and intervals miss\n\n"
        "    python -m results.simulations.verdicts > results/simulations/verdicts.md\n\n"
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}. "
        f"{DRAWS:,} cases for each number ({FEW:,} for Wilcoxon and the bootstrap), from a fixed "
        "seed: a rate of 5 % has a standard error of 0.15. Shapes: skewed is exponential (skewness "
        "2), one in five has two values. Half of the variance of photographs of one scene is that "
        "of the scene. [Reading the tables](../../docs/reading-the-tables.md) says what follows.\n"
    )
    print_false_positives()
    print_family()
    print_ranks()
    print_detectable()
    print_other_rules()
    print_least_scenes()
    print_intervals()
    print_seed_intervals()
    print_taus()


if __name__ == "__main__":
    main()
