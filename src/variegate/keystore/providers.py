"""The two providers without a token: "sealed_file" keeps the secret under a passphrase, "environment" keeps nothing."""

import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from variegate.errors import InputError, SecretError
from variegate.files import read_bounded
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.keystore.sealing import SEALED_BYTES, SealingCost, seal, unseal
from variegate.keystore.secret_sources import (
    PASSPHRASE,
    SELLER_SECRET,
    read_passphrase,
    secret_in_environment,
    variable_for,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """Seals under a passphrase from VARIEGATE_PASSPHRASE, from its file, or from a person.

    Attributes:
        cost: what one guess of the passphrase costs.
    """

    cost: SealingCost = field(default_factory=SealingCost)
    name: str = "sealed_file"

    def create(self, access: Access) -> SellerSecret:
        """Return a new secret."""
        return SellerSecret.generate()

    def store(self, secret: SellerSecret, access: Access) -> bytes:
        """Return the sealed secret.

        Raises:
            SecretError: if there is no passphrase, or it cannot seal.
        """
        passphrase = read_passphrase(
            access.env,
            prompt=access.prompt,
            confirm=access.confirm,
            variable=variable_for(access.env, PASSPHRASE, secret.identifier),
            question=f"Passphrase for the new secret {secret.identifier}: ",
        )
        return seal(secret, passphrase, cost=self.cost)

    def fetch(self, blob: bytes, *, identifier: str, access: Access) -> SellerSecret:
        """Return the secret in the blob.

        Raises:
            SecretError: if there is no passphrase, it is wrong, or the blob was changed.
        """
        passphrase = read_passphrase(
            access.env,
            prompt=access.prompt,
            variable=variable_for(access.env, PASSPHRASE, identifier),
            question=f"Passphrase of the secret {identifier}: ",
        )
        return unseal(blob, passphrase)


def open_sealed(path: str | Path, access: Access) -> SellerSecret:
    """Return the secret in a sealed file outside any home, such as a backup.

    Raises:
        NotFoundError: if there is no such file.
        SecretError: if it is no sealed secret, there is no passphrase, or it is wrong.
    """
    try:
        blob = read_bounded(path, SEALED_BYTES)
    except InputError as error:
        raise SecretError(f"cannot unseal the seller's secret: {error}") from error
    passphrase = read_passphrase(access.env, prompt=access.prompt, question=f"Passphrase of {path}: ")
    return unseal(blob, passphrase)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Takes the secret from VARIEGATE_SELLER_SECRET or from the file that VARIEGATE_SELLER_SECRET_FILE names.

    A secret's own variable (VARIEGATE_SELLER_SECRET_<identifier> or its _FILE twin) is preferred, so that the secrets
    before a rotation can be there next to the current one.
    """

    name: str = "environment"

    def create(self, access: Access) -> SellerSecret:
        """Return the environment's secret, which the operator of the home makes.

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
        """Return nothing: the home keeps nothing, its operator brings the secret."""
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
