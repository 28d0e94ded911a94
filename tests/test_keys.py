import copy
import hashlib
import hmac
import json
import math
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import keys_reference as reference
from tests.raising import raises
from variegate.errors import InputError, SecretError
from variegate.keys import (
    CopyKey,
    KeyContext,
    Purpose,
    SellerSecret,
    derangement,
    distinct_below,
    integers_below,
    permutation,
    signs,
    uniform24,
)
from variegate.keys.hkdf import KeyedHash, hkdf

GOLDEN = json.loads((Path(__file__).parent / "golden" / "keys-v1.json").read_bytes())
KEY = CopyKey.from_bytes(bytes.fromhex(GOLDEN["copy_key"]))
CONTEXT = KeyContext(**GOLDEN["context"])

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
contexts = st.builds(
    KeyContext, model_digest=texts, rewriter=texts, spec_digest=texts, buyer=texts, epoch=st.integers(0, 2**63 - 1)
)
secret_bytes = st.binary(min_size=32, max_size=32)
draws = st.just(0) | st.integers(0, 2**31 - 1)
streams = st.tuples(st.sampled_from(Purpose), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


# The reference itself


def test_reference_chacha20_gives_the_block_of_rfc_8439():
    block = reference.chacha20_block(bytes(range(32)), 1, bytes.fromhex("000000090000004a00000000"))
    assert block.hex() == (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )


def test_reference_hkdf_gives_the_vectors_of_rfc_5869():
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))
    assert reference.hkdf(b"\x0b" * 22, salt, info, 42).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert reference.hkdf(b"\x0b" * 22, b"", b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_reference_gives_the_golden_vectors():
    assert json.loads(reference.as_file()) == GOLDEN


# Known answers


def test_golden_derivation():
    secret = SellerSecret.from_bytes(bytes.fromhex(GOLDEN["secret"]))
    assert secret.identifier == GOLDEN["secret_identifier"]
    assert CONTEXT.info().hex() == GOLDEN["info"]
    derived = secret.derive(CONTEXT)
    assert derived.reveal().hex() == GOLDEN["copy_key"]
    assert derived.identifier == GOLDEN["copy_key_identifier"]
    assert {label: derived.subkey(label).reveal().hex() for label in GOLDEN["subkeys"]} == GOLDEN["subkeys"]


@pytest.mark.parametrize("case", GOLDEN["salts_and_draws"], ids=lambda case: f"{case['salt']}-{case['draw']}")
def test_golden_salts_and_draws(case):
    secret = SellerSecret.from_bytes(bytes.fromhex(GOLDEN["secret"]))
    salt = None if case["salt"] is None else bytes.fromhex(case["salt"])
    derived = secret.derive(CONTEXT, salt=salt, draw=case["draw"])
    assert derived.reveal().hex() == case["copy_key"]
    assert derived.identifier == case["identifier"]


def test_what_signs_is_not_touched_by_the_quick_hkdf():
    # 48 bytes take two blocks; the reference is written from RFC 5869.
    for length in (1, 32, 33, 48, 64, 65, 8160):
        mine = hkdf(bytes(range(32)), b"info", length)
        assert mine == reference.hkdf(bytes(range(32)), b"", b"info", length)


@pytest.mark.parametrize("case", GOLDEN["keystream"], ids=str)
def test_golden_keystream(case):
    assert KEY.keystream(*case["stream"], *case["arguments"]).hex() == case["out"]


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (signs, np.int8),
        (uniform24, np.float32),
        (integers_below, np.int64),
        (distinct_below, np.int64),
        (permutation, np.int64),
        (derangement, np.int64),
    ],
)
def test_golden_numbers(function, dtype):
    for case in GOLDEN[function.__name__]:
        drawn = function(KEY, *case["stream"], *case["arguments"])
        assert drawn.dtype == dtype
        exact = drawn.astype(np.float64) * 2**24 if function is uniform24 else drawn
        assert exact.tolist() == case["out"]


