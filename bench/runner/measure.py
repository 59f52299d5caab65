"""Measured memory and time: what a network allocates, and how long an image takes, in a real run.

Executors: "pytorch" runs the network as it is, "lean" rewritten to reach the planned peak
(bench.lean), "onnx" in ONNX Runtime (bench.export.onnx_runtime), any other is a runtime of devices
(bench.runtimes).
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
from bench.export.onnx_runtime import describe_onnx_setup, onnx_image_seconds, onnx_peak_bytes
from bench.files.log import LOG
from bench.lean.pipeline import make_lean
from bench.memory.measured import describe_protocol, image_seconds, measured_peak_bytes
from bench.records import Record
from bench.runtimes.onnx_form import has_onnx
from bench.runtimes.registry import (
    RUNTIMES,
    describe_protocol_of,
    installed_runtimes,
    load_runtime,
)
from bench.study.store import Store

EXECUTORS = ("pytorch", "lean", "onnx", *RUNTIMES)


def installed_executors() -> list[str]:
    """Return the executors that are installed."""
    own = EXECUTORS[:3] if has_onnx() else EXECUTORS[:2]
    return [*own, *installed_runtimes()]


def measure_run(
    store: Store, executors: Sequence[str] = EXECUTORS[:1], device: str = "cpu"
) -> Iterator[tuple[Record, str]]:
    """Measure every finished record that has no measurement by this protocol yet.

    Records whose network is not stored are left out, and those of rows that run it in tiles or in
    fewer bits. Each result is written to the store and yielded with its executor. Of several
    executors, one that cannot run a network is warned of.

    Raises:
        ConfigError: an executor does not run on the device, or the only one not the network.
    """
    protocols = {executor: measurement_protocol(executor, device) for executor in executors}
    for record, folder in store.networks():
        if record.status != "done" or record.cell.run_options:
            continue
        # All executors on one network in turn, so that a busy machine is equally busy for all.
        for executor, protocol in protocols.items():
            if record.measured.get(executor, {}).get("on") == protocol:
                continue
            model = saved.load(folder)
            try:
                measurement = measure_network(model, record.cell.measured_at, executor, device)
            except ConfigError as error:
                if len(executors) == 1:
                    raise
                LOG.warning("'%s', ratio %g: %s", record.cell.label, record.cell.ratio, error)
                continue
            record = replace(record, measured={**record.measured, executor: measurement})
            store.write(record)
            yield record, executor


def measure_network(
    model: nn.Module, shape: Inputs, executor: str = "pytorch", device: str = "cpu"
) -> dict[str, Any]:
    """Return `peak_bytes`, `image_seconds` and `on`: the machine and the protocol.

    There are no seconds where a runtime is not timed.

    Raises:
        ConfigError: the executor does not run on the device, or cannot run the network.
    """
    protocol = measurement_protocol(executor, device)
    if executor == "onnx":
        with TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            write_onnx(model, shape, path)
            return {
                "peak_bytes": onnx_peak_bytes(path, shape),
                "image_seconds": onnx_image_seconds(path, shape),
                "on": protocol,
            }
    if executor in RUNTIMES:
        peak_bytes, seconds = load_runtime(executor).measure(model, shape)
        return {
            "peak_bytes": peak_bytes,
            **({} if seconds is None else {"image_seconds": seconds}),
            "on": protocol,
        }
    network = make_lean(model, shape) if executor == "lean" else model
    return {
        "peak_bytes": measured_peak_bytes(network, shape, device),
        "image_seconds": image_seconds(network, shape, device),
        "on": protocol,
    }


def measurement_protocol(executor: str, device: str) -> str:
    """Return where and how an executor is measured.

    Raises ConfigError if it does not run on the device.
    """
    if executor != "pytorch" and device != "cpu":
        raise ConfigError(
            f"the executor '{executor}' is measured on the CPU, and --device {device} was asked; "
            "leave --device out"
        )
    if executor in RUNTIMES:
        return describe_protocol_of(executor)
    return describe_onnx_setup() if executor == "onnx" else describe_protocol(device)
