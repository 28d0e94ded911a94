"""The certificate of issue: one page for a buyer that says which copy he holds, and that it can be traced."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from variegate.report.page import render_template


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate states. Nothing of it is secret.

    Attributes:
        seller: the seller's name, as it should stand on the page.
        copy: the copy's manifest, as a JSON object.
        status: where the copy stands in its life.
        expires: until when it is valid, such as "2027-01-31T12:00:00Z", or None.
        traceable: whether its key can be derived, which tracing needs.
        signing_key: the digest of the seller's key that signed artifacts when the copy was issued; it comes from the
            same secret as the copy.
        log_entries: how many entries the seller's log had when the page was made.
        log_hash: the hash of the last one.
        made_at: when the page was made.
    """

    seller: str
    copy: Mapping[str, Any]
    status: str
    expires: str | None
    traceable: bool
    signing_key: str
    log_entries: int
    log_hash: str
    made_at: str


def render_certificate(certificate: Certificate) -> str:
    """The page as self-contained HTML, one sheet when printed; every text is escaped."""
    copy = certificate.copy
    facts = {
        "Buyer": copy["buyer"],
        "Copy": copy["copy_id"],
        "Of the classifier": copy["model"],
        "Its digest": copy["model_digest"],
        "Rewriter's spec": copy["spec_digest"],
        "Epoch": copy["epoch"],
        "Issued": copy["issued_at"],
        "Valid until": certificate.expires or "no end stated",
        "State": certificate.status,
        "Signing key at issue": certificate.signing_key,
        "Seller's log": f"{certificate.log_entries:,} entries, the last {certificate.log_hash}",
    }
    title = f"Certificate of issue: {copy['copy_id']}"
    return render_template("certificate.html.j2", title=title, certificate=certificate, facts=facts, copy=copy)