def test_golden_long_streams():
    # ~1 MB: what the short vectors cannot see, such as the block counter beyond one byte.
    def sha256(array: np.ndarray) -> str:
        return hashlib.sha256(array.astype(f"<{array.dtype.str[1:]}").tobytes()).hexdigest()[:16]

    assert hashlib.sha256(KEY.keystream(Purpose.MESSAGE, 1, 1, 1 << 20)).hexdigest()[:16] == "a117cf9866461f94"
    assert sha256(permutation(KEY, Purpose.PERMUTATION, 0, 0, 100_000)) == "a730c2f335d5d7d6"
    assert sha256(distinct_below(KEY, Purpose.HADAMARD_ROWS, 0, 0, 2**18, 16_000)) == "4071e0555efadbaa"


def test_purposes_are_never_renumbered():
    assert {p.name: p.value for p in Purpose} == {
        "MESSAGE": 1,
        "DITHER": 2,
        "PERMUTATION": 3,
        "HADAMARD_SIGNS": 4,
        "HADAMARD_ROWS": 5,
        "SPARSE": 6,
        "WEIGHT": 7,
    }


# Against the reference


@given(secret=st.binary(max_size=100), salt=st.none() | st.binary(max_size=100), info=st.binary(max_size=300))
def test_hkdf_equals_the_reference(secret, salt, info):
    assert hkdf(secret, info, 50, salt=salt) == reference.hkdf(secret, salt or b"", info, 50)


