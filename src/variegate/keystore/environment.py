"""The provider "environment": the secret comes with each run and the home keeps nothing of it."""

import hmac
from dataclasses import dataclass
from typing import final

from variegate.errors import SecretError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.keystore.secret_sources import SELLER_SECRET, secret_in_environment


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Takes the secret from VARIEGATE_SELLER_SECRET or from the file that VARIEGATE_SELLER_SECRET_FILE names.

    A secret's own variable (VARIEGATE_SELLER_SECRET_<identifier> or its _FILE twin) is preferred, so that the secrets
    before a rotation can be there beside the current one.
    """

    name: str = "environment"

    def create(self, access: Access) -> SellerSecret:
        """Return the environment's secret: whoever runs the home makes it.

        Raises:
            SecretError: if there is none, or it is malformed.
        """
        found = secret_in_environment(access.env)
        if found is None:
            raise SecretError(
                f"there is no seller's secret: put 64 random hexadecimal digits in the file that {SELLER_SECRET}_FILE "
                "names"
            )
        return found

    def store(self, secret: SellerSecret, access: Access) -> bytes:
        """Return nothing: the home keeps nothing, whoever runs it brings the secret."""
        return b""

    def fetch(self, blob: bytes, *, identifier: str, access: Access) -> SellerSecret:
        """Return the environment's secret.

        Raises:
            SecretError: if it holds none, or another one.
        """
        found = secret_in_environment(access.env, identifier=identifier)
        wanted = (
            f"expected the secret {identifier} in {SELLER_SECRET} or {SELLER_SECRET}_{identifier.upper()}, or in a "
        )
        if found is None:
            raise SecretError(f"there is no seller's secret: {wanted}file that one of them with _FILE at its end names")
        if not hmac.compare_digest(found.identifier, identifier):
            raise SecretError(
                f"this is not the right seller's secret: {wanted}file that one of them with _FILE at its end names; "
                f"got {found.identifier}"
            )
        return found
