"""Heads that were made before, kept while they fit into a budget of bytes.

A head of dense messages takes n B l float32 values: 2 MB for 10 classes of 16 messages on (3, 32, 32), 96 MB for 10 of
16 on (3, 224, 224). Making it again costs some milliseconds to seconds, so a server keeps those of the last buyers.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import final

from torch import nn

from variegate.errors import ConfigurationError
from variegate.rewriters.base import AbstractHead

DEFAULT_HEAD_BYTES = 2**30


def head_bytes(head: nn.Module) -> int:
    """Return how many bytes of memory the head's tensors hold, shared memory counted once."""
    storages = (tensor.untyped_storage() for tensor in (*head.buffers(), *head.parameters()))
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@final
class HeadCache:
    """The heads used last, at most `limit_bytes` of them; safe to share between threads.

    A head is measured when it comes in. `.to(device)` moves a head in place: where copies run on several devices, the
    device belongs into the key.

    Args:
        limit_bytes: bytes of all heads together; 0 keeps none.

    Raises:
        ConfigurationError: the limit is negative.
    """

    def __init__(self, *, limit_bytes: int = DEFAULT_HEAD_BYTES) -> None:
        if limit_bytes < 0:
            raise ConfigurationError(f"a cache of heads needs a limit of 0 bytes or more; got {limit_bytes}")
        self.limit_bytes = limit_bytes
        self._heads: OrderedDict[Hashable, tuple[AbstractHead, int]] = OrderedDict()  # the one used last is last
        self._nbytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._heads)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._heads

    def __repr__(self) -> str:
        return f"HeadCache({len(self)} heads, {self._nbytes} of {self.limit_bytes} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes of the heads that are kept."""
        return self._nbytes

    def get(self, key: Hashable, build: Callable[[], AbstractHead]) -> AbstractHead:
        """Return the head of `key`, made by `build` if it is not kept; the heads used longest ago make room for it.

        A head larger than the limit is returned and not kept. Where two threads miss the same key at once both build,
        and both get the head that came in first. An error in `build` is the caller's and changes nothing.
        """
        with self._lock:
            if key in self._heads:
                self._heads.move_to_end(key)
                return self._heads[key][0]
        head = build()
        size = head_bytes(head)
        with self._lock:
            if key in self._heads:
                self._heads.move_to_end(key)
                return self._heads[key][0]
            if size <= self.limit_bytes:
                while self._nbytes + size > self.limit_bytes:
                    _, (_, freed) = self._heads.popitem(last=False)
                    self._nbytes -= freed
                self._heads[key] = (head, size)
                self._nbytes += size
        return head

    def discard(self, key: Hashable) -> None:
        """Forget the head of `key`, if it is kept: a revoked copy's, for instance."""
        with self._lock:
            _, freed = self._heads.pop(key, (None, 0))
            self._nbytes -= freed

    def clear(self) -> None:
        """Forget all heads."""
        with self._lock:
            self._heads.clear()
            self._nbytes = 0
