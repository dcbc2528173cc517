"""Tell replays, simulations and experiments apart where they stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.results import ExperimentResult

REPLAY, SIMULATION, EXPERIMENT = "replay", "simulation", "experiment"
PER_USER_DAY = {
    "comment_stay_ms": "comment_watch_time",
    "play_time_ms": "play_time",
    "like_rate": "likes",
    "hate_rate": "hates",
}
"""Metrics of a replay under the name that an experiment has for their sum per user-day."""
_DIFFERENCE = (
    "A replay values one impression, everything before it as logged; nobody is simulated for it. "
    "{other} counts whole days of its users, pages and returns included. Their lifts answer "
    "different questions: see 'When to trust' in docs/replay.md."
)


def method_of(result: ExperimentResult) -> str:
    """``"replay"``, ``"simulation"`` or ``"experiment"``."""
    if isinstance(result.context.get("replay"), Mapping):
        return REPLAY
    return SIMULATION if result.simulated else EXPERIMENT


def methods_of(results: Sequence[ExperimentResult]) -> list[str]:
    """Each method once, in the order of the results."""
    return list(dict.fromkeys(map(method_of, results)))


def with_replay(results: Sequence[ExperimentResult]) -> bool:
    """Whether a replay stands beside something else."""
    methods = methods_of(results)
    return REPLAY in methods and len(methods) > 1


def counted_methods(results: Sequence[ExperimentResult]) -> str:
    """Such as ``"1 replay, 2 simulations"``."""
    own = list(map(method_of, results))
    return ", ".join(
        f"{own.count(name)} {name}{'s' if own.count(name) > 1 else ''}"
        for name in methods_of(results)
    )


def difference(results: Sequence[ExperimentResult]) -> str:
    """What sets a replay apart from the others; empty if all are of one kind."""
    if not with_replay(results):
        return ""
    others = [name for name in methods_of(results) if name != REPLAY]
    other = " or ".join(f"{'an' if name == EXPERIMENT else 'a'} {name}" for name in others)
    return _DIFFERENCE.format(other=other[0].upper() + other[1:])


def shared_name(metric: str) -> str:
    """One name for a metric per impression and its sum per user-day."""
    return PER_USER_DAY.get(metric, metric)