@given(key=st.binary(max_size=64), messages=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_a_keyed_hash_is_hmac(key, messages):
    keyed = KeyedHash(key)
    assert [keyed.digest(m) for m in messages] == [hmac.digest(key, m, "sha256") for m in messages]


@given(secret=secret_bytes, context=contexts, salt=st.none() | st.binary(min_size=16, max_size=16), draw=draws)
def test_salts_and_draws_equal_the_reference(secret, context, salt, draw):
    fields = {name: getattr(context, name) for name in reference.CONTEXT}
    derived = SellerSecret.from_bytes(secret).derive(context, salt=salt, draw=draw)
    assert derived.reveal() == reference.derive(secret, fields, salt, draw)


@given(secret=secret_bytes, context=contexts)
def test_derivation_equals_the_reference(secret, context):
    fields = {name: getattr(context, name) for name in reference.CONTEXT}
    assert context.info() == reference.info(fields)
    derived = SellerSecret.from_bytes(secret).derive(context)
    assert derived.reveal() == reference.hkdf(secret, b"", reference.info(fields), 32)
    assert derived.identifier == reference.identifier(derived.reveal(), "copy")
    assert derived.subkey(context.buyer).reveal() == reference.subkey(derived.reveal(), context.buyer)


@given(key=secret_bytes, stream=streams, count=st.integers(0, 200))
def test_streams_equal_the_reference(key, stream, count):
    mine = CopyKey.from_bytes(key)
    assert mine.keystream(*stream, count) == reference.Stream(key, *stream).take(count)
    assert signs(mine, *stream, count).tolist() == reference.signs(reference.Stream(key, *stream), count)
    words = reference.uniform24(reference.Stream(key, *stream), count)
    assert (uniform24(mine, *stream, count) * 2**24).tolist() == words


bounds = st.integers(1, 50) | st.integers(1, 2**32) | st.sampled_from([2**32, 2**31 + 1, 3 * 2**30])


@given(key=secret_bytes, stream=streams, bound=bounds, count=st.integers(0, 40))
def test_integers_equal_the_reference(key, stream, bound, count):
    mine = integers_below(CopyKey.from_bytes(key), *stream, bound, count)
    assert mine.tolist() == reference.integers_below(reference.Stream(key, *stream), bound, count)


@given(key=secret_bytes, stream=streams, bound=bounds, count=st.integers(0, 40), window=st.integers(1, 50))
def test_distinct_integers_equal_the_reference(key, stream, bound, count, window):
    count = min(count, bound)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("variegate.keys.streams._WINDOW", window)
        mine = distinct_below(CopyKey.from_bytes(key), *stream, bound, count)
    assert mine.tolist() == reference.distinct_below(reference.Stream(key, *stream), bound, count)


@given(key=secret_bytes, purpose=st.sampled_from(Purpose), index=st.integers(0, 2**22 - 1), n=st.integers(2, 12))
def test_derangements_equal_the_reference(key, purpose, index, n):
    mine = derangement(CopyKey.from_bytes(key), purpose, 4, index, n)
    assert mine.tolist() == reference.derangement(key, purpose, 4, index, n)


# Properties


@given(stream=streams, n=st.integers(1, 300))
def test_a_permutation_is_one(stream, n):
    assert sorted(permutation(KEY, *stream, n).tolist()) == list(range(n))


@given(n=st.integers(2, 100), index=st.integers(0, 2**22 - 1))
def test_a_derangement_is_a_permutation_without_fixed_point(n, index):
    drawn = derangement(KEY, Purpose.PERMUTATION, 0, index, n).tolist()
    assert sorted(drawn) == list(range(n))
    assert all(i != j for i, j in enumerate(drawn))


DRAWS: list[Callable[..., Any]] = [
    lambda *a: np.frombuffer(KEY.keystream(*a), dtype=np.uint8),
    lambda *a: signs(KEY, *a),
    lambda *a: uniform24(KEY, *a),
    lambda *a: integers_below(KEY, *a[:3], 2**31 + 1, a[3]),
    lambda *a: integers_below(KEY, *a[:3], 10, a[3]),
    lambda *a: distinct_below(KEY, *a[:3], 3 * 2**30, a[3]),
    lambda *a: distinct_below(KEY, *a[:3], 200, a[3]),
]


@given(draw=st.sampled_from(DRAWS), stream=streams, short=st.integers(0, 200), long=st.integers(0, 200))
def test_more_values_begin_with_fewer(draw, stream, short, long):
    short, long = min(short, long), max(short, long)
    assert np.array_equal(draw(*stream, long)[:short], draw(*stream, short))


@given(first=streams, second=streams)
def test_different_streams_share_nothing(first, second):
    same = KEY.keystream(*first, 16) == KEY.keystream(*second, 16)
    assert same == (first == second)


def test_neighbouring_streams_are_different():
    drawn = {
        KEY.keystream(p, c, i, 16) for p in Purpose for c in (0, 1, 256, 2**32 - 1) for i in (0, 1, 256, 2**32 - 1)
    }
    assert len(drawn) == len(Purpose) * 16


@given(first=contexts, second=contexts)
def test_different_contexts_give_different_keys(first, second):
    secret = SellerSecret.from_bytes(bytes(32))
    assert (first.info() == second.info()) == (first == second)
    assert (secret.derive(first) == secret.derive(second)) == (first == second)


@pytest.mark.parametrize("field", ["model_digest", "rewriter", "spec_digest", "buyer", "epoch"])
def test_every_field_of_the_context_counts(field):
    secret = SellerSecret.from_bytes(bytes(32))
    other = replace(CONTEXT, **{field: 8 if field == "epoch" else "other"})
    assert secret.derive(CONTEXT) != secret.derive(other)


@pytest.mark.parametrize(("left", "right"), list(pairwise(("model_digest", "rewriter", "spec_digest", "buyer"))))
def test_length_prefixes_keep_fields_apart(left, right):
    # Moving a letter from one field to its neighbour must give another key.
    secret = SellerSecret.from_bytes(bytes(32))
    one = replace(CONTEXT, **{left: "ab", right: "c"})
    two = replace(CONTEXT, **{left: "a", right: "bc"})
    assert one.info() != two.info()
    assert secret.derive(one) != secret.derive(two)


def test_the_buyer_and_the_epoch_do_not_run_together():
    assert replace(CONTEXT, buyer="b1", epoch=2).info() != replace(CONTEXT, buyer="b", epoch=12).info()


def test_integers_have_no_modulo_bias():
    # With words taken modulo 3 * 2**30 without rejection, half of the values would lie below 2**30; a third should.
    drawn = integers_below(KEY, Purpose.MESSAGE, 0, 0, 3 * 2**30, 30_000)
    share = float(np.mean(drawn < 2**30))
    assert abs(share - 1 / 3) < 5 * math.sqrt(2 / 9 / 30_000)


def test_numbers_are_fair():
    count = 100_000
    assert abs(signs(KEY, Purpose.MESSAGE, 0, 0, count).astype(int).sum()) < 5 * math.sqrt(count)
    uniform = uniform24(KEY, Purpose.DITHER, 0, 0, count)
    assert 0.0 <= uniform.min() < uniform.max() < 1.0
    assert abs(float(uniform.astype(np.float64).mean()) - 0.5) < 5 * math.sqrt(1 / 12 / count)


@pytest.mark.parametrize(("draw", "outcomes"), [(permutation, 24), (derangement, 9)])
def test_permutations_of_four_are_uniform(draw, outcomes):
    count = 4000
    found = Counter(tuple(draw(KEY, Purpose.PERMUTATION, 1, index, 4).tolist()) for index in range(count))
    assert len(found) == outcomes
    expected = count / outcomes
    chi2 = sum((n - expected) ** 2 / expected for n in found.values())
    assert chi2 < outcomes - 1 + 5 * math.sqrt(2 * (outcomes - 1))


def test_derangements_of_other_indices_share_no_draw():
    # Index i + 1 must not be what index i would have tried next.
    drawn = [tuple(derangement(KEY, Purpose.PERMUTATION, 0, index, 43).tolist()) for index in range(40)]
    assert len(set(drawn)) == len(drawn)


def test_a_permutation_of_one_and_counts_of_zero():
    assert permutation(KEY, Purpose.PERMUTATION, 0, 0, 1).tolist() == [0]
    for draw in DRAWS:
        assert len(draw(Purpose.MESSAGE, 0, 0, 0)) == 0


def test_results_can_be_changed_by_their_owner():
    for draw in DRAWS[1:]:
        draw(Purpose.MESSAGE, 0, 0, 4)[0] = 0


def test_numpy_integers_are_integers():
    assert KEY.keystream(Purpose.MESSAGE, np.int64(1), np.uint8(2), np.int32(8)) == KEY.keystream(1, 1, 2, 8)


# Secrets stay secret


@pytest.mark.parametrize("cls", [SellerSecret, CopyKey])
class TestHidden:
    def test_repr_and_format_hide_it(self, cls):
        value = cls.from_bytes(b"\xab" * 32)
        for text in (repr(value), str(value), f"{value}", f"{value!r:>60}", "%s" % value):  # noqa: UP031
            assert text.strip() == f"{cls.__name__}(<hidden>)"

    def test_does_not_pickle(self, cls):
        value = cls.from_bytes(bytes(32))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with raises(SecretError, "pickled"):
                pickle.dumps(value, protocol)

    def test_is_no_json(self, cls):
        with pytest.raises(TypeError):
            json.dumps(cls.from_bytes(bytes(32)))

    def test_copies_are_itself(self, cls):
        value = cls.from_bytes(bytes(32))
        assert copy.copy(value) is value
        assert copy.deepcopy([value])[0] is value

    def test_does_not_change(self, cls):
        value = cls.from_bytes(bytes(32))
        with raises(AttributeError, "changed"):
            value._secret = b""
        with raises(AttributeError, "changed"):
            del value._secret
        with pytest.raises(AttributeError):
            value.other = 1
        assert not hasattr(value, "__dict__")

    def test_equality_and_hash(self, cls):
        one, same, other = (cls.from_bytes(b) for b in (bytes(32), bytearray(32), b"\1" * 32))
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
        assert len({one, same, other}) == 2
        assert one != bytes(32)

    def test_equality_takes_constant_time(self, cls, monkeypatch):
        called = []
        monkeypatch.setattr("hmac.compare_digest", lambda a, b: called.append((bytes(a), bytes(b))) or True)
        assert cls.from_bytes(bytes(32)) == cls.from_bytes(b"\1" * 32)
        assert called == [(bytes(32), b"\1" * 32)]

    def test_identifier_names_it_and_tells_nothing(self, cls):
        value = cls.from_bytes(b"\xab" * 32)
        assert len(bytes.fromhex(value.identifier)) == 8
        assert value.identifier != cls.from_bytes(bytes(32)).identifier
        assert "abab" not in value.identifier

    @pytest.mark.parametrize("bad", [b"", bytes(31), bytes(33), bytes(64)])
    def test_other_lengths_are_refused(self, cls, bad):
        with raises(SecretError, "32 bytes", f"{len(bad)} bytes"):
            cls.from_bytes(bad)

    @pytest.mark.parametrize("bad", ["00" * 32, None, 32, [0] * 32])
    def test_other_types_are_refused(self, cls, bad):
        with raises(SecretError, "32 bytes", type(bad).__name__) as caught:
            cls.from_bytes(bad)
        assert "0000" not in str(caught.value)

    def test_the_class_is_not_called(self, cls):
        with raises(SecretError, "from_bytes"):
            cls()


@pytest.mark.parametrize("cls", [SellerSecret, CopyKey])
class TestWiping:
    def test_the_bytes_are_overwritten(self, cls):
        value = cls.from_bytes(b"\xab" * 32)
        view = memoryview(value._secret)  # the memory itself, as somebody who uses it meanwhile would see it
        assert not value.is_wiped
        value.wipe()
        assert view == bytes(32)
        assert value.is_wiped

    def test_the_end_of_its_life_overwrites_them_too(self, cls):
        value = cls.from_bytes(b"\xab" * 32)
        kept = value._secret
        del value
        assert kept == bytes(32)

    def test_nothing_works_afterwards(self, cls):
        value, other = cls.from_bytes(bytes(32)), cls.from_bytes(bytes(32))
        value.wipe()
        value.wipe()
        for use in (
            value.reveal,
            value.duplicate,
            lambda: value == other,
            lambda: other == value,
            lambda: value.identifier,
            lambda: hash(value),
            lambda: value.derive(CONTEXT) if cls is SellerSecret else value.keystream(Purpose.MESSAGE, 0, 0, 1),
            lambda: value.derive(CONTEXT) if cls is SellerSecret else value.subkey("a"),
        ):
            with raises(SecretError, "wiped"):
                use()
        assert repr(value) == f"{cls.__name__}(<hidden>)"
        assert other.reveal() == bytes(32)

    def test_a_name_that_is_known_stays(self, cls):
        value = cls.from_bytes(bytes(32))
        name, number = value.identifier, hash(value)
        value.wipe()
        assert value.identifier == name
        assert hash(value) == number

    def test_a_duplicate_lives_on(self, cls):
        value = cls.from_bytes(b"\1" * 32)
        other = value.duplicate()
        assert type(other) is cls
        assert other is not value
        assert other == value
        value.wipe()
        assert other.reveal() == b"\1" * 32

    def test_the_caller_s_bytes_are_not_shared(self, cls):
        given_bytes = bytearray(b"\1" * 32)
        value = cls.from_bytes(given_bytes)
        given_bytes[:] = bytes(32)
        assert value.reveal() == b"\1" * 32


def test_a_wiped_secret_derives_nothing_from_what_it_remembered():
    secret = SellerSecret.from_bytes(bytes(32))
    before = secret.derive(CONTEXT)
    assert secret.derive(CONTEXT) == before
    secret.wipe()
    with raises(SecretError, "seller", "wiped"):
        secret.derive(CONTEXT)
    assert before.reveal() != bytes(32)


def test_salts_and_draws_give_unrelated_keys():
    secret = SellerSecret.from_bytes(bytes(32))
    salts = (None, bytes(16), b"\1" * 16)
    drawn = {secret.derive(CONTEXT, salt=salt, draw=draw) for salt in salts for draw in (0, 1, 2)}
    assert len(drawn) == 9
    assert secret.derive(CONTEXT, salt=None, draw=0) == secret.derive(CONTEXT)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"salt": b""}, ["salt", "16 bytes", "0 bytes"]),
        ({"salt": bytes(17)}, ["salt", "17 bytes"]),
        ({"salt": "0" * 16}, ["salt", "str"]),
        ({"draw": -1}, ["draw", "0..2147483647", "-1"]),
        ({"draw": 2**31}, ["draw", "2147483648"]),
        ({"draw": "1"}, ["draw", "str"]),
    ],
)
def test_bad_salts_and_draws(options, named):
    with raises(InputError, *named):
        SellerSecret.from_bytes(bytes(32)).derive(CONTEXT, **options)


