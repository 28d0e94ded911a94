"""A cache of heads keeps those used last within its bytes, and never gives one buyer another's head."""

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.errors import ConfigurationError
from variegate.rewriters.base import AbstractHead, OriginalShape
from variegate.rewriters.cache import DEFAULT_HEAD_BYTES, HeadCache, head_bytes
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import known_key
from variegate.types import InputSpec


class Sized(AbstractHead):
    """A head that holds a given number of bytes."""

    def __init__(self, nbytes):
        super().__init__()
        self.register_buffer("values", torch.zeros(nbytes, dtype=torch.uint8), persistent=False)

    def decode(self, x, scores, features):
        return scores


def never():
    pytest.fail("the head was kept, and must not be built again")


def test_bytes_of_a_head():
    assert head_bytes(Sized(10)) == 10
    shared = Sized(10)
    shared.register_buffer("view", shared.values[:3], persistent=False)
    assert head_bytes(shared) == 10
    shape = OriginalShape(num_classes=10, input_spec=InputSpec((3, 8, 8)))
    dense = QimSpec(messages_per_class=4, projection="dense").build(known_key(0), shape)
    assert 4 * 40 * 192 <= head_bytes(dense) < 1.1 * 4 * 40 * 192


def test_a_head_is_built_once():
    cache = HeadCache(limit_bytes=100)
    head = cache.get("a", lambda: Sized(10))
    assert cache.get("a", never) is head
    assert (len(cache), cache.nbytes, "a" in cache, "b" in cache) == (1, 10, True, False)


def test_the_head_used_longest_ago_makes_room():
    cache = HeadCache(limit_bytes=30)
    for name in "abc":
        cache.get(name, lambda: Sized(10))
    cache.get("a", never)
    cache.get("d", lambda: Sized(15))  # b and c go
    assert [name for name in "abcd" if name in cache] == ["a", "d"]
    assert cache.nbytes == 25


def test_a_head_beyond_the_limit_is_given_and_not_kept():
    cache = HeadCache(limit_bytes=30)
    cache.get("a", lambda: Sized(10))
    assert head_bytes(cache.get("b", lambda: Sized(31))) == 31
    assert ("a" in cache, "b" in cache, cache.nbytes) == (True, False, 10)
    nothing = HeadCache(limit_bytes=0)
    nothing.get("a", lambda: Sized(1))
    assert len(nothing) == 0


def test_discard_and_clear():
    cache = HeadCache(limit_bytes=100)
    for name in "abc":
        cache.get(name, lambda: Sized(10))
    cache.discard("b")
    cache.discard("never there")
    assert ("b" in cache, len(cache), cache.nbytes) == (False, 2, 20)
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_an_error_in_build_changes_nothing():
    cache = HeadCache(limit_bytes=100)

    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.get("a", broken)
    assert (len(cache), cache.nbytes) == (0, 0)


def test_two_threads_that_miss_at_once_get_one_head():
    cache, meet, got = HeadCache(limit_bytes=100), threading.Barrier(2, timeout=10), []

    def build():
        meet.wait()
        return Sized(10)

    threads = [threading.Thread(target=lambda: got.append(cache.get("a", build))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got[0] is got[1]
    assert (len(cache), cache.nbytes) == (1, 10)


@given(st.integers(0, 60), st.lists(st.integers(0, 8), max_size=40))
def test_never_above_the_limit_and_never_anothers_head(limit, keys):
    cache, kept = HeadCache(limit_bytes=limit), {}
    for key in keys:
        head = cache.get(key, lambda key=key: kept.setdefault(key, None) or Sized(5 * key))
        assert head_bytes(head) == 5 * key
        assert cache.nbytes == sum(5 * other for other in range(9) if other in cache) <= limit


def test_settings_and_what_is_shown():
    assert HeadCache().limit_bytes == DEFAULT_HEAD_BYTES
    cache = HeadCache(limit_bytes=64)
    cache.get("secret name", lambda: Sized(8))
    assert repr(cache) == "HeadCache(1 heads, 8 of 64 bytes)"
    with pytest.raises(ConfigurationError, match="limit of 0 bytes or more; got -1"):
        HeadCache(limit_bytes=-1)
