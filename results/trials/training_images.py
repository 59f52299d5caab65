"""How good are made images to train on, compared with photographs?

    python -m results.trials.training_images > results/trials/training_images.md

The unpruned network of study table1 is trained on dead leaves and on thirteen photographs, with the
same recipe. Both are tested on the three photographs that neither has seen.
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import fmean

from bench.plugins.backbones import build_for_cell
from bench.plugins.options import build_task
from bench.study.study import load_study
from bench.training.evaluation import evaluate
from bench.training.trainer import TaskTrainer

SOURCES = {"leaves": "embedded", "photographs": "photographs"}
TESTED_ON = "photographs"


def train_and_score(source: str, seed: int, steps: int, width: int | None = None) -> list[float]:
    """Train on one source; return the PSNR in dB of each test photograph.

    Args:
        source: "leaves" or "photographs".
        seed: of the training.
        steps: of the training.
        width: of the network; None for that of the study.
    """
    overrides = [f"recipe.pretrain_steps={steps}"]
    if width:
        overrides.append(f'backbones=[{{backbone = "unet", width = {width}, levels = 3}}]')
    cell = load_study("table1", overrides=overrides).cells()[0]
    task = build_task(cell)
    network = build_for_cell(task, cell)
    trainer = TaskTrainer(task, SOURCES[source], cell.recipe, seed, stream="pretrain")
    trainer.reinitialise(network)
    trainer.fit(network, steps, phase="pretrain")
    scores = evaluate(task, network.eval(), TESTED_ON)
    return [score["psnr_db"] for images in scores.values() for score in images.values()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args(arguments)
    print("| trained on | seed | chelsea | flower | coffee | mean |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for source in SOURCES:
        for seed in range(options.seeds):
            psnr_db = train_and_score(source, seed, options.steps)
            cells = " | ".join(f"{value:.2f}" for value in [*psnr_db, fmean(psnr_db)])
            print(f"| {source} | {seed} | {cells} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
