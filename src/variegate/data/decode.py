"""Encoded images (JPEG, PNG, WebP, ...) to one float32 array.

Only plain raster formats are opened: Pillow also knows formats that start other programs (EPS), and those never run
here. A picture that claims more than `MAX_PIXELS` is refused before its pixels are decoded.

Paths that a data set names are kept inside its folder, and files are read with a bound.
"""

import importlib
import io
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from variegate.data.images import MAX_IMAGE_BYTES, ReadRequest, check_total
from variegate.errors import ConfigurationError, FormatError, InputError
from variegate.files import read_bounded


def require(module: str, *, purpose: str, install: str = 'pip install "variegate[data]"') -> ModuleType:
    """Import and return `module`.

    Raises:
        ConfigurationError: if it is not installed; the sentence says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be imported; run: {install}"
        ) from error


IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def inside(folder: Path, name: str, where: str) -> Path:
    """Return `folder / name`, where `name` was read from a data file.

    Raises:
        FormatError: if the name is absolute or climbs out of the folder.
    """
    target = (folder / name.replace("\\", "/")).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise FormatError(f"{where} names the file {name[:120]!r}; expected a path inside {folder}")
    return target


def read_image_file(path: Path) -> bytes:
    """Read one encoded image.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it cannot be read or is larger than 64 MiB.
    """
    return read_bounded(path, MAX_IMAGE_BYTES)


def is_image(path: Path) -> bool:
    """Say whether the name is that of an image file, and not a hidden one."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly in `folder`, sorted by name; hidden files are passed over."""
    return sorted(entry for entry in folder.iterdir() if is_image(entry))


if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 2**26

_GREY = ("1", "L")
_COLOUR = ("CMYK", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held


def decode_images(encoded: Iterable[tuple[str, bytes]], count: int, request: ReadRequest) -> NDArray[np.float32]:
    """Decode `count` images to float32 (count, C, H, W) in [0, 1].

    Args:
        encoded: pairs of (where the image is from, for error messages; the encoded bytes).
        count: how many there will be.
        request: `resize` and `channels` are obeyed; the rest is the caller's part.

    Raises:
        ConfigurationError: if Pillow is missing.
        FormatError: if an image cannot be decoded or fewer than `count` came.
        InputError: if the images differ in size and no `resize` was asked for, or are too large together.
    """
    image_module = require("PIL.Image", purpose="decoding images")
    pixels: NDArray[np.uint8] | None = None
    first = ""
    row = 0
    for where, data in encoded:
        image = _decode(image_module, data, where, request)
        if pixels is None:
            first = where
            check_total(count, image.shape[2], image.shape[0], image.shape[1], where)
            pixels = np.empty((count, *image.shape), dtype=np.uint8)
        if image.shape[:2] != pixels.shape[1:3]:
            raise InputError(
                f"{where} is {image.shape[0]} x {image.shape[1]} pixels but {first} is {pixels.shape[1]} x "
                f"{pixels.shape[2]}; all must have one size, so ask for a resize to (height, width)"
            )
        if image.shape[2] > pixels.shape[3]:  # the first colour image after grey ones
            check_total(count, 3, image.shape[0], image.shape[1], where)
            pixels = np.repeat(pixels, 3, axis=3)
        pixels[row] = image  # a grey image fills all three channels
        row += 1
    if pixels is None or row != count:
        raise FormatError(f"expected {count} images; the data ended after {row}")
    return pixels_to_float(pixels)


def pixels_to_float(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn uint8 (N, H, W, C) in 0 .. 255 into float32 (N, C, H, W) in [0, 1]: each value divided by 255."""
    count, height, width, channels = pixels.shape
    out = np.empty((count, channels, height, width), dtype=np.float32)
    np.divide(pixels.transpose(0, 3, 1, 2), 255.0, out=out, dtype=np.float32)
    return out


def resize_arrays(images: NDArray[np.float32], request: ReadRequest) -> NDArray[np.float32]:
    """Bring float32 (N, C, H, W) in [0, 1] to the size and channels of `request`.

    Grey becomes RGB by repetition; RGB becomes grey with the ITU-R BT.601 luma weights, as Pillow has it.

    Raises:
        ConfigurationError: if a new size is asked for and Pillow is missing.
        InputError: if the result is too large.
    """
    if request.channels == 3 and images.shape[1] == 1:
        images = np.repeat(images, 3, axis=1)
    elif request.channels == 1 and images.shape[1] == 3:
        weights = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)
        images = np.clip(np.einsum("nchw,c->nhw", images, weights)[:, None], 0.0, 1.0)
    if request.resize is None or images.shape[2:] == request.resize:
        return np.ascontiguousarray(images)
    image_module = require("PIL.Image", purpose="resizing images")
    height, width = request.resize
    check_total(len(images), images.shape[1], height, width, "the resized data")
    out = np.empty((*images.shape[:2], height, width), dtype=np.float32)
    for source, target in zip(images.reshape(-1, *images.shape[2:]), out.reshape(-1, height, width), strict=True):
        plane = image_module.fromarray(source)  # float32 (H, W): one plane of 32-bit floats
        target[:] = plane.resize((width, height), image_module.Resampling.BILINEAR)
    return np.clip(out, 0.0, 1.0, out=out)


def _decode(image_module: ModuleType, data: bytes, where: str, request: ReadRequest) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 1 or 3)."""
    try:
        with image_module.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_pixels(opened, where)
            if opened.getexif().get(_ORIENTATION, 1) != 1:
                opened = require("PIL.ImageOps", purpose="turning images").exif_transpose(opened)  # noqa: PLW2901
            image = _convert(opened, where, request.channels)
            if request.resize is not None and image.size != request.resize[::-1]:
                image = image.resize(request.resize[::-1], image_module.Resampling.BILINEAR)
            array = np.asarray(image, dtype=np.uint8)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error and more
        reason = " ".join(str(error).split())[:120]
        raise FormatError(
            f"{where} cannot be decoded as an image ({len(data)} bytes, {reason}); expected one of {', '.join(FORMATS)}"
        ) from error
    return array[..., None] if array.ndim == 2 else array


def _check_pixels(image: "Image", where: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{where} is {height} x {width} pixels; expected at most {MAX_PIXELS} pixels")


def _convert(image: "Image", where: str, channels: Literal[1, 3] | None) -> "Image":
    if image.mode not in _GREY + _COLOUR:
        raise FormatError(f"{where} has pixels of mode {image.mode!r}; expected 8-bit grey or colour, so convert it")
    if channels is None:
        channels = 1 if image.mode in _GREY else 3
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # a palette's transparency is only understood this way; alpha is dropped next
    target = "L" if channels == 1 else "RGB"
    return image if image.mode == target else image.convert(target)
