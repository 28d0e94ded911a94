"""Opens the seller's home for a command, with the secret from the environment, a file or a prompt."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from variegate.authority.authority import Authority
    from variegate.keystore.base import Access


def open_desk(home: Path, *, read_only: bool = False) -> "Authority":
    """Open the home; the secret is asked for only when a step needs it.

    Raises:
        NotFoundError: if the folder is not a home.
    """
    from variegate.authority.authority import Authority
    from variegate.authority.home import DATABASE_URL

    url = os.environ.get(DATABASE_URL)
    return Authority.open(home, access=terminal_access(), database_url=url, read_only=read_only)


def terminal_access() -> "Access":
    """Return the access of a command to secrets: the environment, and the terminal or one line of standard input."""
    from variegate.keystore.base import Access
    from variegate.keystore.secret_sources import prompt_terminal

    return Access(env=os.environ, prompt=prompt_terminal, confirm=sys.stdin is not None and sys.stdin.isatty())