def test_a_long_key_of_the_hash_is_refused():
    with raises(InputError, "64", "65"):
        KeyedHash(bytes(65))


def test_a_secret_and_a_key_of_the_same_bytes_are_different_things():
    secret, key = SellerSecret.from_bytes(bytes(32)), CopyKey.from_bytes(bytes(32))
    assert secret != key
    assert secret.identifier != key.identifier


def test_generated_secrets_are_different():
    assert len({SellerSecret.generate() for _ in range(20)}) == 20


def test_subkeys_are_unrelated():
    assert len({KEY, KEY.subkey("a"), KEY.subkey("b"), KEY.subkey("a").subkey("b")}) == 4


def test_a_context_is_frozen():
    with pytest.raises(FrozenInstanceError):
        CONTEXT.buyer = "other"


# A caller's mistakes


@pytest.mark.parametrize("field", ["model_digest", "rewriter", "spec_digest", "buyer"])
@pytest.mark.parametrize(
    ("bad", "got"),
    [("", "0 characters"), ("x" * 4097, "4097 characters"), (None, "NoneType"), ("\ud800", "surrogate")],
)
def test_a_context_refuses_bad_text(field, bad, got):
    with raises(InputError, field, got):
        replace(CONTEXT, **{field: bad})


@pytest.mark.parametrize("bad", [-1, 2**63, 1.0, "1", None, True])
def test_a_context_refuses_a_bad_epoch(bad):
    with raises(InputError, "epoch"):
        replace(CONTEXT, epoch=bad)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: KEY.keystream(Purpose.MESSAGE, -1, 0, 1), ["class index", "0..4294967295", "-1"]),
        (lambda: KEY.keystream(Purpose.MESSAGE, 0, 2**32, 1), ["index", "0..4294967295", "4294967296"]),
        (lambda: KEY.keystream(Purpose.MESSAGE, 0, 0, -1), ["byte count", "-1"]),
        (lambda: KEY.keystream(Purpose.MESSAGE, 0, 0, 2**40), ["byte count", "0..1073741824"]),
        (lambda: KEY.keystream(Purpose.MESSAGE, 0, 0, 1.0), ["byte count", "float"]),
        (lambda: KEY.keystream(0, 0, 0, 1), ["purpose", "MESSAGE", "0"]),
        (lambda: KEY.keystream(99, 0, 0, 1), ["purpose", "99"]),
        (lambda: KEY.subkey(""), ["subkey's label", "1 to 4096 characters", "0"]),
        (lambda: signs(KEY, Purpose.MESSAGE, 0, 0, -1), ["count of signs", "-1"]),
        (lambda: uniform24(KEY, Purpose.MESSAGE, 0, 0, -1), ["count of numbers", "-1"]),
        (lambda: integers_below(KEY, Purpose.MESSAGE, 0, 0, 0, 1), ["bound", "1..4294967296", "0"]),
        (lambda: integers_below(KEY, Purpose.MESSAGE, 0, 0, 2**32 + 1, 1), ["bound", "4294967297"]),
        (lambda: integers_below(KEY, Purpose.MESSAGE, 0, 0, 5, -1), ["count of integers", "-1"]),
        (lambda: distinct_below(KEY, Purpose.MESSAGE, 0, 0, 5, 6), ["different integers", "0..5", "6"]),
        (lambda: permutation(KEY, Purpose.PERMUTATION, 0, 0, 0), ["permutation's length", "0"]),
        (lambda: derangement(KEY, Purpose.PERMUTATION, 0, 0, 1), ["derangement's length", "2..", "1"]),
        (lambda: derangement(KEY, Purpose.PERMUTATION, 0, 2**22, 5), ["index", "0..4194303", "4194304"]),
    ],
)
def test_bad_arguments_are_refused(call, named):
    with raises(InputError, *named):
        call()
