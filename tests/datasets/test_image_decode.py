"""One picture: every format, orientation and depth, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.datasets.pictures import encoded, pixels

from shoal.datasets.image_decode import FORMATS, SUFFIXES, decode_image
from shoal.errors import DataError

LOSSLESS = {"PNG": {}, "BMP": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("form", LOSSLESS)
def test_a_lossless_picture_has_the_pixels_that_were_written(form: str) -> None:
    array = pixels(0, side=9)
    found = decode_image(encoded(array, form, **LOSSLESS[form]), channels=3)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(found, array.transpose(2, 0, 1))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_near_enough(form: str) -> None:
    array = np.full((16, 16, 3), (200, 60, 20), dtype=np.uint8)
    found = decode_image(encoded(array, form), channels=3)
    assert found.shape == (3, 16, 16)
    assert np.abs(found.astype(int) - array.transpose(2, 0, 1)).max() <= 4


def test_a_file_is_read_as_its_bytes_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(pixels(1)))
    assert np.array_equal(decode_image(path, channels=3), decode_image(path.read_bytes(), channels=3))


def test_one_channel_is_the_brightness() -> None:
    grey = pixels(2, channels=1)
    assert np.array_equal(decode_image(encoded(grey), channels=1), grey[None])
    assert np.array_equal(decode_image(encoded(grey), channels=3), np.stack([grey] * 3))
    colour = decode_image(encoded(pixels(2)), channels=3).astype(float)
    brightness = np.tensordot([0.299, 0.587, 0.114], colour, 1)
    assert np.abs(decode_image(encoded(pixels(2)), channels=1)[0] - brightness).max() <= 1


def test_the_size_asked_for_is_the_size() -> None:
    picture = encoded(np.full((30, 50, 3), 77, dtype=np.uint8))
    found = decode_image(picture, height=8, width=12, channels=3)
    assert found.shape == (3, 8, 12)
    assert (found == 77).all()


def test_shrinking_averages_over_all_pixels() -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 200
    found = decode_image(encoded(stripes), height=8, width=8, channels=1)
    assert np.abs(found[0, 1:-1, 1:-1].astype(int) - 100).max() <= 3


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    array = pixels(3, side=8)
    assert np.array_equal(
        decode_image(encoded(array), height=8, width=8, channels=3), decode_image(encoded(array), channels=3)
    )


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_picture_stands_as_its_exif_orientation_says(orientation: int, turns: int) -> None:
    array, exif = pixels(4)[:, :4], Image.Exif()
    exif[0x0112] = orientation
    found = decode_image(encoded(array, "PNG", exif=exif), channels=3)
    assert np.array_equal(found, np.rot90(array, turns).transpose(2, 0, 1))


def test_16_bits_a_channel_become_8() -> None:
    deep = np.array([[0, 255, 256], [32_768, 65_280, 65_535]], dtype=np.uint16)
    assert decode_image(encoded(deep), channels=1).tolist() == [[[0, 0, 1], [128, 255, 255]]]


def test_transparency_is_dropped() -> None:
    array = np.concatenate([pixels(5), np.zeros((6, 6, 1), np.uint8)], axis=2)
    assert np.array_equal(decode_image(encoded(array), channels=3), pixels(5).transpose(2, 0, 1))


def test_a_palette_with_transparency_warns_of_nothing() -> None:
    image, file = Image.fromarray(pixels(6)).quantize(8), io.BytesIO()
    image.save(file, "PNG", transparency=bytes([0, 128, 255]))
    assert decode_image(file.getvalue(), channels=3).shape == (3, 6, 6)


def test_a_truncated_picture_is_broken_and_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(pixels(7, side=64), "JPEG")[:-400])
    with pytest.raises(DataError, match=r"cut\.jpg: a broken picture \(.*truncated"):
        decode_image(path, channels=3)


def test_what_is_no_picture_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^the picture: no picture: expected JPEG, PNG, BMP, GIF, WEBP\.$"):
        decode_image(b"hello", channels=3)
    with pytest.raises(DataError, match=r"^upload 3: no picture"):
        decode_image(b"", channels=3, name="upload 3")
    with pytest.raises(DataError, match=r"a\.png: there is no such file\."):
        decode_image(tmp_path / "a.png", channels=3)


def test_other_formats_of_pillow_are_not_read() -> None:
    with pytest.raises(DataError, match="no picture: expected JPEG"):
        decode_image(encoded(pixels(8), "TIFF"), channels=3)


def bomb(side: int) -> bytes:
    """Return a PNG of a few bytes whose header claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_200, 10_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_goes_off(side: int) -> None:
    with pytest.raises(DataError, match="is taken for a decompression bomb"):
        decode_image(bomb(side), channels=3)


@given(st.sampled_from(FORMATS), st.data())
def test_damage_gives_a_picture_or_a_data_error_and_nothing_else(form: str, data: st.DataObject) -> None:
    content = bytearray(encoded(pixels(9, side=12), form))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode_image(bytes(content), height=12, width=12, channels=3)
    except DataError:
        return
    assert found.shape == (3, 12, 12)


def test_endings_cover_the_formats() -> None:
    known = {suffix: form for suffix, form in Image.registered_extensions().items() if form in FORMATS}
    assert {known[suffix] for suffix in SUFFIXES} == set(FORMATS)
