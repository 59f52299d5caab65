"""Records of a study in one Parquet file."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.errors import ConfigError
from bench.report.records_file import StoredRecords, read_records, write_records
from tests.bench.report.synthetic import scored_record, study_records

STORED = StoredRecords("by-hand", "prunebench run by-hand", study_records((0, 1)))


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    stored = STORED._replace(records=[scored_record("mosp", [0.1, 0.2]), *STORED.records])
    assert read_records(write_records(tmp_path / "a.parquet", stored)) == stored


def test_its_columns_are_read_by_pandas(tmp_path: Path) -> None:
    table = pd.read_parquet(write_records(tmp_path / "a.parquet", STORED))
    wanted = [(each.cell.label, each.means["psnr_db"]) for each in STORED.records]
    assert list(zip(table["label"], table["psnr_db"], strict=True)) == wanted


def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.parquet", STORED)
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(15)
    content = bytearray(path.read_bytes())
    content[chunk.dictionary_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as records of a study"):
        read_records(path)


@pytest.mark.parametrize("content", [b"", b"PAR1 PAR1", None])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.parquet"
    if content is None:
        pd.DataFrame({"record": ["{}"]}).to_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="give a file that prunebench results has written"):
        read_records(path)
