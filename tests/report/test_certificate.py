"""The certificate of issue: what it states, that texts are escaped, that it holds no secret and loads nothing."""

from variegate.report.certificate import Certificate, render_certificate

COPY = {
    "buyer": "acme",
    "copy_id": "vg1-0123456789abcdef0123",
    "model": "net",
    "model_digest": "sha256:" + "a" * 64,
    "spec_digest": "sha256:" + "b" * 64,
    "epoch": 2,
    "issued_at": "2026-11-23T12:00:00Z",
}


def page(**changes):
    values = {
        "seller": "Seller & <Sons>",
        "copy": COPY,
        "status": "active",
        "expires": None,
        "traceable": True,
        "signing_key": "sha256:" + "c" * 64,
        "log_entries": 1234,
        "log_hash": "sha256:" + "d" * 64,
        "made_at": "2026-11-24T12:00:00Z",
    }
    return render_certificate(Certificate(**{**values, **changes}))


def test_it_states_who_holds_what():
    text = page()
    for fact in ("acme", COPY["copy_id"], COPY["model_digest"], "1,234 entries", "2026-11-24T12:00:00Z", "active"):
        assert fact in text
    assert "Seller &amp; &lt;Sons&gt; issued this copy to acme" in text
    assert "no end stated" in text
    assert "2027-01-01" in page(expires="2027-01-01T00:00:00Z")


def test_a_forgotten_key_is_said():
    assert "can be traced" in page()
    assert "can be traced" not in page(traceable=False)
    assert "cannot trace" in page(traceable=False)


def test_it_promises_no_more_than_the_seller_can_do():
    text = " ".join(page().split())
    assert "can make every issued copy" not in text
    assert "can make every copy again whose key it keeps" in text
    assert "Signing key at issue" in text
    assert "may be signed by a later key" in text


def test_it_loads_nothing():
    text = page()
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert "http://" not in text
