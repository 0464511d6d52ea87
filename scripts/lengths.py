"""Refuse modules, functions and classes that are too long to be read at once.

    module    300 lines; more with a sentence in its docstring that begins "Longer than 300 lines because"
    function  40 lines from `def` to its last one, without exception
    class     12 methods; more with a sentence in its docstring that begins "More than 12 methods because"

A method is every function that a class's body defines, public, private and special ones alike; a property counts
once, with or without a setter, and so does an overloaded function. Of tests only the modules are measured.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("fedchain", "scripts", "tests")
ONLY_MODULES: Final = "tests"

MODULE_LINES: Final = 300
FUNCTION_LINES: Final = 40
CLASS_METHODS: Final = 12
MODULE_REASON: Final = f"Longer than {MODULE_LINES} lines because "
CLASS_REASON: Final = f"More than {CLASS_METHODS} methods because "

_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def too_long(source: str, only_module: bool = False) -> Iterator[str]:
    """Yield a sentence for each thing in a module's source that is over its limit without a reason."""
    tree = ast.parse(source)
    lines = len(source.splitlines())
    if lines > MODULE_LINES and not _says(tree, MODULE_REASON):
        yield (
            f"1: {lines} lines, allowed are {MODULE_LINES}: divide the module, or say why not in its docstring, "
            f"beginning with {MODULE_REASON.strip()!r}"
        )
    for node in () if only_module else ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES:
                yield f"{node.lineno}: function {node.name}: {length} lines, allowed are {FUNCTION_LINES}: divide it"
        elif isinstance(node, ast.ClassDef):
            methods = {each.name for each in node.body if isinstance(each, _FUNCTIONS)}
            if len(methods) > CLASS_METHODS and not _says(node, CLASS_REASON):
                yield (
                    f"{node.lineno}: class {node.name}: {len(methods)} methods, allowed are {CLASS_METHODS}: divide "
                    f"it, or say why not in its docstring, beginning with {CLASS_REASON.strip()!r}"
                )


def _says(node: ast.Module | ast.ClassDef, reason: str) -> bool:
    return reason in " ".join((ast.get_docstring(node) or "").split()) + " "


def is_python(path: Path) -> bool:
    """Tell whether a file is Python, by its name or by its first line."""
    if path.suffix or not path.is_file():
        return path.suffix == ".py"
    with path.open("rb") as file:
        return b"python" in file.readline()


def main() -> int:
    """Print each offender; return 1 where there is one."""
    failed = 0
    for folder in FOLDERS:
        for module in filter(is_python, sorted((ROOT / folder).rglob("*"))):
            for sentence in too_long(module.read_text(), only_module=folder == ONLY_MODULES):
                print(f"{module.relative_to(ROOT)}:{sentence}")
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
