"""ncnn on the CPU, converted by pnnx. It does not say what it allocates: the process is measured.

Weights are in float32, and so is the arithmetic; pnnx and ncnn take half precision otherwise.
"""

import subprocess
from pathlib import Path

import torch
from torch import nn

from bench.contract import Shape
from bench.errors import ConfigError
from bench.runtimes.child_run import ChildRunner, MeasuredRuntime
from bench.runtimes.onnx_form import random_inputs
from bench.units import format_shape

LOAD = """
import ncnn
def load(path, inputs, threads):
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_vulkan_compute = False
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, "use_" + name, False)
    if network.load_param(path + ".param") or network.load_model(path + ".bin"):
        raise SystemExit("ncnn does not read what pnnx has written")
    def run(inputs):
        with network.create_extractor() as extractor:
            for name, given in zip(network.input_names(), inputs):
                extractor.input(name, ncnn.Mat(given[0]).clone())
            for name in network.output_names():
                failed, output = extractor.extract(name)
                if failed:
                    raise SystemExit("ncnn gives no " + name)
                yield numpy.array(output)[None]
    return lambda inputs: list(run(inputs)), None
"""


def _write_ncnn(model: nn.Module, shapes: tuple[Shape, ...], path: Path) -> None:
    """Write the .param and .bin of a network; pnnx reads TorchScript."""
    import pnnx

    script = path.with_name("script.pt")
    torch.jit.trace(model, random_inputs(shapes), check_trace=False).save(str(script))
    sizes = ",".join(f"[{format_shape(shape).replace('x', ',')}]f32" for shape in shapes)
    converted = subprocess.run(
        [
            pnnx.EXEC_PATH,
            script.name,
            f"inputshape={sizes}",
            "fp16=0",
            f"ncnnparam={path.name}.param",
            f"ncnnbin={path.name}.bin",
        ],
        cwd=path.parent,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if not path.with_name(f"{path.name}.bin").exists():
        last = (converted.stderr or converted.stdout).strip().splitlines()[-1:]
        raise ConfigError(f"pnnx does not convert {type(model).__name__}: {''.join(last)[:200]}")


RUNTIME = MeasuredRuntime(ChildRunner("ncnn", LOAD, _write_ncnn))
