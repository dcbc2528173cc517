"""List the mutants of a source file that a test could notice.

Operators and the rewriting of code are cosmic-ray's, of the extra ``mutation``. Places are left
out by rules that are decided before any test runs: see ``_silent``.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

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

NODES = {
    "ReplaceBinaryOperator": "operator",
    "ReplaceComparisonOperator": "comparison",
    "NumberReplacer": "number",
}
"""Kinds of nodes that most operators change: the others need not be looked at."""

SAME_ANSWER = ("Is_Eq", "IsNot_NotEq", "Eq_Is", "NotEq_IsNot")
"""Endings of operators that turn identity into equality or back: None, words and small numbers
give the same answer."""

GUARDS = ("strict", "frozen", "slots", "copy")
"""Arguments that check or copy and never change a result, as in ``zip(strict=True)``."""

SPEED = {
    "policies/evaluation/candidates.py": {"CELLS"},
    "policies/evaluation/seen_visits.py": {"_BLOCK"},
    "reports/statistics/checks/aa.py": {"_REPLICATES"},
    "reports/statistics/distributions/order_statistics.py": {"HELD"},
    "reports/statistics/distributions/streams.py": {
        "BLOCK", "BATCH", "_LANE", "_WAITING", "_DOTTED_COLUMNS", "_COMPARED_GROUPS",
    },
}  # fmt: skip
"""Constants that say how much is held or done at a time: every value gives the same results."""


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
    """All mutants of a file by the place (line, column) that they change."""
    from cosmic_ray.ast import ast_nodes, get_ast

    source = (root / file).read_text(encoding="utf-8")
    silent = set(_silent(file, source))
    nodes = defaultdict(list)
    for node in ast_nodes(get_ast(source)):
        nodes[node.type].append(node)
        nodes[""].append(node)
    found: dict[tuple[int, int], list[Mutant]] = defaultdict(list)
    for name, operator in _operators().items():
        kind = NODES.get(name.split("/")[1].split("_")[0], "")
        places = [p for node in nodes[kind] for p in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            if start not in silent:
                found[start].append(Mutant(file, start[0], name, occurrence))
    return dict(found)


@cache
def _operators() -> dict[str, Any]:
    """By the name under which cosmic-ray registers them."""
    from cosmic_ray import plugins

    return {
        name: plugins.get_operator(name)()
        for name in plugins.operator_names()
        if name.split("/")[1].startswith(OPERATORS) and not name.endswith(SAME_ANSWER)
    }


def _silent(file: str, source: str) -> Iterator[tuple[int, int]]:
    """Every (line, column) that no test can or should notice.

    Annotations and type aliases do nothing at run time. What a ``raise`` says is wording; the
    condition before it counts. Guards and sizes of pieces: see ``GUARDS`` and ``SPEED``.
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for part in _silent_parts(node, SPEED.get(file, set())):
            if part is None or part.end_lineno is None or part.end_col_offset is None:
                continue
            for line in range(part.lineno, part.end_lineno + 1):
                first = part.col_offset if line == part.lineno else 0
                last = part.end_col_offset if line == part.end_lineno else len(lines[line - 1])
                yield from ((line, column) for column in range(first, last + 1))


def _silent_parts(node: ast.AST, speed: set[str]) -> list[ast.expr | None]:
    if isinstance(node, ast.arg | ast.AnnAssign):
        return [node.annotation]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.returns]
    if isinstance(node, ast.Raise):
        return [node.exc]
    if isinstance(node, ast.keyword) and node.arg in GUARDS:
        return [node.value]
    if isinstance(node, ast.Compare):
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        return [node] if names & speed else []
    if isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if names & speed or "Literal" in ast.unparse(node.value):
            return [node.value]
    return []


def mutated(source: str, mutant: Mutant) -> str | None:
    """The changed source; None if there is nothing to change."""
    from cosmic_ray import mutating

    operator = _operators()[mutant.operator]
    changed: str | None = mutating.mutate_code(source, operator, mutant.occurrence)
    return changed
