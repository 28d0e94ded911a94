"""Objects that hold what a key decides do not leave the process by accident."""

import copy
from typing import Any, NoReturn, Self, SupportsIndex

from variegate.errors import SecretError


class NeverPickled:
    """Refuses to be pickled, and so `torch.save` and sending to another process; copies in memory are allowed.

    A head holds a copy's messages: whoever reads them has the copy's secret. What is to be kept or sent is spec, buyer
    and epoch; the seller's secret gives the rest back (`variegate.rewriters.base.rewrite`).
    """

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise SecretError(
            f"a {type(self).__name__} cannot be pickled, because it holds a copy's secret messages; keep the spec and "
            "derive the key again"
        )

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin
