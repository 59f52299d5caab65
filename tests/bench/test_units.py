"""Conversion of bytes, shapes and durations to text and back."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import ConfigError
from bench.units import (
    as_shapes,
    format_duration,
    format_mib,
    format_shape,
    mib,
    parse_duration,
    parse_shape,
    parse_shapes,
    parse_size,
)


def test_a_mebibyte_is_two_to_the_twenty_bytes() -> None:
    assert mib(805306368) == 768.0
    assert format_mib(805306368) == "768.0 MiB"


def test_a_shape_survives_the_round_trip() -> None:
    assert parse_shape(format_shape((1, 3, 1024, 2048))) == (1, 3, 1024, 2048)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3x256x256",
        "1x3x0x256",
        "1x3x-2x256",
        "1x3x256x256x1",
        "1,3,256,256",
        "axbxcxd",
        "1x3x2.5x4",
    ],
)
def test_a_text_that_is_not_a_shape_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write for example 1x3x256x256"):
        parse_shape(text)


def test_several_shapes_are_joined_by_commas() -> None:
    assert parse_shapes("1x3x64x64, 1x1x64x64") == ((1, 3, 64, 64), (1, 1, 64, 64))
    assert format_shape(parse_shapes("1x3x64x64,1x1x64x64")) == "1x3x64x64,1x1x64x64"
    assert as_shapes((1, 3, 64, 64)) == parse_shapes("1x3x64x64")
    with pytest.raises(ConfigError, match="shape ''"):
        parse_shapes("1x3x64x64,")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5399, "1 h 30 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_a_duration_is_formatted_in_a_readable_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    "text", ["1x3x65537x8", "1x3x65536x65536", "9" * 5000 + "x3x8x8", "1x3x8x" + "8" * 5000]
)
def test_a_shape_that_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"too large|not of the form"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129600), ("0.2s", 0.2)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "90", "0s", "-1h", "2 h", "2hours", "nans", "1e3s", "1.h", "\u0661h"]
)
def test_a_text_that_is_not_a_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="write for example 90s, 30m or 2h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("200MiB", 200 * 2**20), ("1.5 GiB", 3 * 2**29), ("8kib", 2**13)]
)
def test_a_size_of_memory_is_read(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["200", "0MiB", "-1MiB", "many", "1e3MiB", "200MB"])
def test_a_size_of_memory_without_a_unit_or_not_above_zero_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match="is not a size above 0 in KiB, MiB or GiB; write for example 200"
    ):
        parse_size(text)


def test_one_shape_or_several_become_a_tuple_of_shapes() -> None:
    assert as_shapes([1, 3, np.int64(8), 9]) == ((1, 3, 8, 9),)
    assert as_shapes(((1, 3, 8, 9), torch.Size((1, 1, 8, 9)))) == ((1, 3, 8, 9), (1, 1, 8, 9))


@pytest.mark.parametrize(
    "shape", [(3, 64, 64), "1x3x64x64", (1, 3, -4, 64), (1, 3, 64.0, 64), (), 64, [(1, 3, 8, 8), 3]]
)
def test_what_is_no_shape_is_refused_with_an_example(shape: Any) -> None:
    with pytest.raises(ConfigError, match=r"is not \(N, C, H, W\), .* write for example \(1, 3"):
        as_shapes(shape)
