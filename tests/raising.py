"""`raises`: an error of this class that names these fields, whatever its sentence says around them."""

from typing import Any

import pytest


def raises(expected: type[BaseException] | tuple[type[BaseException], ...], *names: str) -> Any:
    """Expect an error of class `expected` whose message holds every one of `names`.

    A name is a field, an option, a file or a value that the reader of the sentence must find in it, not its wording.
    """

    def check(error: BaseException) -> bool:
        missing = [name for name in names if name not in str(error)]
        if missing:
            pytest.fail(f"the error names no {', '.join(missing)}: {error}")
        return True

    return pytest.raises(expected, check=check)
