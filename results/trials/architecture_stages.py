"""The stages of the survey of architectures (results.trials.architectures), for one network."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.utils._pytree import tree_leaves

from bench.api import prune
from bench.channels.units import channel_layout
from bench.channels.written_form import write_out
from bench.contract import Budget, Crops, Inputs, Method, Pair, Recipe, Shape, Task
from bench.errors import BenchError, ConfigError
from bench.export import saved
from bench.export.onnx_file import to_onnx_bytes
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

NEEDS = {  # stage -> the one before it
    "build": "",
    "trace": "build",
    "equal": "trace",
    "least": "equal",
    "uniform": "least",
    "global_l2": "least",
    "mosp": "least",
    "reload": "uniform",
    "lean": "uniform",
    "onnx": "uniform",
}
STAGES = tuple(NEEDS)
TOLERANCE = 1e-4  # of the largest output: sums are taken in another order
LEAST_SCALE = 0.02  # standard deviation of weights that a network starts with at zero
RELOAD = """
import sys, torch
from bench.export import saved
from bench.files.tensors import tensors_from_bytes
from results.trials.architecture_stages import run, worst_difference
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
        with torch.no_grad():  # some run once and keep what they computed
            model: nn.Module = cls(**self.arguments).eval()
            for weight in model.parameters():
                if not weight.any():
                    weight.normal_(std=LEAST_SCALE)
        return model.requires_grad_(True)


@dataclass
class Row:
    """What the survey found for a network: stage -> "" if it was passed, else the reason.

    A stage is missing if it was not tried, or needs one that was not passed.
    """

    network: str
    package: str
    architecture: str
    shape: str
    outcomes: dict[str, str] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    def passed(self, stage: str) -> bool:
        """Return whether a stage was passed."""
        return self.outcomes.get(stage) == ""

    def next_stage(self, stages: Sequence[str]) -> str | None:
        """Return the first of these stages that is still to be tried; None if there is none."""
        return next(
            (
                stage
                for stage in stages
                if stage not in self.outcomes and (not NEEDS[stage] or self.passed(NEEDS[stage]))
            ),
            None,
        )


@dataclass(frozen=True)
class RandomImages(Task):
    """Images of random numbers, on which a network is trained for a step.

    Args:
        measured_at: shape (1, C, H, W) of the degraded images.
        clean: shape of the others.
        size_multiple: other sizes at which the network is tried are as much larger, or twice.
    """

    name: ClassVar[str] = "random_images"
    recipe: ClassVar[Recipe] = Recipe(
        batch=1, adapt_steps=1, finetune_steps=1, steps_per_epoch=1, calibration_crops=1
    )
    backbones: ClassVar[Mapping[str, Any]] = {}
    measured_at: Shape = (1, 3, 64, 64)
    clean: Shape = (1, 3, 64, 64)
    size_multiple: int = 32  # type: ignore[misc]

    def build(self, backbone: str, **options: Any) -> nn.Module:
        """Refuse: the task has no backbones."""
        raise NotImplementedError(backbone)

    def initialise(self, model: nn.Module, generator: Generator) -> None:
        """Leave the weights as they are: nothing starts from scratch."""

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw images of the two shapes, whatever the patch."""
        shapes = ((count, *self.measured_at[1:]), (count, *self.clean[1:]))
        degraded, clean = (torch.rand(shape, generator=generator) for shape in shapes)
        return degraded, clean

    def training_pairs(self, data: str) -> Crops:
        """Return the images to train on."""
        return self

    def calibration_pairs(self, data: str) -> Crops:
        """Return the images on which layers are judged."""
        return self

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return one pair."""
        degraded, clean = self.sample(1, 0, Generator().manual_seed(1))
        return {"random": [Pair("random", degraded[0], clean[0])]}

    def fingerprint(self, data: str) -> str:
        """Return a constant."""
        return self.name

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Return the mean absolute difference."""
        return (restored - clean).abs().mean()

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Return constants."""
        return {"psnr_db": 0.0, "ssim": 0.0}


class FirstOutput(nn.Module):
    """The first output of a network, which may have several."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the first output."""
        first: Tensor = tree_leaves(self.network(x))[0]
        return first


class StageTimeout(BaseException):
    """A stage takes too long. No Exception: the code under test must not handle it."""


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

    def try_stages(self, stages: Sequence[str], seconds: int, report: Callable[[], None]) -> None:
        """Try these stages, each for at most so many seconds, and report after each."""
        signal.signal(signal.SIGPROF, _raise_timeout)
        while stage := self.row.next_stage(stages):
            start = process_time()
            check: Callable[[], None] = getattr(self, stage)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # of processor time
            try:
                check()
                reason = ""
            except StageTimeout:
                reason = f"took more than {seconds} s of processor time"
            except Exception as error:
                kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
                reason = f"{kind}{first_line(error)}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            self.row.outcomes[stage] = reason
            self.found[f"{stage}_seconds"] = round(process_time() - start, 2)
            report()

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

    def uniform(self) -> None:
        """Cut the network to half of its peak; surgery compares it with the masked one."""
        self.pruned = self._prune(METHODS.get("uniform")(start="slice"))
        self.pruned_outputs = run(self.pruned, self.inputs)

    def global_l2(self) -> None:
        """Remove the channels with the smallest norms."""
        self._prune(METHODS.get("global_l2")())

    def mosp(self) -> None:
        """Prune as a user does, from Python, with as little training as that takes."""
        if len(self.inputs) > 1:
            raise ConfigError("networks with several inputs are not trained")
        clean = tuple(run(self.model, self.inputs)[0].shape)
        shape = as_shapes(self.shape)[0]
        task = RandomImages(shape, clean, shape[2] // 2)  # type: ignore[arg-type]
        method = METHODS.get("mosp")(outer_stride="1/2", inner_stride="1/2", points=1)
        result = prune(FirstOutput(self.model), method, 0.5, task=task)
        self.found["mosp_ratio"] = result.peak_bytes / result.unpruned_peak_bytes

    def _prune(self, method: Method) -> nn.Module:
        pruned = method.prune(self.written, Budget(self.peak_bytes // 2, self.shape)).model
        self.found[f"{method.name}_ratio"] = peak_memory(pruned, self.shape) / self.peak_bytes
        return pruned

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


def _raise_timeout(*_: Any) -> None:
    raise StageTimeout
