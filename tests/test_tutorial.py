"""docs/guide/first-hour.md, as a newcomer would type it: every block, in order, in one folder.

A block of `bash` is run with `set -eu`; what it exports is there in the blocks behind it. It must end with 0, or with
the code of its first line, such as `# exit 5`. A block of `text` behind it holds lines of its standard output, in
order; `…` stands for anything.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "first-hour.md"
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"# exit (?P<code>[0-9]+)\n")
NEEDED = ("model_signing", "OpenSSL", "onnx", "onnxruntime", "onnxscript", "pyarrow", "PIL")
SECONDS = 600  # for one block; a shared machine is slow
IMAGES = 1000


@dataclass(frozen=True)
class Block:
    """A block of commands, the exit code that it must have, and lines of its output."""

    commands: str
    code: int = 0
    shown: tuple[str, ...] = ()


def read_blocks(text: str) -> list[Block]:
    blocks: list[Block] = []
    for match in FENCE.finditer(text):
        if match["language"] == "bash":
            stated = EXIT.match(match["body"])
            blocks.append(Block(match["body"], code=int(stated["code"]) if stated else 0))
        elif match["language"] == "text":
            blocks[-1] = replace(blocks[-1], shown=tuple(match["body"].splitlines()))
    return blocks


def run_block(block: Block, folder: Path, environment: Path) -> tuple[int, str, str]:
    """Run a block and return its exit code and what it printed; its exported variables are kept for the next."""
    program = f"""
if [ -f {environment} ]; then . {environment}; fi
trap 'export -p > {environment}' EXIT
set -eu
{block.commands}"""
    done = subprocess.run(  # standard input is empty: nothing may ask a question
        ["bash", "-c", program],
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def missing_lines(shown: tuple[str, ...], printed: str) -> list[str]:
    """The shown lines that were not printed, or not in this order."""
    lines = iter(printed.splitlines())
    patterns = {line: re.compile(re.escape(line).replace("…", ".+")) for line in shown}
    return [line for line in shown if not any(patterns[line].fullmatch(one) for one in lines)]


def write_sample(data: Path, folder: Path) -> None:
    """The first images of the data: decoding all of them takes longer than all commands of the page."""
    from pyarrow import Table, parquet

    folder.mkdir()
    for path in data.glob("*.parquet"):
        batch = next(parquet.ParquetFile(path).iter_batches(batch_size=IMAGES))
        parquet.write_table(Table.from_batches([batch]), folder / path.name)


@pytest.mark.slow
def test_the_first_hour(shared, tmp_path, monkeypatch):
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f"the tutorial needs packages that are not installed: {', '.join(lacking)}")
    programs = Path(sys.executable).parent
    if not (programs / "variegate").exists() or shutil.which("bash") is None:
        pytest.skip("the tutorial needs bash, and variegate installed beside this Python")
    for name in [name for name in os.environ if name.startswith("VARIEGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MODELS", str(shared.resolve() / "models"))
    write_sample(shared / "data" / "gtsrb", tmp_path / "data")
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    folder = tmp_path / "hour"
    folder.mkdir()
    blocks = read_blocks(PAGE.read_text("utf-8"))
    assert len(blocks) >= 15
    for block in blocks:
        code, printed, complaints = run_block(block, folder, tmp_path / "environment")
        assert code == block.code, f"{block.commands}\nended with {code}, not {block.code}:\n{printed}{complaints}"
        missing = missing_lines(block.shown, printed)
        assert not missing, f"{block.commands}\ndid not print\n" + "\n".join(missing) + f"\nbut\n{printed}"


# The reader of the page


def test_blocks_are_read():
    text = "a\n```bash\nls\n```\n```text\nx …\ny\n```\n```sh\npip\n```\n```bash\n# exit 5\nfalse\n```\n"
    assert read_blocks(text) == [Block("ls\n", shown=("x …", "y")), Block("# exit 5\nfalse\n", code=5)]


@pytest.mark.parametrize(
    ("commands", "code", "out"),
    [("exit 5\n", 5, ""), ("false\necho no\n", 1, ""), ('echo "$NOT_SET"\n', 1, ""), ("echo $((2 + 2))\n", 0, "4\n")],
)
def test_blocks_are_run(tmp_path, commands, code, out):
    assert run_block(Block(commands), tmp_path, tmp_path / "environment")[:2] == (code, out)


def test_variables_last_to_the_next_block(tmp_path):
    environment = tmp_path / "environment"
    run_block(Block("export KEPT='a b' OTHER=1\nLOST=1\nexit 5\n"), tmp_path, environment)
    code, printed, _ = run_block(Block('echo "$KEPT ${LOST:-none}"\n'), tmp_path, environment)
    assert (code, printed) == (0, "a b none\n")


@pytest.mark.parametrize(
    ("printed", "missing"),
    [("one 17\nmore\ntwo.\n", []), ("one 17\ntwo,\n", ["two."]), ("two.\none 17\n", ["two."]), ("", ["one …", "two."])],
)
def test_shown_lines_are_compared(printed, missing):
    assert missing_lines(("one …", "two."), printed) == missing
