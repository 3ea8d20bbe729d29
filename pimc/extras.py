"""Libraries that not every installation has, and the extra of pimc that brings each.

``pip install pimc`` compiles and writes chips; what runs networks, draws pictures or reads other
files needs more (``docs/install.md``). What is missing is told before any work is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from pimc.errors import UsageError

__all__ = ["EXTRAS", "MissingLibraryError", "missing", "require"]

#: The extra of ``pyproject.toml`` by the module that it is there for.
EXTRAS: Mapping[str, str] = {
    "joblib": "recover",
    "llvmlite": "recover",
    "matplotlib": "pictures",
    "networkx": "dump",
    "numba": "recover",
    "onnxruntime": "recover",
    "PIL": "images",
    "threadpoolctl": "recover",
    "torch": "recover",
}


class MissingLibraryError(UsageError):
    """A library of an extra that is not installed."""


def require(*modules: str, what: str) -> None:
    """Make sure that libraries are installed, without importing any.

    Args:
        modules: as they are imported, each in :data:`EXTRAS`.
        what: what needs them, in messages: a command, an option, a function.

    Raises:
        MissingLibraryError: one is not.
    """
    for module in modules:
        if not _there(module):
            raise _error(module, what)


def missing(cause: BaseException, what: str = "this") -> MissingLibraryError | None:
    """What to tell of a failed import; None where no library of an extra is behind it."""
    if not isinstance(cause, ModuleNotFoundError) or cause.name is None:
        return None
    module = cause.name.partition(".")[0]
    return _error(module, what) if module in EXTRAS and not _there(module) else None


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # ValueError: imported by something strange
        return False


def _error(module: str, what: str) -> MissingLibraryError:
    package = "pillow" if module == "PIL" else module
    return MissingLibraryError(
        f"{what} needs the package {package}, which is not installed",
        hint=f"pip install 'pimc[{EXTRAS[module]}]'",
    )
