"""The measured ruler, for a run that is there: each stored network runs once, and its record says what that allocated."""

from collections.abc import Iterator
from dataclasses import replace

from bench import saved
from bench.cell import Record
from bench.memory.measured import measured_peak_bytes, place
from bench.store import Store


def measure_run(store: Store, device: str = "cpu") -> Iterator[Record]:
    """Measures every finished record that was not measured there yet and whose network is stored; writes it, and yields it."""
    where = place(device)
    for record in store.records():
        folder = store.model_folder(record.key)
        if record.status == "done" and record.measured_on != where and folder.is_dir():
            measured = replace(
                record, measured_bytes=measured_peak_bytes(saved.load(folder), record.cell.measured_at, device), measured_on=where
            )
            store.write(measured)
            yield measured
