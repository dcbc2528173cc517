"""Every module is reached by a command, is an entry of its own, or waits for a named command."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.test_architecture import TARGET, _modules

ENTRIES = ("abtest.__main__", "abtest.api", "abtest.testing", "lsvcr.align", "simulator.gym")
"""Started by Python, a notebook, pytest, torchrun and Gymnasium in place of `abtest`."""

WAITING = {
    *(f"reports.statistics.sequential.{m}" for m in ("crossing", "futility", "group_inference")),
    *(f"reports.statistics.sequential.{m}" for m in ("group_sequential", "skewness", "spending")),
    *(f"reports.statistics.distributions.{m}" for m in ("bootstrap", "quantile_streams")),
    "reports.statistics.distributions.streams",
}
"""Tested libraries without a command; docs/statistics.md names them."""


def _targets(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and TARGET.fullmatch(str(node.value)):
            yield str(node.value).partition(":")[0]


def test_nothing_lies_about_that_no_command_reaches() -> None:
    modules = dict(_modules())
    reached: set[str] = set()
    waiting = ["abtest.cli", *ENTRIES]
    while waiting:
        module = waiting.pop()
        if module not in modules or module in reached:
            continue
        reached.add(module)
        waiting += _targets(modules[module])
        waiting.append(module.rpartition(".")[0])
    assert set(modules) - reached == WAITING
