"""Opens the seller's home for a command, with the secret from the environment, a file or a prompt."""

import os
from pathlib import Path

from variegate.authority.authority import Authority
from variegate.authority.home import Home
from variegate.secret_sources import prompt_terminal, read_secret

__all__ = ["open_desk"]


def open_desk(home: Path, *, read_only: bool = False) -> Authority:
    """Open the home; the secret is asked for only when a step needs it.

    Raises:
        NotFoundError: if the folder is not a home.
    """
    return Authority.open(
        home,
        lambda: read_secret(os.environ, sealed=Home(home).sealed_secret, prompt=prompt_terminal),
        read_only=read_only,
    )
