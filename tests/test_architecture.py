"""Imports point one way: down the house, never up, never in a circle, also not in strings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("abtest", "reports", "lsvcr", "policies", "simulator")
TARGET = re.compile(rf"({'|'.join(ROOMS)})(\.\w+)+:\w+")

BELOW_POLICIES = (
    "simulator.logs",
    "simulator.requests",
    "simulator.errors",
    "simulator.randomness",
    "simulator.devices",
)
POLICY_CONTRACT = tuple(
    f"policies.{name}"
    for name in ("base", "checkpoint", "devices", "distributed", "errors", "memory", "settings")
)

SIMULATOR_LEAVES = tuple(
    f"simulator.{name}"
    for name in (
        "behaviours", "calendar", "devices", "errors", "memory", "progress", "randomness", "arrays",
    )
)  # fmt: skip

SHARED = (
    "config", "config_sources", "console", "errors", "files", "paths", "plugins", "processes",
    "results", "tables", "version",
)  # fmt: skip
"""Modules of `abtest` that its rooms stand on."""

# What each place may import of ours. A longer prefix wins.
ALLOWED = {
    "abtest": ("abtest", "reports", "lsvcr", "policies", "simulator"),
    # Inside abtest: commands call the rooms, the rooms share run/ and the files beside them.
    **{
        f"abtest.{room}": (
            f"abtest.{room}",
            *(f"abtest.{shared}" for shared in (*SHARED, *others)),
            "reports",
            "lsvcr",
            "policies",
            "simulator",
        )
        for room, others in {
            "run": (),
            "policy_tools": ("run",),
            "evaluate": ("run",),
            "replay": ("run",),
            "power": ("run", "experiment_tables"),
            "dry_run": ("run", "power"),
        }.items()
    },
    "reports": ("reports",),
    # Inside reports, bottom to top.
    "reports.result_parts": (),
    "reports.assumption_parts": ("reports.result_parts",),
    "reports.interference_parts": ("reports.result_parts",),
    "reports.results": (
        "reports.result_parts",
        "reports.assumption_parts",
        "reports.interference_parts",
    ),
    "reports.formats": ("reports.results",),
    "reports.verdict": ("reports.verdict", "reports.formats", "reports.results"),
    "reports.plan": ("reports.verdict.rule",),
    "reports.statistics": ("reports.statistics",),
    "reports.users": ("reports.users", "reports.plan", "reports.statistics"),
    "reports.analysis": (
        "reports.analysis",
        "reports.users",
        "reports.statistics",
        "reports.plan",
        "reports.verdict",
        "reports.formats",
        "reports.results",
    ),
    "reports.render": (
        "reports.render",
        "reports.analysis.seeds",
        "reports.verdict",
        "reports.formats",
        "reports.results",
    ),
    "lsvcr": ("lsvcr", "policies", *BELOW_POLICIES),
    "lsvcr.task": (),
    "lsvcr.text": ("lsvcr.text", "lsvcr.task", "policies", *BELOW_POLICIES),
    "lsvcr.data": ("lsvcr.data", "lsvcr.text", "lsvcr.task", "policies", *BELOW_POLICIES),
    "lsvcr.model": ("lsvcr.model", "lsvcr.data", "lsvcr.task", "policies", *BELOW_POLICIES),
    "lsvcr.stage1": (
        "lsvcr.stage1",
        "lsvcr.model",
        "lsvcr.data",
        "lsvcr.text",
        "lsvcr.task",
        "policies",
        *BELOW_POLICIES,
    ),
    "lsvcr.stage2": (
        "lsvcr.stage2",
        "lsvcr.model",
        "lsvcr.data",
        "lsvcr.task",
        "policies",
        *BELOW_POLICIES,
    ),
    "lsvcr.serving": (
        "lsvcr.serving",
        "lsvcr.model",
        "lsvcr.data",
        "lsvcr.task",
        "policies",
        *BELOW_POLICIES,
    ),
    "policies": ("policies", *BELOW_POLICIES),
    "policies.names": (),
    "policies.errors": (),
    "policies.distributed": (),
    "policies.settings": ("policies.errors",),
    "policies.base": ("policies.settings", *BELOW_POLICIES),
    "policies.checkpoint": ("policies.errors", "simulator.logs.mapped_arrays"),
    "policies.memory": ("policies.errors", "simulator.memory"),
    "policies.devices": ("policies.settings", "simulator.devices"),
    "policies.text": ("policies.text", "policies.errors", *BELOW_POLICIES),
    "policies.sequence": ("policies.sequence", *POLICY_CONTRACT, *BELOW_POLICIES),
    "policies.videos": (
        "policies.videos",
        "policies.sequence",
        "policies.text",
        *POLICY_CONTRACT,
        *BELOW_POLICIES,
    ),
    "policies.comments": (
        "policies.comments",
        "policies.videos",
        "policies.sequence",
        "policies.text",
        "policies.registry",
        "policies.evaluation.dwell",
        "policies.evaluation.run_sums",
        "policies.evaluation.seen_visits",
        *POLICY_CONTRACT,
        *BELOW_POLICIES,
    ),
    "policies.evaluation": (
        "policies.evaluation",
        "policies.ranking",
        *POLICY_CONTRACT,
        *BELOW_POLICIES,
    ),
    "policies.registry": ("policies.mixed", "policies.names", *POLICY_CONTRACT),
    "simulator": ("simulator",),
    **dict.fromkeys(SIMULATOR_LEAVES, ()),
    "simulator.memory": ("simulator.errors",),
    "simulator.logs": (
        "simulator.logs",
        "simulator.tables",
        "simulator.requests",
        *SIMULATOR_LEAVES,
    ),
    "simulator.tables": ("simulator.tables", "simulator.errors"),
    "simulator.world": (
        "simulator.world",
        "simulator.logs",
        "simulator.requests",
        *SIMULATOR_LEAVES,
    ),
    "simulator.response": (
        "simulator.response",
        "simulator.world",
        "simulator.logs",
        "simulator.requests",
        *SIMULATOR_LEAVES,
    ),
    "simulator.loop": ("simulator.feed", "simulator.requests"),
    "simulator.interference": (
        "simulator.interference",
        "simulator.feed",
        "simulator.turn",
        "simulator.comment_sections",
        "simulator.response.base",
        "simulator.response.displayed",
        "simulator.logs",
        "simulator.requests",
        *SIMULATOR_LEAVES,
    ),
    "simulator.calibration": (
        "simulator.calibration",
        "simulator.outcomes",
        "simulator.comment_sections",
        "simulator.world",
        "simulator.response",
        "simulator.logs",
        "simulator.feed",
        "simulator.loop",
        "simulator.recorder",
        "simulator.retrieval",
        "simulator.requests",
        *SIMULATOR_LEAVES,
    ),
    "simulator.gym": (
        "simulator.gym",
        "simulator.world",
        "simulator.response",
        "simulator.logs",
        "simulator.feed",
        "simulator.loop",
        "simulator.recorder",
        "simulator.retrieval",
        "simulator.comment_sections",
        "simulator.requests",
        *SIMULATOR_LEAVES,
    ),
    "simulator.replay": (
        "simulator.replay",
        "simulator.logs",
        "simulator.requests",
        *SIMULATOR_LEAVES,
    ),
}
# Of `simulator`, the modules that its rooms are built on; they know no room.
for leaf in ("feed", "turn", "outcomes", "recorder", "retrieval", "comment_sections"):
    ALLOWED[f"simulator.{leaf}"] = tuple(
        f"simulator.{name}"
        for name in (
            "feed", "turn", "outcomes", "recorder", "retrieval", "comment_sections", "requests",
            "logs", "response.base", "behaviours", "calendar", "errors", "randomness", "arrays",
        )
    )  # fmt: skip


def _modules() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Constant) and TARGET.fullmatch(str(node.value)):
            # "module:Class" is imported later by whoever reads it.
            yield node.lineno, str(node.value).partition(":")[0]


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize(("module", "path"), list(_modules()), ids=lambda value: str(value)[-60:])
def test_imports_point_downwards(module: str, path: Path) -> None:
    place = max((p for p in ALLOWED if _within(module, p)), key=len)
    for line, name in _imports(path):
        if name.split(".")[0] in ROOMS:
            allowed = any(_within(name, prefix) for prefix in ALLOWED[place])
            assert allowed, f"{path.relative_to(ROOT)}:{line} imports {name}"


def test_the_statistics_core_imports_none_of_the_rooms_above_it() -> None:
    """Moments, estimates, tests and power lie below checks, distributions and sequential."""
    core = ROOT / "reports" / "statistics"
    rooms = {path.name for path in core.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert {"checks", "distributions", "sequential"} <= rooms
    for path in sorted(core.glob("*.py")):
        for line, name in _imports(path):
            parts = name.split(".")
            above = parts[:2] == ["reports", "statistics"] and parts[2] in rooms
            assert not above, f"{path.name}:{line} imports {name}"


def _module_graph() -> dict[str, set[str]]:
    known = dict(_modules())
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        targets = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # Also what a function or a type checker imports: no hidden circle either.
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                targets |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    targets.add(full if full in known else node.module)
        graph[module] = {t for t in targets if t in known and t != module}
    return graph


def test_modules_form_no_circle() -> None:
    graph = _module_graph()
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in finished:
            return
        for target in sorted(graph[module]):
            visit(target, (*trail, module))
        finished.add(module)

    for module in graph:
        visit(module, ())


FOLDERS = (*ROOMS, "benchmarks", "tests")
MOST_LINES, MOST_FILES = 400, 18


def test_files_and_folders_stay_small() -> None:
    """One job per file and one subject per folder: both are split before they outgrow a reader."""
    sizes: dict[Path, int] = {}
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines: split it"
        sizes[path.parent] = sizes.get(path.parent, 0) + 1
    assert len(sizes) > 50
    for folder, files in sizes.items():
        assert files <= MOST_FILES, f"{folder.relative_to(ROOT)} has {files} files: split it"


def test_the_policies_that_the_world_is_judged_with_are_not_named_in_it() -> None:
    for folder in ("simulator/world", "simulator/response"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8").lower()
            for name in ("sasrec", "lsvcr"):
                assert name not in text, f"{path.relative_to(ROOT)} names {name}"
