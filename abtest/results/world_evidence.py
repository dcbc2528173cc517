"""Say how a world reacts to better rankers, beside published experiments and random exposure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abtest.files import write_text
from abtest.paths import cache_directory
from abtest.tables import table
from reports.render.page import PageSection, PageTable, render_page
from simulator.calibration import experiments
from simulator.calibration.contrasts import published_contrasts
from simulator.calibration.experiments import Reaction, reactions, summary
from simulator.calibration.ladder import live_ladder, objective_ladder, quality_ladder
from simulator.world import World
from simulator.world.config import WorldConfig
from simulator.world.world import WORLD_VERSION

_SHIPPED = Path(experiments.__file__).with_name("reactions.json")


def react(world: World, *, users: int, days: int, seed: int) -> list[Reaction]:
    """Climb both ladders of a world and put them beside the published experiments."""
    quality, objective = (
        live_ladder(world, rungs(world.config), users=users, days=days, seed=seed)
        for rungs in (quality_ladder, objective_ladder)
    )
    return reactions(quality, objective)


def reactions_table(rows: Sequence[Reaction]) -> str:
    """Published elasticities beside the world's, a verdict per line, and the counts."""
    counts = summary(rows)
    held = summary([row for row in rows if row.role == "held out"])
    lines = [
        table(
            [
                (row.label, f"{row.simulated:.2f}", row.published, row.role, row.verdict)
                for row in rows
            ],
            header=("d log / d log", "here", "published [quartiles]", "role", "verdict"),
            right=(1, 2),
        ),
        "",
        _counted(counts) + f"; held out: {held['direction']} of {held['lines']}, {held['size']}",
    ]
    return "\n".join(lines)


def reactions_page(rows: Sequence[Reaction], command: str) -> str:
    """The same as a page in the report's look."""
    counts = summary(rows)
    held = summary([row for row in rows if row.role == "held out"])
    cells = [(r.label, f"{r.simulated:.2f}", r.published, r.role, r.verdict) for r in rows]
    header = ("d log / d log", "here", "published [quartiles]", "role", "verdict")
    found = f"{_counted(counts)}; held out: {held['direction']} of {held['lines']}, {held['size']}"
    table = PageTable("How metrics move together", header, cells, right=(1,))
    return render_page(
        "The built-in world beside published experiments",
        [PageSection("Reactions", (found,), (table,))],
        kicker="Simulated platform",
        facts="Elasticities along a ladder of better and worse rankers; no policy is involved.",
        command=command,
    )


def contrasts_table(ratios: Mapping[str, float]) -> str:
    """Rates per standard slot over those per random slot, beside the published ratios."""
    rows = []
    for published in published_contrasts():
        ratio = ratios.get(published.name, float("nan"))
        rows.append(
            (
                published.name.replace("_", " "),
                f"{ratio:.2f}",
                f"{published.low:g} to {published.high:g}",
                published.role,
                "close" if published.allows(ratio) else "off",
            )
        )
    header = ("standard over random", "here", "published", "role", "verdict")
    return table(rows, header=header, right=(1, 2))


def sentence(counts: Mapping[str, int]) -> str:
    """For the report's trust panel."""
    return f"reacts to a better ranker as published: {counts['direction']} of {counts['lines']}"


def _counted(counts: Mapping[str, int]) -> str:
    return f"{sentence(counts)} lines in direction, {counts['size']} also in size"


def remember(config: WorldConfig, rows: Sequence[Reaction], *, ship: bool = False) -> Path:
    """Keep a world's counts, for the reports of later runs in any world of these parameters.

    Args:
        config: The world's parameters.
        rows: How it reacts.
        ship: Into the installed package instead of the cache; for releases.
    """
    kept = _read(_SHIPPED) if ship else {}
    kept[_address(config)] = {"name": config.name, **summary(rows)}
    target = _SHIPPED if ship else _cached(config)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return target


def remembered(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """The counts of a world, by its `World.spec`; None if nobody has measured them."""
    if spec.get("world_version") != WORLD_VERSION:
        return None
    config = WorldConfig.from_dict(spec["config"])
    found = {**_read(_SHIPPED), **_read(_cached(config))}.get(_address(config))
    return None if found is None else dict(found)


def _address(config: WorldConfig) -> str:
    """Of the parameters, whatever their preset's name and the language of the texts."""
    parameters = dataclasses.asdict(config).items()
    values = {k: v for k, v in parameters if k not in ("name", "language")}
    text = json.dumps([WORLD_VERSION, values], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _cached(config: WorldConfig) -> Path:
    return cache_directory() / "reactions" / f"{_address(config)}.json"


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
