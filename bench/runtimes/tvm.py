"""TVM: the storages that its pass StaticPlanBlockMemory gives to a network compiled by Relax.

A storage is used again by tensors that need as many bytes or a little fewer, so a mixture of widths
wastes some (relax/transform/static_plan_block_memory.cc). Kernels are not tuned, so not timed.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.graph.source_location import first_line
from bench.runtimes.child_run import ChildRunner, crop_shapes
from bench.runtimes.onnx_form import plain_copy, random_inputs, root_cause, silence_exporters
from bench.runtimes.runtime import Runtime
from bench.units import as_shapes

LOAD = """
import warnings
warnings.simplefilter("ignore")
import torch, tvm
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program
def load(path, inputs, threads):
    module = from_exported_program(torch.export.load(path + ".pt2"))
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    def run(inputs):
        outputs = machine["main"](*map(tvm.runtime.tensor, inputs))
        return [output.numpy() for output in outputs]
    return run, None
"""


class TVM(Runtime):
    """Plans as StaticPlanBlockMemory does."""

    protocol = (
        "the storages of StaticPlanBlockMemory, without the input and the output of the network; "
        "kernels that are not tuned are not timed"
    )

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, float | None]:
        """Return the planned peak. The outputs are compared on a small image."""
        ChildRunner("TVM", LOAD, _write_exported).run(model, crop_shapes(as_shapes(shape)))
        return plan_storages(model, shape), None


RUNTIME = TVM()


def _write_exported(model: nn.Module, shapes: tuple[Shape, ...], path: Path) -> None:
    with silence_exporters():
        torch.export.save(torch.export.export(model, random_inputs(shapes)), f"{path}.pt2")


def plan_storages(model: nn.Module, shape: Inputs) -> int:
    """Return the bytes of all storages that TVM allocates for the tensors between operators.

    Raises:
        ConfigError: TVM does not take the network.
    """
    with silence_exporters():
        import tvm
        from tvm.relax import transform
        from tvm.relax.frontend.torch import from_exported_program
    try:
        with silence_exporters(), torch.no_grad(), tvm.target.Target("llvm"):
            exported = torch.export.export(plain_copy(model), random_inputs(as_shapes(shape)))
            passes = (  # the build pipeline of TVM as far as its memory plan
                transform.LegalizeOps(),
                transform.RewriteDataflowReshape(),
                transform.ToNonDataflow(),
                transform.RemovePurityChecking(),
                transform.CallTIRRewrite(),
                transform.StaticPlanBlockMemory(),
            )
            imported = from_exported_program(exported, keep_params_as_input=True)
            planned = tvm.transform.Sequential(passes)(imported)
    except Exception as error:
        raise ConfigError(
            f"TVM does not take {type(model).__name__}: {first_line(root_cause(error))}"
        ) from error
    return sum(_storage_bytes(binding) for binding in _bindings(planned["main"]))


def _bindings(function: Any) -> list[Any]:
    return [binding for block in function.body.blocks for binding in block.bindings]


def _storage_bytes(binding: Any) -> int:
    operator = getattr(binding.value, "op", None)
    if getattr(operator, "name", "") != "relax.memory.alloc_storage":
        return 0
    (size,) = binding.value.args[0].values
    return int(size)
