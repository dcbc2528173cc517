"""Choose the exit code of an analysed experiment, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from abtest.errors import ExitCode
from reports.results import ExperimentResult


def conclude(result: ExperimentResult, fail_on: tuple[str, ...]) -> ExitCode:
    """The exit code: complete, untrustworthy, or one of the ``--fail-on`` conditions."""
    metrics = [m for c in result.comparisons for m in c.metrics]
    states = {c.verdict.state for c in result.comparisons}
    failed = {check.name for check in result.health if check.status == "fail"}
    holds = {
        "srm": any(name.startswith("srm") for name in failed),
        "guardrail": any(m.outcome == "margin broken" for m in metrics),
        "worse": "worse" in states,
        "not-clear": "not clear" in states,
        "warning": bool(result.warnings) or "warn" in {check.status for check in result.health},
    }
    if any(holds[condition] for condition in fail_on):
        return ExitCode.FAIL_ON
    silent = any(c.verdict.finding == "no data" for c in result.comparisons)
    return ExitCode.UNTRUSTWORTHY if failed or silent else ExitCode.COMPLETE


def next_step(result: ExperimentResult, directory: Path) -> str:
    """A command that goes on from a finished run, with what it is for."""
    place = shlex.quote(str(directory))
    verdicts = [comparison.verdict for comparison in result.comparisons]
    unclear = next((v for v in verdicts if v.decision == "keep running"), None)
    if unclear is not None:
        wanted = unclear.min_effect if unclear.min_effect_scale == "relative" else None
        size = f" --mde {100.0 * wanted:g}%" if wanted else ""
        return f"abtest power {place}{size}   (how many people a clear answer takes)"
    return f"abtest report {place} --format md   (for a pull request)"
