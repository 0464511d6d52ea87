"""Refuse modules of more than 300 lines without a reason.

The reason is a sentence in the module's docstring that begins "Longer than 300 lines because".
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("fedchain", "scripts", "tests")
LIMIT: Final = 300
REASON: Final = "Longer than 300 lines because "


def unexplained(module: Path) -> int:
    """Return the module's length in lines where it is over the limit without a reason, else 0."""
    source = module.read_text()
    lines = len(source.splitlines())
    docstring = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    return lines if lines > LIMIT and REASON not in docstring else 0


def main() -> int:
    """Print each offender; return 1 where there is one."""
    modules = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    offenders = {module: lines for module in modules if (lines := unexplained(module))}
    for module, lines in offenders.items():
        print(
            f"{module.relative_to(ROOT)}: {lines} lines, allowed are {LIMIT}: "
            f"divide it, or say why not in its docstring, beginning with {REASON.strip()!r}"
        )
    return 1 if offenders else 0


if __name__ == "__main__":
    sys.exit(main())
