"""Fixtures for all tests.

Real photographs are outside the project: the environment variable PRUNEBENCH_DATA says where.
"""

import os
from pathlib import Path

import pytest
import torch

# Networks are small here: two threads are slower than one, and much slower beside other work.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Torch's own random numbers begin anew in every test, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real pairs: skip the test without the variable, fail without the folder."""
    text = os.environ.get("PRUNEBENCH_DATA")
    if not text:
        pytest.skip("needs real photographs: set PRUNEBENCH_DATA to their folder")
    folder = Path(text).resolve()
    if not folder.is_dir():
        pytest.fail(f"PRUNEBENCH_DATA is set to '{text}', and there is no such folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_of_photographs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded photographs go to a folder of these tests."""
    os.environ["PRUNEBENCH_CACHE"] = str(tmp_path_factory.mktemp("photographs"))
