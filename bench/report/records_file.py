"""The records of a study in one Parquet file: the only adapter to pyarrow.

A line is a record. Its first columns are for people and notebooks
(`pandas.read_parquet("table1.parquet")`); the column `record` is the whole record as JSON, from
which all tables are made again, photograph by photograph. The metadata of the file name the study
and the command that made it.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import ConfigError
from bench.files import atomic
from bench.files.checked_json import MAX_JSON_BYTES, read_limited
from bench.files.hashing import digest
from bench.records import SCHEMA, Record

METADATA = b"prunebench"
COLUMN = "record"
COMPRESSION = {"compression": "zstd", "compression_level": 19}  # a third less than the default


class StoredRecords(NamedTuple):
    """The content of a file: name and command of the study, and its records in its order."""

    name: str
    command: str
    records: list[Record]


def write_records(path: Path, stored: StoredRecords) -> Path:
    """Write the records of a study; return the path.

    Raises:
        DiskError: the disk refuses it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = [_write_line(record) for record in stored.records]
    about = {
        "schema": SCHEMA,
        "name": stored.name,
        "command": stored.command,
        "checksum": digest([line[COLUMN] for line in lines]),
    }
    table = pa.Table.from_pylist(lines)
    table = table.replace_schema_metadata({METADATA: json.dumps(about)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_statistics=False, **COMPRESSION)
    atomic.write(path, memoryview(sink.getvalue()))
    return path


def _write_line(record: Record) -> dict[str, Any]:
    cell = record.cell
    return {
        "label": cell.label,
        "ratio": cell.ratio,
        "seed": cell.seed,
        "task": cell.task,
        "backbone": cell.backbone,
        "method": cell.method,
        "status": record.status,
        "psnr_db": record.means.get("psnr_db"),
        "ssim": record.means.get("ssim"),
        "budget_bytes": record.budget_bytes,
        "peak_bytes": record.peak_bytes,
        "parameters": record.parameters,
        "macs": record.macs,
        "steps": sum(record.steps.values()),
        "key": record.key,
        COLUMN: json.dumps(record.to_json()),
    }


def read_records(path: Path) -> StoredRecords:
    """Read the records that were written.

    Raises:
        ConfigError: there is no such file, it is damaged, or it is not of this schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pa.BufferReader(read_limited(path, MAX_JSON_BYTES))
        file = pq.ParquetFile(source)
        about = json.loads((file.metadata.metadata or {})[METADATA])
        sizes = [file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)]
        if sum(sizes) > MAX_JSON_BYTES:
            raise ValueError(f"it unpacks to more than the {MAX_JSON_BYTES:,} bytes that are read")
        if about["schema"] != SCHEMA:
            raise ValueError(f"it is of schema {about['schema']}, and this program's is {SCHEMA}")
        texts = file.read([COLUMN])[COLUMN].to_pylist()
        if about["checksum"] != digest(texts):
            raise ValueError("its checksum does not match its content")
        records = [Record.from_json(json.loads(text)) for text in texts]
        return StoredRecords(str(about["name"]), str(about["command"]), records)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ConfigError(
            f"{path} cannot be read as records of a study: {error!r}; "
            "give a file that prunebench results has written"
        ) from error
