"""How far does each architecture of the packages spandrel and spandrel_extra_arches come?

    pip install -c constraints.txt -e '.[spandrel-extra,onnx]'
    python -m results.trials.architectures --out docs/architectures.md

builds the networks of architectures.toml with random weights; nothing is downloaded. Each is
traced, compared with its graph, cut to half of its peak by `uniform` (sliced, no training), saved
and loaded in a fresh process, and run as ONNX and by the lean executor, until a stage fails. Each
runs in a process of its own with a time limit, so that a crash or a hang is one row. The table goes
to --out, and the same as JSON beside it. `--stage trace` stops after tracing and takes three
minutes; all stages take longer. Linux only.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from bench.channels.units import channel_layout
from bench.channels.written_form import write_out
from bench.contract import Budget, Inputs, Shape
from bench.errors import BenchError
from bench.export import saved
from bench.export.onnx_file import to_onnx_bytes
from bench.files import atomic
from bench.files.tensors import tensors_to_bytes
from bench.graph.lowering import trace
from bench.graph.source_location import first_line
from bench.graph.tracing import trace_module
from bench.lean.pipeline import make_lean
from bench.memory.liveness import liveness
from bench.memory.peak_model import peak_model_of_graph
from bench.memory.profile import peak_memory
from bench.plugins.registry import METHODS
from bench.units import as_shapes, mib

LIST = Path(__file__).with_suffix(".toml")
STAGES = ("build", "trace", "equal", "least", "prune", "reload", "onnx", "lean")
TOLERANCE = 1e-4  # of the largest output: sums are taken in another order
LEAST_SCALE = 0.02  # standard deviation of weights that a network starts with at zero
REASON_LENGTH = 160
RELOAD = """
import sys, torch
from bench.export import saved
from bench.files.tensors import tensors_from_bytes
from results.trials.architectures import run, worst_difference
given = tensors_from_bytes(open(sys.argv[2], "rb").read())
inputs = [given[name] for name in sorted(given) if name.startswith("input")]
outputs = [given[name] for name in sorted(given) if name.startswith("output")]
print(worst_difference(outputs, run(saved.load(sys.argv[1]), inputs)))
"""


@dataclass(frozen=True)
class Network:
    """One row of the survey: a class of a package with arguments, and the input that it is run at.

    Args:
        name: of the row.
        package: that holds the class.
        architecture: the module of the class below `PACKAGE.architectures`.
        class_name: of the class in that module.
        arguments: of the class.
        shape: (N, C, H, W), or several for several inputs.
    """

    name: str
    package: str
    architecture: str
    class_name: str
    arguments: Mapping[str, Any]
    shape: Inputs

    def build(self) -> nn.Module:
        """Build the network in eval mode with random weights, the same at each call.

        Weights that start at zero are drawn too: a branch that is multiplied by zero would hide
        that it is computed wrongly.
        """
        cls = getattr(
            import_module(f"{self.package}.architectures.{self.architecture}"), self.class_name
        )
        torch.manual_seed(0)
        model: nn.Module = cls(**self.arguments).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if not weight.any():
                    weight.normal_(std=LEAST_SCALE)
        return model.requires_grad_(True)


@dataclass
class Row:
    """What the survey found for a network; `failed` names the first stage that was not passed."""

    network: str
    package: str
    architecture: str
    shape: str
    passed: list[str] = field(default_factory=list)
    failed: str = ""
    reason: str = ""
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)


def read_list() -> tuple[list[Network], dict[str, str]]:
    """Return the networks of architectures.toml, and name -> reason of those left out."""
    tables = tomllib.loads(LIST.read_text("utf-8"))
    excluded = tables.pop("excluded")
    networks = []
    for package, architectures in tables.items():
        for architecture, rows in architectures.items():
            for name, given in rows.items():
                arguments = dict(given)
                text = arguments.pop("input", "1x3x64x64")
                shapes = tuple(_parse_shape(part) for part in text.split(","))
                cls = arguments.pop("class", architecture)
                shape = shapes if len(shapes) > 1 else shapes[0]
                networks.append(Network(name, package, architecture, cls, arguments, shape))
    return networks, excluded


def _parse_shape(text: str) -> Shape:
    n, c, h, w = map(int, text.split("x"))
    return n, c, h, w


def run(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return all tensors that a network gives, without gradients; the inputs stay as they are."""
    with torch.no_grad():
        parts = tree_leaves(model(*(tensor.clone() for tensor in inputs)))
    return [part for part in parts if isinstance(part, Tensor)]


