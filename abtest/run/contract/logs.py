"""Make logs that a policy must not tell apart: without the platform's notes, without a future."""

from __future__ import annotations

import ast
import inspect
import json
import shutil
from pathlib import Path

import polars as pl

from policies.base import Policy
from simulator.logs.dataset import INFO_FILE, Dataset, DatasetWriter
from simulator.logs.schema import EVENT_TABLES

_WORLD = ("simulator.world", "simulator.response", "simulator.feed", "abtest.run")


def without_notes(dataset: Dataset, target: Path) -> Dataset:
    """The same tables, of which nobody can say what platform they come from.

    Args:
        dataset: A log.
        target: Directory to make; its tables are links.
    """
    target.mkdir()
    for folder in dataset.path.iterdir():
        if folder.is_dir():
            (target / folder.name).symlink_to(folder.resolve(), target_is_directory=True)
    about = json.loads((dataset.path / INFO_FILE).read_text(encoding="utf-8"))
    about |= {"world": None, "name": "log", "source": ""}
    (target / INFO_FILE).write_text(json.dumps(about), encoding="utf-8")
    return Dataset.open(target)


def cut(dataset: Dataset, until_ms: int, target: Path) -> Dataset:
    """What was known at a moment: everything that happened before it."""
    with DatasetWriter(
        target, name="log", source="", licence=dataset.info.licence, language=dataset.info.language
    ) as writer:
        for name in dataset.info.columns:
            rows = dataset.scan(name)
            if name in EVENT_TABLES:
                rows = rows.filter(pl.col("time_ms") < until_ms)
            writer.append(name, rows.collect())
    return Dataset.open(target)


def continued(target: Path, dataset: Dataset) -> None:
    """Let time go on in a log that was `cut`: the events of the whole log arrive."""
    for name in EVENT_TABLES:
        if name in dataset.info.columns:
            shutil.rmtree(target / name, ignore_errors=True)
            shutil.copytree(dataset.path / name, target / name)
    shutil.copyfile(dataset.path / INFO_FILE, target / INFO_FILE)


def forbidden_import(kind: type[Policy]) -> str | None:
    """What a policy's file imports of the simulated world, as ``file line 3: simulator.world``."""
    try:
        file = inspect.getsourcefile(kind)
        tree = ast.parse(Path(str(file)).read_text(encoding="utf-8"))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if any(name == w or name.startswith(w + ".") for w in _WORLD):
                return f"{file} line {node.lineno}: {name}"
    return None
