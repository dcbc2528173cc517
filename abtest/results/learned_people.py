"""Say in the terminal how far people learned from a log can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from abtest.tables import number, table, wrapped
from reports.verdict.words.learned_people import believable


def learned_people(quality: Mapping[str, Any]) -> str:
    """`abtest data fidelity`: held-out accuracy, the two-sample test, and a sentence.

    Args:
        quality: Of a `simulator.response.learned.LearnedResponse`.
    """
    shown = ("rows", "observed_rate", "predicted_rate", "auc", "calibration_error")
    outcomes = [
        (name, *(_cell(row.get(key)) for key in shown))
        for name, row in quality["binary"].items()
        if row["learned"]
    ]
    header = ("outcome", "held-out rows", "observed", "predicted", "AUC", "calibration error")
    lines = [table(outcomes, header=header, right=(1, 2, 3, 4, 5))]
    times = [
        (f"{name}, {level}", _cell(row.get("observed")), _cell(row.get("predicted")))
        for name, levels in quality["quantiles"].items()
        for level, row in levels.items()
        if isinstance(row, Mapping)
    ]
    if times:
        lines += ["", table(times, header=("quantile", "observed", "predicted"), right=(1, 2))]
    by_activity = [
        (f"{name}, {what}", *_pair(segment, path))
        for name, segment in quality.get("segments", {}).items()
        for what, path in _TOLD.items()
    ]
    if by_activity:
        lines += ["", table(by_activity, header=("activity", *_SIDES), right=(1, 2))]
    facts = quality["two_sample"]
    if "features" in facts:
        alone = [
            (row["name"], _cell(row["auc"]), _cell(row["real"]), _cell(row["simulated"]))
            for row in facts["features"]
        ]
        header_2 = ("alone tells sessions apart", "AUC", "mean in the log", "mean simulated")
        lines += ["", table(alone, header=header_2, right=(1, 2, 3))]
        counts = facts["sessions"]
        lines += [
            "",
            *wrapped(
                f"{counts['real']:,} logged sessions of {facts['users']:,} people and as many "
                f"simulated ones; {100 * facts['unseen']:.0f} % of their impressions were not "
                "trained on."
            ),
        ]
    said = believable(facts)
    if said is not None:
        lines += ["", *wrapped(f"{said[1][0].upper()}{said[1][1:]}.")]
    return "\n".join(lines)


_SIDES = ("observed", "predicted")
_TOLD = {
    "click": ("click",),
    "play_time_ms p50": ("play_time_ms", "p50"),
    "comment_stay_ms_of_opened p50": ("comment_stay_ms_of_opened", "p50"),
}


def _pair(segment: Mapping[str, Any], path: Sequence[str]) -> tuple[str, ...]:
    """Observed and predicted, of one figure of a segment."""
    value: Any = segment
    for key in path:
        value = value.get(key, {})
    return tuple(_cell(value.get(side)) for side in _SIDES)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else ""
