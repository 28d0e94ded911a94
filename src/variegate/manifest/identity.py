"""The public name of a copy: what it is computed from."""

import hashlib


def copy_id(*, model_digest: str, spec_digest: str, buyer: str, epoch: int) -> str:
    """Return the public name of a copy: "vg1-" and 20 hexadecimal digits.

    They are the first 80 bits of SHA-256 over "variegate-copy-v1", both digests, the buyer and the epoch, separated by
    zero bytes (which none of them holds). Whoever knows these can compute the name; it tells nothing of the key.
    """
    fields = "\0".join(("variegate-copy-v1", model_digest, spec_digest, buyer, str(epoch)))
    return f"vg1-{hashlib.sha256(fields.encode()).hexdigest()[:20]}"
