"""Commands and options that users type: none goes away. New ones may come; a renamed one stays as a hidden alias."""

import json
from pathlib import Path

import typer.main

from variegate.cli.main import app

SURFACE = Path(__file__).parent.parent / "golden" / "cli-surface.json"


def surface(group, path=()):
    """Command -> its options and arguments, as they are typed."""
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= surface(command, (*path, name))
        else:
            names = [typed for each in command.params for typed in (*each.opts, *each.secondary_opts)]
            found[" ".join((*path, name))] = sorted(names)
    return found


def test_every_pinned_command_and_option_is_still_there():
    pinned, now = json.loads(SURFACE.read_text()), surface(typer.main.get_command(app))
    missing = {
        command: sorted(set(options) - set(now.get(command, ())))
        for command, options in pinned.items()
        if not set(options) <= set(now.get(command, ())) or command not in now
    }
    assert not missing
