"""Reading of photograph files into tensors, and refusal of unusable files."""

import struct
import zlib
from pathlib import Path

import numpy
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from bench.errors import ConfigError
from tasks.data.photographs import read_photograph, to_float

RAMP = numpy.arange(16 * 24, dtype=numpy.uint8).reshape(16, 24)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    Image.fromarray(RAMP).convert(mode).save(path := tmp_path / "image.tif")
    image = read_photograph(path)
    assert image.shape == (3, 16, 24) and image.dtype == torch.uint8


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "jpg"])
def test_every_format_is_read(ending: str, tmp_path: Path) -> None:
    pixels = numpy.full((16, 24, 3), (10, 128, 250), numpy.uint8)
    Image.fromarray(pixels).save(path := tmp_path / f"image.{ending}")
    assert (
        read_photograph(path).permute(1, 2, 0).int() - torch.from_numpy(pixels).int()
    ).abs().max() <= 2


def test_of_16_bit_colour_the_upper_8_are_kept(tmp_path: Path) -> None:
    levels = numpy.random.default_rng(0).integers(0, 65536, (16, 24, 3), numpy.uint16)
    tifffile.imwrite(path := tmp_path / "deep.tif", levels, photometric="rgb")
    assert torch.equal(
        read_photograph(path).permute(1, 2, 0).int(),
        torch.from_numpy((levels >> 8).astype(numpy.int32)),
    )


def test_grey_is_repeated_exactly(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(path := tmp_path / "grey.png")
    assert torch.equal(read_photograph(path), torch.from_numpy(RAMP).expand(3, -1, -1))


def test_16_bit_grey_keeps_its_precision(tmp_path: Path) -> None:
    levels = numpy.arange(16 * 24, dtype=numpy.uint16).reshape(16, 24) * 170
    Image.fromarray(levels).save(path := tmp_path / "deep.png")
    assert torch.allclose(
        read_photograph(path)[1].double() * 65535, torch.from_numpy(levels.astype(float)), atol=0.01
    )


def test_float_of_8_bit_is_a_share_of_255() -> None:
    assert torch.equal(
        to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)), torch.tensor([0.0, 0.2, 1.0])
    )


@pytest.mark.parametrize("kept_share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_file_cut_short_is_refused_by_name(
    kept_share: float, suffix: str, tmp_path: Path
) -> None:
    pixels = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), numpy.uint8)
    Image.fromarray(pixels).save(path := tmp_path / f"cut.{suffix}")
    path.write_bytes(path.read_bytes()[: int(kept_share * path.stat().st_size)])
    with pytest.raises(ConfigError, match=rf"cut\.{suffix} cannot be read as an image") as error:
        read_photograph(path)
    assert "\n" not in str(error.value)


def test_a_text_file_and_a_missing_file_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no image")
    for name in ("notes.png", "absent.png"):
        with pytest.raises(ConfigError, match=name):
            read_photograph(tmp_path / name)


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(numpy.float32)).save(path := tmp_path / "float.tif")
    with pytest.raises(ConfigError, match="floating-point"):
        read_photograph(path)


def _png_header(width: int, height: int) -> bytes:
    """Return the beginning of a PNG of this size, without its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + b"\x00\x00\x00\x00IDAT"
    )


@pytest.mark.parametrize("size", [(40_000, 10), (12_000, 12_000), (2**31 - 1, 2**31 - 1)])
def test_the_size_is_looked_at_before_anything_is_decoded(
    size: tuple[int, int], tmp_path: Path
) -> None:
    (path := tmp_path / "bomb.png").write_bytes(_png_header(*size))
    with pytest.raises(
        ConfigError,
        match=r"bomb\.png (has \d+ x \d+ pixels; at most|cannot be read as an image \(Image size)",
    ):
        read_photograph(path)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP"])
def test_a_film_is_no_photograph(format_: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    frames[0].save(path := tmp_path / "film.png", format_, save_all=True, append_images=frames[1:])
    with pytest.raises(ConfigError, match="holds several pictures"):
        read_photograph(path)


def test_a_format_that_is_handed_to_another_program_is_not_read(tmp_path: Path) -> None:
    Image.fromarray(RAMP).convert("RGB").save(path := tmp_path / "postscript.png", "EPS")
    with pytest.raises(ConfigError, match="cannot be read as an image"):
        read_photograph(path)


def test_a_folder_with_the_name_of_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ConfigError, match=r"x\.png cannot be read as an image"):
        read_photograph(tmp_path / "x.png")


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_an_orientation_is_applied_as_viewers_do(
    ending: str, orientation: int, tmp_path: Path
) -> None:
    pixels = numpy.random.default_rng(0).integers(0, 256, (5, 7, 3), numpy.uint8)
    pixels = numpy.kron(pixels, numpy.ones((8, 8, 1), numpy.uint8))  # survives JPEG
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path := tmp_path / f"turned.{ending}", exif=exif)
    with Image.open(path) as stored:
        shown = numpy.array(ImageOps.exif_transpose(stored).convert("RGB"))
    assert torch.equal(read_photograph(path).permute(1, 2, 0), torch.from_numpy(shown))
    upright = read_photograph(path).permute(1, 2, 0).shape == (40, 56, 3)
    assert upright == (orientation not in (5, 6, 7, 8))


def test_16_bit_and_cmyk_are_turned_too(tmp_path: Path) -> None:
    deep = Image.fromarray(RAMP.astype(numpy.uint16) * 170)
    for image, ending in ((deep, "png"), (Image.fromarray(RAMP).convert("CMYK"), "jpg")):
        image.save(plain := tmp_path / f"plain.{ending}")
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(turned := tmp_path / f"turned.{ending}", exif=exif)
        expected = torch.rot90(read_photograph(plain), -1, (1, 2))
        assert torch.equal(read_photograph(turned), expected)


def test_metadata_that_cannot_be_read_turn_nothing(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(path := tmp_path / "odd.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_photograph(path).shape == (3, 16, 24)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_png_takes_seven_bytes_a_pixel_while_it_is_decoded(tmp_path: Path) -> None:
    side = 2000
    Image.new("RGB", (side, side), "red").save(path := tmp_path / "large.png", compress_level=1)
    read_photograph(path)  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status_bytes("VmRSS")
    image = read_photograph(path)
    assert _status_bytes("VmHWM") - before < 8.5 * side * side
    assert image.shape == (3, side, side)


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
