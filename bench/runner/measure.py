"""The measured ruler: what a network allocates, and how long an image takes, when it really runs.

Executors: "pytorch" runs it as it is, "lean" rewritten to reach the plan (bench.lean), "onnx" in
ONNX Runtime (bench.export.onnx_runtime).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.export import saved
from bench.export.onnx_file import write_onnx
from bench.export.onnx_runtime import onnx_image_seconds, onnx_peak_bytes, onnx_place
from bench.lean.pipeline import lean
from bench.memory.measured import image_seconds, measured_peak_bytes, place
from bench.records import Record
from bench.study.store import Store

EXECUTORS = ("pytorch", "lean", "onnx")


def measure_run(
    store: Store, executors: Sequence[str] = EXECUTORS[:1], device: str = "cpu"
) -> Iterator[tuple[Record, str]]:
    """Measures every finished record that was not measured there yet and whose network is stored; writes it, yields it and the executor.

    Raises:
        ConfigError: the executor does not run on the device.
    """
    places = {executor: protocol(executor, device) for executor in executors}
    for record in store.records():
        folder = store.model_folder(record.key)
        for (
            executor,
            where,
        ) in (
            places.items()
        ):  # one after the other on one network, so that a busy machine is equally busy for all
            if (
                record.status == "done"
                and record.measured.get(executor, {}).get("on") != where
                and folder.is_dir()
            ):
                figures = measured(saved.load(folder), record.cell.measured_at, executor, device)
                record = replace(record, measured={**record.measured, executor: figures})
                store.write(record)
                yield record, executor


def measured(
    model: nn.Module, shape: Inputs, executor: str = "pytorch", device: str = "cpu"
) -> dict[str, Any]:
    """`peak_bytes`, `image_seconds` and `on`: the machine and the protocol.

    Raises:
        ConfigError: the executor does not run on the device, or cannot run the network.
    """
    where = protocol(executor, device)
    if executor == "onnx":
        with TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            write_onnx(model, shape, path)
            return {
                "peak_bytes": onnx_peak_bytes(path, shape),
                "image_seconds": onnx_image_seconds(path, shape),
                "on": where,
            }
    running = lean(model, shape) if executor == "lean" else model
    return {
        "peak_bytes": measured_peak_bytes(running, shape, device),
        "image_seconds": image_seconds(running, shape, device),
        "on": where,
    }


def protocol(executor: str, device: str) -> str:
    """Where and how an executor is measured. Raises ConfigError for one that does not run there."""
    if executor != "pytorch" and device != "cpu":
        raise ConfigError(
            f"the executor '{executor}' is measured on the CPU, and --device {device} was asked; leave --device out"
        )
    return onnx_place() if executor == "onnx" else place(device)
