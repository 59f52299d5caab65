"""Say in at most eight minutes whether all works on a GPU, and how fast it trains.

    python -m tests.performance.gpu_check --out results/reference/performance/gpu.md

Runs the tests that need CUDA, trains the U-Net of the MOSP paper at its setting (width 32, crops of
256 pixels, batches of 32) by the trainer that studies use, and measures its peak memory. With
`--device cpu` and small sizes it runs everywhere.
"""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from bench.contract import Shape
from bench.errors import ConfigError
from bench.memory.measured import measured_peak_bytes
from bench.memory.profile import count_macs, peak_memory
from bench.runner.environment import describe_environment
from bench.torch_state import choose_device
from bench.training.trainer import TaskTrainer
from bench.units import MIB
from tasks.denoising import Denoising
from tasks.models.unet import UNet

ROOT = Path(__file__).parents[2]
CUDA_TESTS = ("tests/bench/memory/test_measured.py", "tests/bench/training/test_trainer.py")
TEST_SECONDS = 180
TRAINING_SECONDS = 240
WARM_UP_STEPS = 3
PASSES = 3  # a step is a forward pass and a backward pass, which costs two


def run_tests() -> str:
    """Run the files with tests for CUDA; return what pytest says last."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *CUDA_TESTS]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no answer after {TEST_SECONDS} s"
    last = (done.stdout.strip() or "no output").splitlines()[-1]
    return f"exit code {done.returncode}: {last}"


def train(width: int, patch: int, batch: int, steps: int, device: str) -> dict[str, str]:
    """Train, and return what was measured, by name."""
    recipe = replace(Denoising.recipe, patch=patch, batch=batch)
    trainer = TaskTrainer(Denoising(), "embedded", recipe, seed=0, device=device)
    network, is_cuda = UNet(width), device.startswith("cuda")
    trainer.reinitialise(network)
    trainer.fit(network, WARM_UP_STEPS, phase="search")
    if is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = perf_counter()
    done = trainer.fit(
        network,
        steps,
        phase="finetune",
        after_step=lambda index, rate: perf_counter() - start > TRAINING_SECONDS,
    )
    if is_cuda:
        torch.cuda.synchronize()
    rate = done / (perf_counter() - start)
    shape: Shape = (1, 3, patch, patch)
    macs = PASSES * batch * count_macs(network, shape)
    losses = trainer.meter.losses["finetune"]
    peak_bytes = torch.cuda.max_memory_allocated() if is_cuda else 0
    measured = measured_peak_bytes(network, shape, device)
    result = {
        "training": f"{done} steps at width {width}, {patch}x{patch}, batch {batch}",
        "steps per second": f"{rate:.3g}",
        "float32 operations per second": f"{2 * macs * rate / 1e12:.3g} TFLOP/s",
        "loss, first and last": f"{losses[0]:.4g}, {losses[-1]:.4g}",
        "peak of one image, measured": f"{measured / MIB:.2f} MiB",
        "peak of one image, planned": f"{peak_memory(network, shape) / MIB:.2f} MiB",
    }
    return result | ({"peak of training": f"{peak_bytes / MIB:.0f} MiB"} if is_cuda else {})


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="see whether all works on a GPU, and how fast")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--no-tests", action="store_true", help="train and measure only")
    parser.add_argument("--out", type=Path, help="write the answers to this Markdown file")
    arguments = parser.parse_args()
    try:
        device = choose_device(arguments.device)
    except ConfigError as error:
        parser.exit(2, f"gpu-check: {error}\n")
    environment = describe_environment(device)
    versions = ", ".join(f"{name} {text}" for name, text in environment["versions"].items())
    answers = {"device": environment["device"], "versions": versions}
    if not arguments.no_tests:
        answers["tests"] = run_tests()
    answers |= train(arguments.width, arguments.patch, arguments.batch, arguments.steps, device)
    rows = [f"| {name} | {text} |" for name, text in answers.items()]
    table = "\n".join(["| what | answer |", "| --- | --- |", *rows])
    print(table)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(f"# One GPU\n\n    make gpu-check\n\n{table}\n")


if __name__ == "__main__":
    main()