def worst_difference(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> float:
    """Return the largest difference of outputs, as a share of the largest value of each."""
    return max(
        float((one - other).abs().max() / one.abs().max().clamp_min(1e-12))
        for one, other in zip(expected, actual, strict=True)
    )


class Survey:
    """The stages for one network, in order; each raises an exception where it is not passed."""

    def __init__(self, network: Network, row: Row) -> None:
        self.network, self.shape, self.found = network, network.shape, row.found
        self.row = row

    def pass_stages(self, last: str) -> None:
        """Run the stages up to the last, and fill the row."""
        for stage in STAGES[: STAGES.index(last) + 1]:
            self.row.failed = stage
            start = perf_counter()
            check: Callable[[], None] = getattr(self, stage)
            check()
            self.found[f"{stage}_seconds"] = round(perf_counter() - start, 2)
            self.row.passed.append(stage)
        self.row.failed = ""

    def build(self) -> None:
        """Build the network."""
        self.model = self.network.build()
        self.found["parameters"] = sum(weight.numel() for weight in self.model.parameters())

    def trace(self) -> None:
        """Trace the network; every operator must be known."""
        self.written = write_out(self.model, self.shape)
        self.graph = trace(self.written, self.shape)
        self.peak_bytes = max(
            sum(storage.size_bytes for storage in alive)
            for alive in liveness(self.graph, "planned").live_storages()
        )
        self.found |= {"operators": len(self.graph.ops), "peak_mib": mib(self.peak_bytes)}

    def equal(self) -> None:
        """Compare the traced network with the module, which must give the same at each run."""
        generator = torch.Generator().manual_seed(0)
        self.inputs = [torch.rand(s, generator=generator) for s in as_shapes(self.shape)]
        outputs = run(self.model, self.inputs)
        self._compare("another run", outputs, run(self.model, self.inputs))
        traced = run(trace_module(self.written), self.inputs)
        self.found["difference"] = self._compare("the graph", outputs, traced)

    def least(self) -> None:
        """Find the least peak: every unit keeps one channel."""
        layout = channel_layout(self.graph)
        layout.check_prunable()
        model = peak_model_of_graph(self.graph, layout, "planned")
        self.found["units"] = len(layout.units)
        self.found["least_ratio"] = model.least_bytes() / self.peak_bytes

    def prune(self) -> None:
        """Cut the network to half of its peak; surgery compares it with the masked one."""
        method = METHODS.get("uniform")(start="slice")
        budget = Budget(self.peak_bytes // 2, self.shape)
        self.pruned = method.prune(self.written, budget).model
        self.found["pruned_ratio"] = peak_memory(self.pruned, self.shape) / self.peak_bytes
        self.pruned_outputs = run(self.pruned, self.inputs)

    def reload(self) -> None:
        """Save the pruned network, and load and run it in a fresh process."""
        with tempfile.TemporaryDirectory() as folder:
            saved.save_graph(folder, self.pruned)
            tensors = {f"input{i:02}": tensor for i, tensor in enumerate(self.inputs)}
            tensors |= {f"output{i:02}": part for i, part in enumerate(self.pruned_outputs)}
            file = Path(folder) / "tensors"
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            file.write_bytes(tensors_to_bytes(contiguous))
            command = [sys.executable, "-c", RELOAD, folder, str(file)]
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        self.found["reload_difference"] = float(done.stdout)
        if not float(done.stdout) <= TOLERANCE:
            raise RuntimeError(f"reloaded, it differs by {float(done.stdout):.1e}")

    def onnx(self) -> None:
        """Export the pruned network to ONNX, which compares ONNX Runtime with PyTorch."""
        self.found["onnx_difference"] = to_onnx_bytes(self.pruned, self.shape)[1]

    def lean(self) -> None:
        """Run the pruned network by the lean executor."""
        lean = run(make_lean(self.pruned, self.shape), self.inputs)
        self.found["lean_difference"] = self._compare("the lean form", self.pruned_outputs, lean)

    def _compare(self, what: str, expected: list[Tensor], actual: list[Tensor]) -> float:
        difference = worst_difference(expected, actual)
        if not difference <= TOLERANCE:
            raise RuntimeError(f"{what} differs by {difference:.1e} of the largest output")
        return difference


def survey(network: Network, last: str, seconds: float) -> Row:
    """Run the stages for one network in a process of its own, at most so many seconds."""
    fork = multiprocessing.get_context("fork")  # so that the packages are imported once
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_survey_in_process, args=(network, last, sender))
    start = perf_counter()
    process.start()
    row = _new_row(network)
    wait([receiver, process.sentinel], seconds)
    if receiver.poll():
        row = receiver.recv()
    elif process.is_alive():
        row.reason = f"took more than {seconds:.0f} s"
    else:
        row.reason = f"the process ended with exit code {process.exitcode}"
    process.kill()
    process.join()
    row.seconds = round(perf_counter() - start, 1)
    return row


def _survey_in_process(network: Network, last: str, sender: Connection) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the packages
    row = _new_row(network)
    try:
        Survey(network, row).pass_stages(last)
    except Exception as error:
        kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
        row.reason = f"{kind}{first_line(error)}"
    sender.send(row)


def _new_row(network: Network) -> Row:
    shape = ",".join("x".join(map(str, shape)) for shape in as_shapes(network.shape))
    return Row(network.name, network.package, network.architecture, shape, failed=STAGES[0])


def to_markdown(rows: Sequence[Row], excluded: Mapping[str, str], last: str) -> str:
    """Return the page: counts, one table row for each network, and the reasons by number."""
    stages = STAGES[: STAGES.index(last) + 1]
    counts = Counter(stage for row in rows for stage in row.passed)
    lines = [
        "# Architectures of others",
        "",
        "How far networks of the packages spandrel and spandrel_extra_arches come, with random",
        "weights and often fewer blocks than published. Made by",
        "`python -m results.trials.architectures`, whose header explains the stages; the arguments",
        "of each network are in [architectures.toml](../results/trials/architectures.toml).",
        "",
        f"Versions: {', '.join(_versions())}.",
        "",
        f"{len(rows)} networks of {len({row.architecture for row in rows})} architectures. Passed: "
        + ", ".join(f"{stage} {counts[stage]}" for stage in stages)
        + ".",
        "",
        "| network | input | parameters | peak MiB | least peak | passed | first reason |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
        *(_markdown_row(row, len(stages)) for row in rows),
        "",
        "The least peak is the share of the peak that is left if every unit keeps one channel.",
        *(["", "Left out:", ""] if excluded else []),
        *(f"- {name}: {reason}" for name, reason in excluded.items()),
    ]
    return "\n".join(lines) + "\n"


def _versions() -> list[str]:
    found = []
    for package in ("prunebench", "torch", "spandrel", "spandrel_extra_arches"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return found


def _markdown_row(row: Row, stages: int) -> str:
    numbers = (
        f"{row.found['parameters']:,}" if "parameters" in row.found else "",
        f"{row.found['peak_mib']:.2f}" if "peak_mib" in row.found else "",
        f"{row.found['least_ratio']:.2f}" if "least_ratio" in row.found else "",
    )
    passed = "all" if len(row.passed) == stages else row.passed[-1] if row.passed else "none"
    reason = f"{row.failed}: {row.reason}"[:REASON_LENGTH] if row.failed else ""
    reason = reason.replace("|", "\\|").replace("<", "&lt;")
    cells = (row.network, row.shape, *numbers, passed, reason)
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Survey the networks, print a line for each, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="parts of names, with commas between")
    parser.add_argument("--stage", choices=STAGES, default=STAGES[-1], help="the last stage")
    parser.add_argument("--out", type=Path, help="Markdown file; the JSON is written beside it")
    parser.add_argument("--jobs", type=int, default=2, help="networks at a time")
    parser.add_argument("--seconds", type=float, default=900.0, help="time limit of a network")
    arguments = parser.parse_args()
    networks, excluded = read_list()
    asked = arguments.only.lower().split(",")
    chosen = [
        network
        for network in networks
        if any(name in f"{network.architecture} {network.name}".lower() for name in asked)
    ]
    for package in sorted({network.package for network in chosen}):
        import_module(package)
    METHODS.names()  # imports the methods once, before the forks
    rows = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for row in pool.map(lambda n: survey(n, arguments.stage, arguments.seconds), chosen):
            rows.append(row)
            outcome = f"{row.failed}: {row.reason}" if row.failed else "passed"
            print(f"{row.network}: {outcome} ({row.seconds} s)", flush=True)
    page = to_markdown(rows, excluded, arguments.stage)
    print(next(line for line in page.splitlines() if "Passed:" in line))
    if arguments.out:
        atomic.write(arguments.out, page.encode())
        content = json.dumps([vars(row) for row in rows], indent=1)
        atomic.write(arguments.out.with_suffix(".json"), content.encode())


if __name__ == "__main__":
    main()
