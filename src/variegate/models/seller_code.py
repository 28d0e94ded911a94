"""A seller's own Python code: read as bytes, identified by its digest, imported under a private name.

Importing runs the code. It is the seller's own and runs on the seller's own machine; a buyer's file never comes here.

The bytes that were read (and whose digest was checked) are the bytes that run: nothing is read again from the disk and
no compiled file is used. `sys.path` stays as it is. The name under which the code is imported contains its digest, so
that two models whose files have one name and different content live side by side.
"""

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from torch import nn

from variegate.errors import InputError, ModelError, NotFoundError, VariegateError
from variegate.files import read_bounded

_REFERENCE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):([A-Za-z_][A-Za-z0-9_]*)")
_PREFIX = "_variegate_seller_"
_MAX_FILE_BYTES = 2**20
_MAX_FILES = 256


def is_reference(architecture: str) -> bool:
    """Say whether `architecture` means a seller's own code ("module:factory") and not a name of the catalog."""
    return ":" in architecture


def load_factory(reference: str, code_path: Path | str) -> Callable[..., nn.Module]:
    """Import the function that "module:factory" names from a seller's own file or folder.

    Args:
        reference: "seller_net:build" for the function `build` of `seller_net.py`.
        code_path: that file, or the folder that holds it; files of the folder import each other by
            `from .layers import Stage`.

    Raises:
        ModelError: if the code cannot be imported or has no such function.
        NotFoundError: if there is no such file.
    """
    return import_factory(reference, read_sources(reference, code_path), origin=Path(code_path))


def read_sources(reference: str, code_path: Path | str) -> dict[str, bytes]:
    """Read the code: file name -> content; one file, or all modules directly in a folder, less `__init__.py`.

    Raises:
        InputError: if a file is larger than 1 MiB or there are more than 256.
        ModelError: if the reference is malformed or the file has another name than its module.
        NotFoundError: if there is no such file.
    """
    module, _ = _split(reference)
    code_path = Path(code_path)
    if not code_path.is_dir():
        if code_path.exists() and code_path.name != f"{module}.py":
            raise ModelError(f"{reference!r} names the file {module}.py; got {code_path}: make the names agree")
        return {f"{module}.py": read_bounded(code_path, _MAX_FILE_BYTES)}
    files = sorted(file for file in code_path.glob("*.py") if file.stem.isidentifier() and file.stem != "__init__")
    if not any(file.name == f"{module}.py" for file in files):
        raise NotFoundError(f"{code_path} has no file {module}.py, which {reference!r} names")
    if len(files) > _MAX_FILES:
        raise InputError(f"{code_path} holds {len(files)} Python files; expected at most {_MAX_FILES}")
    return {file.name: read_bounded(file, _MAX_FILE_BYTES) for file in files}


def import_factory(
    reference: str, sources: Mapping[str, bytes], *, origin: Path | None = None
) -> Callable[..., nn.Module]:
    """Import code that `read_sources` read, and return the function that the reference names.

    Args:
        reference: "module:factory".
        sources: file name -> content.
        origin: where the files are from; tracebacks show it.

    Raises:
        ModelError: if the code cannot be imported or has no such function.
    """
    module_name, factory_name = _split(reference)
    package = _FINDER.add(sources, origin)
    try:
        module = importlib.import_module(f"{package}.{module_name}")
    except VariegateError:
        raise
    except (Exception, SystemExit) as error:  # a seller's own code may raise anything
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = "; install it, or, if it is your own file, give the folder and write `from .name import ...`"
        reason = " ".join(str(error).split()).replace(f"{package}.", "")[:200]
        raise ModelError(f"{module_name}.py cannot be imported: {type(error).__name__}: {reason}{hint}") from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        found = "no such name" if factory is None else f"a {type(factory).__name__}"
        raise ModelError(f"{module_name}.py must define the function {factory_name!r}; it has {found}")
    return factory  # type: ignore[no-any-return]


def _split(reference: str) -> tuple[str, str]:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ModelError(
            f"a seller's own architecture is written module:function, such as net:build; got {reference!r}"
        )
    return match[1], match[2]


class _SourceFinder(MetaPathFinder, Loader):
    """Finds the modules of packages whose names start with the private prefix, in memory; knows no others."""

    def __init__(self) -> None:
        self._packages: dict[str, tuple[dict[str, bytes], Path | None]] = {}

    def add(self, sources: Mapping[str, bytes], origin: Path | None) -> str:
        """Remember the sources and return their package's name."""
        sha = hashlib.sha256()
        for name, content in sorted(sources.items()):
            sha.update(f"{name}\0{len(content)}\0".encode())
            sha.update(content)
        package = _PREFIX + sha.hexdigest()[:32]
        self._packages.setdefault(package, (dict(sources), origin))
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        return package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a package or of one of its files."""
        package, _, stem = fullname.partition(".")
        if package not in self._packages or (stem and f"{stem}.py" not in self._packages[package][0]):
            return None
        return ModuleSpec(fullname, self, origin=self._file_name(package, stem), is_package=not stem)

    def exec_module(self, module: ModuleType) -> None:
        """Compile and run the remembered bytes."""
        package, _, stem = module.__name__.partition(".")
        if stem:
            source = self._packages[package][0][f"{stem}.py"]
            exec(compile(source, self._file_name(package, stem), "exec", dont_inherit=True), module.__dict__)  # noqa: S102

    def _file_name(self, package: str, stem: str) -> str:
        origin = self._packages[package][1]
        if origin is None or not stem:
            return f"<{package}{'.' + stem if stem else ''}>"
        return str(origin / f"{stem}.py" if origin.suffix != ".py" else origin)


_FINDER = _SourceFinder()
