import pytest
from hypothesis import given
from hypothesis import strategies as st

from variegate.data.images import ReadRequest
from variegate.errors import ConfigurationError, InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "validation"}, '"train" or "test"; got \'validation\''),
        ({"limit": 0}, "limit must be at least 1, or None for all images; got 0"),
        ({"offset": -1}, "offset must be 0 or more; got -1"),
        ({"resize": (0, 4)}, r"\(height, width\), each 1 to 16384 pixels; got \(0, 4\)"),
        ({"resize": (4, 4, 4)}, "resize must be"),
        ({"channels": 4}, "channels must be 1, 3 or None; got 4"),
    ],
)
def test_refuses(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ReadRequest(**options)  # type: ignore[arg-type]


@given(total=st.integers(1, 50), offset=st.integers(0, 60), limit=st.none() | st.integers(1, 60))
def test_window_is_the_slice(total: int, offset: int, limit: int | None) -> None:
    request = ReadRequest(offset=offset, limit=limit)
    expected = list(range(total))[offset : None if limit is None else offset + limit]
    if expected:
        assert list(request.window(total, "x")) == expected
    else:
        with pytest.raises(InputError, match=f"holds {total} images; offset {offset} leaves none"):
            request.window(total, "x")


def test_nothing_to_read() -> None:
    with pytest.raises(InputError, match="x holds no images"):
        ReadRequest().window(0, "x")
