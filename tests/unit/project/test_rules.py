"""The checks that are our own: what they refuse, and what they let pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def methods(count: int, docstring: str = "One.") -> str:
    return f'class A:\n    """{docstring}"""\n' + "".join(f"    def f{n}(self): ...\n" for n in range(count))


PROPERTY = """
    @property
    def p(self): ...
    @p.setter
    def p(self, value): ...
"""

LENGTHS = {
    "300 lines": ("\n" * 300, []),
    "301 lines": ("\n" * 301, ["1: 301 lines"]),
    "301 lines with a reason": ('"""Two.\n\nLonger than 300\nlines because so."""' + "\n" * 301, []),
    "40 lines": ("def f():\n" + "    1\n" * 39, []),
    "41 lines": ("def f():\n" + "    1\n" * 40, ["1: function f: 41 lines"]),
    "41 lines inside": ("def f():\n    async def g():\n" + "        1\n" * 40, ["1: function f", "2: function g"]),
    "12 methods": (methods(12), []),
    "13 methods": (methods(13), ["1: class A: 13 methods"]),
    "13 methods with a reason": (methods(13, "A. More than 12 methods because so."), []),
    "a property is one": (methods(11) + PROPERTY, []),
    "another function's docstring is none": (methods(13).replace("f3(self): ...", "f3(self): 'More than 12'"), ["A"]),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_lengths(case):
    source, expected = LENGTHS[case]
    found = list(script("lengths").too_long(source))
    assert len(found) == len(expected)
    assert all(words in sentence for words, sentence in zip(sorted(expected), sorted(found), strict=True))


def test_of_tests_only_modules_are_measured():
    long = "def f():\n" + "    1\n" * 300
    assert [one.split(",")[0] for one in script("lengths").too_long(long, only_module=True)] == ["1: 301 lines"]


def test_scripts_without_an_ending_are_measured():
    lengths = script("lengths")
    assert lengths.is_python(SCRIPTS / "bench" / "merge")
    assert not lengths.is_python(SCRIPTS / "check")


IMPURE = (
    "open('x')",
    "print(1)",
    "np.random.default_rng()",
    "np.memmap('x')",
    "a.tofile('x')",
    "from numpy import load",
    "from importlib.metadata import version",
    "import importlib.metadata",
    "path.read_text()",
)


@pytest.mark.parametrize("source", IMPURE)
def test_impure_code_is_named(source):
    (sentence,) = script("purity").impurities(source)
    assert sentence.startswith("1: ")


def test_pure_code_passes():
    source = (
        "store.open(content)\nnp.load_all = 1\nsorted(x)\nfrom pathlib import Path\nfrom importlib import import_module"
    )
    assert not list(script("purity").impurities(source))
