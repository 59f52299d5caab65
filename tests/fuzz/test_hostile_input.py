"""Hostile input is either read, or refused with a message of one line."""

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.fuzz.targets import TARGETS

EXAMPLES = {
    "study_bytes": 60,
    "study_values": 40,
    "record_values": 15,
    "record_bytes": 25,
    "study_json": 30,
    "parquet_file": 60,
    "network_folder": 40,
    "image": 120,
    "image_folder": 25,
    "mat_file": 60,
    "arguments": 40,
    "report": 2,
    "overrides": 25,
}


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_is_read_or_refused(name: str) -> None:
    few_examples = settings(
        derandomize=True,
        deadline=None,
        max_examples=EXAMPLES[name],
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    few_examples(TARGETS[name])()
