"""Where every error becomes one line on stderr and an exit code.

Exit codes: 0 fine, 1 error, 2 usage, 3 a gate failed, 4 not found, 5 verification failed, 6 quota or permission,
130 interrupted.
"""

import contextlib
import os
import shlex
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from variegate.cli.output import only_results_on_stdout
from variegate.errors import ConfigurationError, VariegateError

DEBUG = "VARIEGATE_DEBUG"
"""Set to 1 to see the traceback of an error."""

_INTERRUPTED = 130
_UNREAD = 141  # as a shell reports a program that SIGPIPE ended
_ORDER = (
    "doctor",
    "quickstart",
    "init",
    "train",
    "model",
    "calibrate",
    "spec",
    "policy",
    "issue",
    "copies",
    "export",
    "verify",
    "certificate",
    "revoke",
    "rotate",
    "supersede",
    "revocations",
    "forget",
    "key",
    "log",
    "db",
    "backup",
    "restore",
    "attack",
    "attacks",
    "audit",
    "reproduce",
    "report",
)
_COMMAND = "variegate.command"


class GuardedGroup(TyperGroup):
    """The top-level group: what any command raises ends here, usage errors aside, which typer prints."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 (typer hides the type)
        """Remember what was typed, for records; then parse."""
        ctx.meta[_COMMAND] = shlex.join(["variegate", *args])
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 (typer hides the type)
        """Return the names in the order in which a seller meets them; others come last."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer hides the type)
        """Run the command and translate what it raises."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except VariegateError as error:
            raise self._failed(error, f"error: {_one_line(error)}", error.exit_code) from error
        except KeyboardInterrupt as error:
            raise self._failed(error, "interrupted", _INTERRUPTED) from error
        except UnicodeEncodeError as error:  # a name with bytes that are no text reached the registry
            line = "error: an argument or option must be text in UTF-8; got other bytes in it"
            raise self._failed(error, line, ConfigurationError.exit_code) from error
        except BrokenPipeError as error:  # whoever read our output has seen enough
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_UNREAD) from error  # not 0: the exit code may be the result, as that of verify
        except OSError as error:  # such as a full disk behind stdout; files of ours have sentences of their own
            reason = error.strerror or type(error).__name__
            raise self._failed(error, f"error: the system refused a step: {reason}", 1) from error
        except Exception as error:
            if isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "format_message"):
                raise  # typer's own: help, usage errors
            what = f"{type(error).__name__}: {_one_line(error)}"
            raise self._failed(error, f"internal error: {what}; run with {DEBUG}=1 for the traceback", 1) from error
        return result

    def _failed(self, error: BaseException, line: str, code: int) -> typer.Exit:
        if os.environ.get(DEBUG) == "1":
            traceback.print_exception(error)
        typer.echo(line, err=True)
        return typer.Exit(code)


class SellerCodeCommand(TyperCommand):
    """A command that runs a seller's own code, which may print: only results go to stdout."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer hides the type)
        """Run the command."""
        with only_results_on_stdout():
            return super().invoke(ctx)


def typed_command(context: typer.Context) -> str:
    """Return the command line as it was typed, quoted for a shell."""
    return str(context.meta.get(_COMMAND, "variegate"))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no further message"
