"""ExecuTorch: its ahead-of-time memory plan, and runs of its portable kernels.

The plan is what `to_edge(...).to_executorch()` writes into a program without delegates: greedy by
size, in shared objects (executorch.exir.memory_planning). Of the operators nothing works in place,
and a concat is copied; static views need no memory. Inputs and outputs are in the arena.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.graph.source_location import first_line
from bench.runtimes.child_run import ChildRunner, crop_shapes
from bench.runtimes.onnx_form import plain_copy, random_inputs, root_cause, silence_exporters
from bench.runtimes.runtime import MemoryPlan, PlannedTensor, Planner
from bench.units import as_shapes

LOAD = """
import torch
from executorch.runtime import Runtime
def load(path, inputs, threads):
    method = Runtime.get().load_program(path).load_method("forward")
    return lambda inputs: method.execute([*map(torch.from_numpy, inputs)]), None
"""


class ExecuTorch(Planner):
    """Plans as `to_executorch` does."""

    protocol = "its memory plan without delegates; its portable kernels are not timed"

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, float | None]:
        """Return the planned peak. The outputs are compared on a small image."""
        ChildRunner("ExecuTorch", LOAD, _write_program).run(model, crop_shapes(as_shapes(shape)))
        return self.plan(model, shape).peak_bytes, None

    def plan(self, model: nn.Module, shape: Inputs) -> MemoryPlan:
        """Return the plan of a program without delegates."""
        algorithm = _WatchedAlgorithm()
        program = to_program(model, shape, algorithm)
        (execution,) = program.executorch_program.execution_plan
        peak_bytes = sum(execution.non_const_buffer_sizes)
        return MemoryPlan(peak_bytes, algorithm.tensors, algorithm.replay)


RUNTIME = ExecuTorch()


def _write_program(model: nn.Module, shapes: tuple[Shape, ...], path: Path) -> None:
    path.write_bytes(to_program(model, shapes).buffer)


def to_program(model: nn.Module, shape: Inputs, algorithm: Any = None) -> Any:
    """Return the ExecuTorch program of a network.

    Args:
        model: left untouched.
        shape: of its input (N, C, H, W), or several.
        algorithm: of the memory plan; None for that of ExecuTorch.

    Raises:
        ConfigError: ExecuTorch does not take the network.
    """
    with silence_exporters():
        from executorch.exir import ExecutorchBackendConfig, to_edge
        from executorch.exir.passes import MemoryPlanningPass
    try:
        with silence_exporters(), torch.no_grad():
            exported = torch.export.export(plain_copy(model), random_inputs(as_shapes(shape)))
            return to_edge(exported).to_executorch(
                ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(algorithm))
            )
    except Exception as error:
        raise ConfigError(
            f"ExecuTorch does not take {type(model).__name__}: {first_line(root_cause(error))}"
        ) from error


class _WatchedAlgorithm:
    """ExecuTorch's planning algorithm, which notes what it is asked.

    Attributes:
        tensors: that it plans.
        arguments: of the call, after the tensors.
    """

    def __call__(self, alignment: int, specs: Any, *arguments: Any) -> list[int]:
        from executorch.exir.memory_planning import MemoryPlanningAlgorithmSuite

        self.alignment, self.arguments = alignment, arguments
        self.tensors = tuple(
            PlannedTensor(str(index), spec.nbytes(), spec.lifetime[0], spec.lifetime[1], index)
            for index, spec in enumerate(specs)
        )
        sizes: list[int] = MemoryPlanningAlgorithmSuite()(alignment, specs, *arguments)
        return sizes

    def replay(self, sizes: Sequence[int]) -> int:
        from executorch.exir.memory_planning import greedy

        specs = [
            _Spec(-(-size // self.alignment) * self.alignment, (tensor.birth, tensor.death))
            for size, tensor in zip(sizes, self.tensors, strict=True)
        ]
        return sum(greedy(self.alignment, specs, *self.arguments).bufsizes)


@dataclass(eq=False)
class _Spec:
    """What ExecuTorch's planner reads of a TensorSpec."""

    allocated_memory: int
    lifetime: tuple[int, int]
    mem_id: None = None
    storage_base: None = None

    def realign(self, alignment: int) -> int:
        return self.allocated_memory
