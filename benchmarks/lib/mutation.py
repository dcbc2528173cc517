"""List the mutants of a source file, and the tests that run a given line.

Operators and the rewriting of code are cosmic-ray's; which tests run a line is coverage.py's
dynamic context of every test function. Both come with the extra ``mutation``.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OPERATORS = (
    "ReplaceComparisonOperator",
    "ReplaceBinaryOperator",
    "ReplaceUnaryOperator",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "AddNot",
    "ZeroIterationForLoop",
)


@dataclass(frozen=True)
class Mutant:
    """One change of one place in a file.

    Attributes:
        file: Path below the root.
        line: Line of the place, from 1.
        operator: Name of the operator, as cosmic-ray registers it.
        occurrence: Which of the operator's places in the file.
    """

    file: str
    line: int
    operator: str
    occurrence: int


def sites(root: Path, file: str) -> dict[tuple[int, int], list[Mutant]]:
    """All mutants of a file by the place (line, column) that they change.

    Annotations are left out: they do nothing at run time.
    """
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    source = (root / file).read_text(encoding="utf-8")
    silent = set(_annotations(source))
    tree = get_ast(source)
    found: dict[tuple[int, int], list[Mutant]] = defaultdict(list)
    for name in plugins.operator_names():
        if not name.split("/")[1].startswith(OPERATORS):
            continue
        operator = plugins.get_operator(name)()
        places = [p for node in ast_nodes(tree) for p in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            if start not in silent:
                found[start].append(Mutant(file, start[0], name, occurrence))
    return dict(found)


def _annotations(source: str) -> Iterator[tuple[int, int]]:
    """Every (line, column) inside an annotation or a type alias."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        inside: list[ast.expr | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            inside = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = [node.returns]
        elif isinstance(node, ast.Assign) and "Literal" in ast.unparse(node.value):
            inside = [node.value]
        for part in inside:
            if part is None or part.end_lineno is None or part.end_col_offset is None:
                continue
            for line in range(part.lineno, part.end_lineno + 1):
                first = part.col_offset if line == part.lineno else 0
                last = part.end_col_offset if line == part.end_lineno else len(lines[line - 1])
                yield from ((line, column) for column in range(first, last + 1))


def mutated(source: str, mutant: Mutant) -> str | None:
    """The changed source; None if there is nothing to change."""
    from cosmic_ray import mutating, plugins

    operator = plugins.get_operator(mutant.operator)()
    changed: str | None = mutating.mutate_code(source, operator, mutant.occurrence)
    return changed


@dataclass(frozen=True)
class TestMap:
    """Which test functions run which lines, and how long each takes.

    Attributes:
        by_line: File and line to pytest node ids; line 0 holds all tests of a file.
        seconds: Node id to its duration.
    """

    by_line: Mapping[tuple[str, int], frozenset[str]]
    seconds: Mapping[str, float]

    def of(self, mutant: Mutant, budget: float) -> tuple[list[str], float]:
        """The tests that may notice a mutant, quickest first, within a budget of seconds.

        A line that only runs on import (a constant) may be noticed by any test of its file.
        """
        chosen = self.by_line.get((mutant.file, mutant.line)) or self.by_line.get(
            (mutant.file, 0), frozenset()
        )
        total = 0.0
        kept: list[str] = []
        for test in sorted(chosen, key=lambda t: (self.seconds.get(t, 0.0), t)):
            total += self.seconds.get(test, 0.0)
            if kept and total > budget:
                break
            kept.append(test)
        return kept, total


def measure_tests(root: Path, sources: list[str], tests: list[str], folder: Path) -> TestMap:
    """Run the tests once under coverage, unless ``folder`` holds an earlier run of them."""
    data, times = folder / "coverage.db", folder / "times.xml"
    if not (data.is_file() and times.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "coverage.ini"
        settings.write_text(
            f"[run]\ndynamic_context = test_function\ndata_file = {data}\n"
            f"source =\n    " + "\n    ".join(sources) + "\n",
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}"]
        command += ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={times}", *tests]
        subprocess.run(command, cwd=root, env=environment(root), check=True, stdout=sys.stderr)
    return TestMap(_by_line(root, data), _seconds(root, times))


def environment(root: Path) -> dict[str, str]:
    """One thread, and the modules of ``root`` before any installed ones."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    return {**os.environ, **dict.fromkeys(threads, "1"), "PYTHONPATH": str(root)}


def _by_line(root: Path, data: Path) -> dict[tuple[str, int], frozenset[str]]:
    from coverage import CoverageData

    read = CoverageData(basename=str(data))
    read.read()
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for measured in read.measured_files():
        file = str(Path(measured).resolve().relative_to(root.resolve()))
        for line, contexts in read.contexts_by_lineno(measured).items():
            tests = {test for context in contexts if (test := _node(root, context))}
            found[file, line] |= tests
            found[file, 0] |= tests
    return {place: frozenset(tests) for place, tests in found.items()}


def _node(root: Path, context: str) -> str | None:
    """``tests.a.test_b.test_c`` as pytest's ``tests/a/test_b.py::test_c``."""
    parts = context.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        path = Path(*parts[:cut]).with_suffix(".py")
        if (root / path).is_file() and parts[cut].lower().startswith("test"):
            return "::".join([path.as_posix(), *parts[cut:]])
    return None


def _seconds(root: Path, times: Path) -> dict[str, float]:
    """Summed over the parameters of a test function."""
    total: dict[str, float] = defaultdict(float)
    for case in ET.parse(times).getroot().iter("testcase"):
        name = case.attrib["name"].partition("[")[0]
        node = _node(root, f"{case.attrib['classname']}.{name}")
        if node:
            total[node] += float(case.attrib["time"])
    return dict(total)
