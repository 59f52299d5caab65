"""IREE on the CPU, compiled from ONNX: the storage that its scheduling statistics report.

It is what all tensors between the input and the output take in one allocation; the input and the
output come on top.
"""

from torch import nn

from bench.contract import Inputs
from bench.runtimes.child_run import PASSES, ChildRunner
from bench.runtimes.onnx_form import write_static_onnx
from bench.runtimes.runtime import Runtime

LOAD = """
import re, subprocess
import iree.compiler, iree.runtime
def load(path, inputs, threads):
    arguments = ["iree.compiler.tools.import_onnx", path, "-o", path + ".mlir"]
    subprocess.run([sys.executable, "-m", *arguments], check=True)
    program = iree.compiler.compile_file(
        path + ".mlir", target_backends=["llvm-cpu"], extra_args=[
            "--iree-llvmcpu-target-cpu=host",
            "--iree-scheduling-dump-statistics-format=pretty",
            "--iree-scheduling-dump-statistics-file=" + path + ".txt",
        ])
    with open(path + ".txt") as statistics:
        planned_bytes = int(re.search(r"using cumulative (\\d+) B", statistics.read())[1])
    iree.runtime.flags.parse_flags("--task_topology_group_count=" + str(threads))
    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-task"))
    context.add_vm_module(iree.runtime.VmModule.copy_buffer(context.instance, program))
    main = context.modules.module["main_graph"]
    def run(inputs):
        outputs = main(*inputs)
        return [each.to_host() for each in (outputs if isinstance(outputs, tuple) else [outputs])]
    return run, lambda: planned_bytes
"""


class IREE(Runtime):
    """Measured by the statistics of its compiler."""

    protocol = "the storage of its scheduling statistics, without the input and the output"

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, float | None]:
        """Return the storage that the compiler plans, and the seconds of an image."""
        return ChildRunner("IREE", LOAD, write_static_onnx).run(model, shape, PASSES)


RUNTIME = IREE()
