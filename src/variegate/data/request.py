"""`ReadRequest`: which images a caller wants and in what size; shared by all readers."""

from dataclasses import dataclass
from typing import Literal

from variegate.errors import ConfigurationError, InputError

Split = Literal["train", "test"]

MAX_TOTAL_BYTES = 2**33
"""The most bytes of float32 pixels that one call returns (8 GiB)."""

MAX_IMAGE_BYTES = 2**26
"""The most bytes of one encoded image file (64 MiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """What to read: at most `limit` images of `split`, from image `offset` on.

    Attributes:
        split: "train" or "test"; formats that hold one split ignore it.
        limit: the most images to return; None for all.
        offset: how many images to pass over first.
        resize: (height, width) in pixels to bring every image to, bilinear with antialiasing; None keeps the size.
        channels: 1 (grey) or 3 (RGB) to convert to; None keeps grey images grey unless some image has colour.

    Raises:
        ConfigurationError: if an option is out of range.
    """

    split: Split = "test"
    limit: int | None = None
    offset: int = 0
    resize: tuple[int, int] | None = None
    channels: Literal[1, 3] | None = None

    def __post_init__(self) -> None:
        if self.split not in ("train", "test"):
            raise ConfigurationError(f'split must be "train" or "test"; got {self.split!r}')
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"limit must be at least 1, or None for all images; got {self.limit}")
        if self.offset < 0:
            raise ConfigurationError(f"offset must be 0 or more; got {self.offset}")
        if self.resize is not None and (len(self.resize) != 2 or not all(1 <= side <= 2**14 for side in self.resize)):
            raise ConfigurationError(f"resize must be (height, width), each 1 to {2**14} pixels; got {self.resize}")
        if self.channels not in (None, 1, 3):
            raise ConfigurationError(f"channels must be 1, 3 or None; got {self.channels}")

    def window(self, total: int, what: str) -> range:
        """Return the rows to read out of `total`.

        Raises:
            InputError: if there are no rows, or all of them come before the offset.
        """
        if total < 1:
            raise InputError(f"{what} holds no images; expected at least one")
        if self.offset >= total:
            raise InputError(f"{what} holds {total} images; offset {self.offset} leaves none, so give a smaller one")
        return range(self.offset, total if self.limit is None else min(total, self.offset + self.limit))


def check_total(count: int, channels: int, height: int, width: int, what: str) -> None:
    """Refuse a result that would not fit in memory.

    Raises:
        InputError: if float32 (count, channels, height, width) takes more than `MAX_TOTAL_BYTES`.
    """
    need = 4 * count * channels * height * width
    if need > MAX_TOTAL_BYTES:
        raise InputError(
            f"{what}: {count} images of {channels} x {height} x {width} take {need / 2**30:.1f} GiB, more than "
            f"{MAX_TOTAL_BYTES / 2**30:.0f} GiB; give a limit or a smaller resize"
        )
