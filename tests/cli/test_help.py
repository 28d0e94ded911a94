"""Every command explains itself with an example, and typing errors are usage errors."""

import pytest
import typer.main
from typer.testing import CliRunner

import variegate
from variegate.cli.entrypoint import SellerCodeCommand
from variegate.cli.main import app


def commands(group=None, path=()):
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def test_top_level(golden, invoke):
    golden("cli-help.txt", invoke("--help").stdout.encode())


def test_version(invoke):
    assert invoke("--version").stdout == f"variegate {variegate.__version__}\n"


def test_all_commands_are_there():
    assert sorted(" ".join(path) for path in COMMANDS) == [
        "attack",
        "attacks",
        "audit collude",
        "audit cross-check",
        "audit replicate",
        "backup",
        "calibrate",
        "certificate",
        "copies ls",
        "copies show",
        "db status",
        "db upgrade",
        "doctor",
        "export",
        "forget",
        "init",
        "issue",
        "key adopt",
        "key create",
        "key export",
        "key ls",
        "key rotate",
        "log head",
        "log ls",
        "log verify",
        "model import",
        "model ls",
        "model show",
        "policy create",
        "policy ls",
        "policy show",
        "quickstart",
        "report",
        "reproduce",
        "restore",
        "revocations",
        "revoke",
        "rotate",
        "spec ls",
        "spec save",
        "spec show",
        "supersede",
        "train",
        "verify",
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_shows_an_example_of_itself(invoke, path):
    text = invoke(*path, "--help").stdout
    assert f"Examples:\n    variegate {' '.join(path)}" in text


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_explained(path):
    assert [option.name for option in COMMANDS[path].params if not getattr(option, "help", None)] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_prints_json(path):
    assert "--json" in {name for option in COMMANDS[path].params for name in option.opts}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_secret_is_ever_a_flag(path):
    names = {name for option in COMMANDS[path].params for name in option.opts}
    assert not {name for name in names if "passphrase" in name or name in ("--secret", "--key")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dispense"], "No such command 'dispense'"),
        (["issue"], "Missing option '--model'"),
        (["issue", "--model", "net", "--spec", "s", "--count", "0"], "'--count'"),
        (["copies", "ls", "--status", "lost"], "'--status'"),
        (["copies", "ls", "--nope"], "No such option: --nope"),
        (["attack", "hsj", "--model", "net", "--data", "digits", "--norm", "l7"], "'--norm'"),
        (["model", "show"], "Missing argument"),
        (["issue", "--model", "net", "--spec", "s", "--buyer", "a", "--epoch", "9" * 20], "'--epoch'"),
        (["issue", "--model", "net", "--spec", "s", "--count", "1000000000"], "'--count'"),
        (["copies", "ls", "--offset", "9" * 20], "'--offset'"),
        (["copies", "ls", "--limit", "9" * 20], "'--limit'"),
        (["audit", "replicate", "--model", "n", "--data", "d", "--rewriters", "q", "--seed", "-1"], "'--seed'"),
        (["calibrate", "--model", "n", "--data", "d", "--rewriter", "q", "--seed", "2147483648"], "'--seed'"),
        (["attack", "hsj", "--model", "n", "--data", "d", "--seed", "-1"], "'--seed'"),
        (["attack", "hsj", "--model", "n", "--data", "d", "--device", "tpu"], "'--device'"),
        (["export", "vg1-x", "--format", "pickle", "--out", "o"], "'--format'"),
        (["rotate", "--model", "n", "--spec", "s", "--all", "--epoch", "1"], "'--epoch'"),
        (["revocations", "--out", "r", "--days", "nan"], "'--days'"),
        (["revocations", "--out", "r", "--days", "inf"], "'--days'"),
        (["revocations", "--out", "r", "--days", "-1"], "'--days'"),
        (["verify", "a", "--public-key", "k", "--skew", "nan"], "'--skew'"),
        (["verify", "a", "--public-key", "k", "--skew", "-1"], "'--skew'"),
        (["policy", "create", "p", "--spec", "s", "--quota", "1.5"], "'--quota'"),
        (["log", "ls", "--after", "-1"], "'--after'"),
    ],
    ids=str,
)
def test_usage_errors(arguments, message):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [[], ["copies"], ["db"], ["key"], ["log"], ["model"], ["policy"]], ids=str)
def test_no_arguments_show_the_help(arguments):
    result = CliRunner().invoke(app, arguments)
    assert "Commands:" in result.output


@pytest.mark.parametrize(
    "path",
    [
        ("attack",),
        ("audit", "collude"),
        ("audit", "cross-check"),
        ("audit", "replicate"),
        ("calibrate",),
        ("export",),
        ("model", "import"),
        ("train",),
    ],
)
def test_what_a_sellers_code_prints_stays_off_stdout(path):
    assert isinstance(COMMANDS[path], SellerCodeCommand)


def test_only_rewriters_that_can_be_calibrated_are_offered():
    from variegate.rewriters.catalog import REWRITERS

    (option,) = [option for option in COMMANDS["calibrate",].params if option.name == "rewriter"]
    assert option.help == "qim, permutation or spread_spectrum."
    assert {name for name, kind in REWRITERS.items() if kind.proposes()} == {"qim", "permutation", "spread_spectrum"}
