"""Write what a run would do as comments above the configuration that it would have."""

from __future__ import annotations

import dataclasses
import json

from abtest.config import RunConfig
from abtest.dry_run.preview import Cost, Preview
from reports import formats
from reports.render.layout import wrap

_WIDTH = 78


def dry_run_text(config: RunConfig, found: Preview) -> str:
    """A TOML document: the plan as comments, then the resolved configuration.

    The document can be given to ``abtest run --config``.
    """
    design = "everyone lives through every arm" if config.design == "twin" else "online"
    days = f"{config.days} day{'s' if config.days > 1 else ''}"
    about = "about " if found.sized else ""
    lines = [
        "Dry run: everything needed is there; nothing was written.",
        f"Plan: {', '.join(found.arms[1:])} against {found.arms[0]}; {design}; {about}"
        f"{found.people:,} people, {days}.",
        f"Decides: {found.primary}, better by at least {formats.share(config.min_effect)}; "
        f"guardrails: {', '.join(found.guardrails) or 'none'}.",
        _power_line(config, found),
        f"Time: {_time(found.costs)}",
        *[f"  {c.stage}: {_minutes(c)}" for c in found.costs],
        f"Disk: about {_size(found.disk_bytes)} in {found.directory}.",
        f"Run it: {config.command()}",
    ]
    comments = [f"# {part}" for line in lines for part in _wrapped(line)]
    return "\n".join(comments) + "\n\n" + config.to_toml()


def dry_run_json(config: RunConfig, found: Preview) -> str:
    """The same as one JSON document."""
    document = {
        **dataclasses.asdict(found),
        "directory": str(found.directory),
        "configuration": {k: v for k, v in dataclasses.asdict(config).items() if v is not None},
        "command": config.command(),
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)


def _wrapped(line: str) -> list[str]:
    text = line.lstrip()
    blank = " " * (len(line) - len(text))
    return wrap(text, _WIDTH, blank, f"{blank}  ")


def _power_line(config: RunConfig, found: Preview) -> str:
    if found.detectable is None:
        return f"Power: not known before the run: {found.unknown}"
    effect = formats.percent(found.detectable, signed=False)
    text = (
        f"Power: {found.people:,} people detect about +/-{effect} in {found.primary} (80 % power; "
        f"variance of {found.source})."
    )
    if config.design == "twin":
        text += " That is for an online design; a twin design finds smaller effects."
    if found.sized:
        text += f" The run sizes itself: at most {config.max_users:,} people."
    elif found.detectable > config.detect:
        text += f" For +/-{formats.share(config.detect)}: leave --users out, or see abtest power."
    return text


def _time(costs: tuple[Cost, ...]) -> str:
    known = sum(c.seconds for c in costs if c.seconds is not None)
    more = ", and what is not known yet" if any(c.seconds is None for c in costs) else ""
    return f"about {_round(known)}{more}"


def _minutes(cost: Cost) -> str:
    if cost.seconds is None:
        return "not known before its first run"
    return _round(cost.seconds) + ("" if cost.measured else " (typical of two cores)")


def _round(seconds: float) -> str:
    if seconds < 45.0:
        return f"{max(seconds, 1.0):.0f} s"
    return f"{max(seconds / 60.0, 1.0):.0f} min"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 1.0):.0f} MB"
