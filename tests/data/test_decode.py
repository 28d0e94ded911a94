import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFile

from variegate.data import decode
from variegate.data.decode import decode_images, pixels_to_float, resize_arrays
from variegate.data.images import ReadRequest
from variegate.errors import FormatError, InputError


def decode_one(data: bytes, **options: object) -> np.ndarray:
    return decode_images([("row 7", data)], 1, ReadRequest(**options))[0]  # type: ignore[arg-type]


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_come_back_exactly(kind: str, pixels: Callable, png: Callable) -> None:
    array = pixels()
    image = decode_one(png(array, kind))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(np.rint(image * 255), array.transpose(2, 0, 1))


def test_lossless_webp_and_jpeg(pixels: Callable) -> None:
    array = pixels()
    np.testing.assert_array_equal(
        np.rint(decode_one(saved(Image.fromarray(array), "WEBP", lossless=True)) * 255), array.transpose(2, 0, 1)
    )
    grey = np.full((8, 8, 3), 100, dtype=np.uint8)
    assert np.abs(decode_one(saved(Image.fromarray(grey), "JPEG")) * 255 - 100).max() <= 1


def test_every_byte_maps_to_its_255th() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    expected = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(pixels_to_float(every), expected)


def test_palette_transparency_and_one_bit(pixels: Callable) -> None:
    colour = Image.fromarray(pixels())
    assert decode_one(saved(colour.convert("P"))).shape == (3, 6, 5)
    assert decode_one(saved(colour.convert("RGBA"))).shape == (3, 6, 5)
    bits = decode_one(saved(colour.convert("1")))
    assert bits.shape == (1, 6, 5)
    assert set(np.unique(bits)) <= {0.0, 1.0}


def test_grey_stays_grey_alone_and_becomes_colour_in_company(pixels: Callable, png: Callable) -> None:
    grey, colour = pixels(1, channels=1), pixels(2)
    alone = decode_images([("a", png(grey))], 1, ReadRequest())
    assert alone.shape == (1, 1, 6, 5)
    for order in ([grey, colour], [colour, grey]):
        images = decode_images([("x", png(array)) for array in order], 2, ReadRequest())
        assert images.shape == (2, 3, 6, 5)
        for image, array in zip(images, order, strict=True):
            expected = np.broadcast_to(array if array.ndim == 3 else array[..., None], (6, 5, 3)).transpose(2, 0, 1)
            np.testing.assert_array_equal(np.rint(image * 255), expected)


def test_channels_are_converted_on_request(pixels: Callable, png: Callable) -> None:
    assert decode_one(png(pixels(channels=1)), channels=3).shape == (3, 6, 5)
    assert decode_one(png(pixels()), channels=1).shape == (1, 6, 5)


def test_exif_orientation_is_obeyed(pixels: Callable) -> None:
    array = pixels()
    exif = Image.Exif()
    exif[0x0112] = 3  # held upside down
    turned = decode_one(saved(Image.fromarray(array), exif=exif.tobytes()))
    np.testing.assert_array_equal(np.rint(turned * 255), array[::-1, ::-1].transpose(2, 0, 1))


def test_resize_takes_height_then_width(pixels: Callable, png: Callable) -> None:
    data = png(pixels(0, 6, 5))
    for size in ((3, 9), (5, 6), (6, 5)):
        assert decode_one(data, resize=size).shape == (3, *size)


def test_mixed_sizes_name_both_and_resize_helps(pixels: Callable, png: Callable) -> None:
    rows = [("row 0", png(pixels())), ("row 1", png(pixels(1, 4, 5)))]
    with pytest.raises(InputError, match=r"row 1 is 4 x 5 pixels but row 0 is 6 x 5; .* resize"):
        decode_images(rows, 2, ReadRequest())
    assert decode_images(rows, 2, ReadRequest(resize=(6, 5))).shape == (2, 3, 6, 5)


@pytest.mark.parametrize(
    "data", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"], ids=["empty", "text", "eps"]
)
def test_undecodable_names_the_row(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"row 7 cannot be decoded as an image .* expected one of BMP"):
        decode_one(data)


def test_truncated_image(pixels: Callable, png: Callable) -> None:
    with pytest.raises(FormatError, match="row 7 cannot be decoded"):
        decode_one(png(pixels(0, 40, 40))[:-60])


def test_formats_beyond_the_list_are_refused(pixels: Callable, png: Callable) -> None:
    with pytest.raises(FormatError, match="expected one of BMP, GIF, JPEG"):
        decode_one(png(pixels(), "PCX"))


def test_sixteen_bit_is_refused() -> None:
    with pytest.raises(FormatError, match=r"mode 'I;16'; expected 8-bit"):
        decode_one(saved(Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16))))


def test_a_picture_of_too_many_pixels_is_refused_before_decoding(
    pixels: Callable, png: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = png(pixels())
    monkeypatch.setattr(decode, "MAX_PIXELS", 29)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(InputError, match="row 7 is 6 x 5 pixels; expected at most 29"):
        decode_one(data)


def test_a_total_beyond_memory_is_refused(pixels: Callable, png: Callable) -> None:
    with pytest.raises(InputError, match=r"GiB, more than 8 GiB; give a limit or a smaller resize"):
        decode_images([("row 0", png(pixels()))], 10**9, ReadRequest())


def test_fewer_images_than_promised(pixels: Callable, png: Callable) -> None:
    with pytest.raises(FormatError, match="expected 2 images; the data ended after 1"):
        decode_images([("row 0", png(pixels()))], 2, ReadRequest())


def test_resize_arrays_keeps_constants_and_bounds() -> None:
    images = np.stack([np.zeros((3, 4, 4)), np.ones((3, 4, 4)), np.full((3, 4, 4), 0.3)]).astype(np.float32)
    out = resize_arrays(images, ReadRequest(resize=(7, 9)))
    assert out.shape == (3, 3, 7, 9)
    np.testing.assert_allclose(out, np.broadcast_to(images[:, :, :1, :1], out.shape), atol=1e-6)
    assert out.min() >= 0
    assert out.max() <= 1


def test_resize_arrays_converts_channels() -> None:
    images = np.random.default_rng(0).random((2, 3, 4, 4), dtype=np.float32)
    grey = resize_arrays(images, ReadRequest(channels=1))
    np.testing.assert_allclose(
        grey[:, 0], 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2], atol=1e-6
    )
    assert resize_arrays(grey, ReadRequest(channels=3)).shape == (2, 3, 4, 4)
