"""Refuse in fedchain/core what reaches outside without an import that import-linter could forbid.

Built-in functions that read, write or run, numpy's files and generators, the disk behind a pathlib.Path (naming one is
pure), and what is installed (importlib.metadata; importing a module of core by its name is pure).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CORE: Final = ROOT / "fedchain" / "core"

BUILTINS: Final = frozenset({"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"})
NUMPY: Final = frozenset(
    {"fromfile", "genfromtxt", "load", "loadtxt", "memmap", "random", "save", "savetxt", "savez", "savez_compressed"}
)
PATH: Final = frozenset(
    {
        *(
            "read_text",
            "read_bytes",
            "write_text",
            "write_bytes",
            "unlink",
            "mkdir",
            "rmdir",
            "iterdir",
            "glob",
            "rglob",
        ),
        *("exists", "is_file", "is_dir", "is_symlink", "stat", "lstat", "touch", "chmod", "rename", "resolve"),
        *("samefile", "symlink_to", "hardlink_to", "readlink", "expanduser", "cwd", "home", "tofile"),
    }
)
INSTALLED: Final = frozenset({"importlib.metadata", "importlib.resources"})


def impurities(source: str) -> Iterator[str]:
    """Yield a sentence for each impure call or name in a module's source."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
                yield f"{node.lineno}: {name}() reaches outside: core is pure"
            case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name) if name in NUMPY:
                yield f"{node.lineno}: numpy.{name} reaches outside: core is pure"
            case ast.ImportFrom(module="numpy", names=names) if found := NUMPY.intersection(n.name for n in names):
                yield f"{node.lineno}: numpy.{min(found)} reaches outside: core is pure"
            case ast.Attribute(attr=name) if name in PATH:
                yield f"{node.lineno}: {name}() asks the disk: core is pure"
            case ast.ImportFrom(module=module) if module in INSTALLED:
                yield f"{node.lineno}: {module} asks the disk: core is pure"
            case ast.Import(names=names) if found := INSTALLED.intersection(n.name for n in names):
                yield f"{node.lineno}: {min(found)} asks the disk: core is pure"
            case ast.ImportFrom(module="importlib", names=names) if any(n.name != "import_module" for n in names):
                yield f"{node.lineno}: importlib reaches outside, but for import_module: core is pure"


def main() -> int:
    """Print each offender; return 1 where there is one."""
    offenders = [
        f"{module.relative_to(ROOT)}:{sentence}"
        for module in sorted(CORE.rglob("*.py"))
        for sentence in impurities(module.read_text())
    ]
    print(*offenders, sep="\n", end="\n" if offenders else "")
    return 1 if offenders else 0


if __name__ == "__main__":
    sys.exit(main())
