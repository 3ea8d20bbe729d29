"""Run the notebooks and keep what they give: ``python docs/run_notebooks.py [NAME…]``.

Notebooks are committed with their outputs, so that they can be read on the site and elsewhere. The
metadata of each hold a hash of its code; a test says when outputs are older than the code.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent / "notebooks"
#: Seconds that one cell may take on a busy machine.
TIMEOUT_S = 900


def code_hash(notebook: NotebookNode) -> str:
    """SHA-256 of all code cells."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def executed(path: Path) -> NotebookNode:
    """A notebook run from its first cell, in its own folder; a cell that fails raises."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    notebook.metadata["pimc"] = {"code_sha256": code_hash(notebook)}
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return notebook


def main(names: list[str]) -> None:
    """Run those named, or all, and write them."""
    for path in sorted(HERE.glob("*.ipynb")):
        if not names or path.stem in names:
            nbformat.write(executed(path), path)
            print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
