"""Write the names, the order and the outcomes of segments."""

from __future__ import annotations

import re

from reports import formats
from reports.results import ArmComparison, MetricComparison, SegmentLift
from reports.verdict.words.metrics import of_role

_ORDINALS = (
    ("none", "never", "zero", "inactive"),
    ("new", "newest", "youngest", "lowest", "first", "cold", "rare", "tiny"),
    ("low", "light", "small", "young", "short", "weak", "few", "casual"),
    ("middle", "mid", "medium", "normal", "moderate", "regular", "some"),
    ("high", "heavy", "large", "old", "long", "strong", "many", "power", "core"),
    ("highest", "full", "oldest", "last", "returning", "most"),
)
_RANKS = {word: rank for rank, words in enumerate(_ORDINALS) for word in words}
_LAST = ("other", "others", "unknown", "missing")
_THOUSANDS = {"k": 1e3, "w": 1e4, "m": 1e6}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kwm]?)")
_RANGE = re.compile(r"^([\[(])\s*([^,]+?)\s*,\s*([^,]+?)\s*([\])])$")


def segment_order(comparison: ArmComparison) -> list[SegmentLift]:
    """Segments variable by variable, their levels in the order a person would list them."""
    variables = list(dict.fromkeys(s.segment for s in comparison.segments))
    return sorted(
        comparison.segments, key=lambda s: (variables.index(s.segment), _natural(s.level))
    )


def _natural(level: str) -> tuple[int, int, list[float], str]:
    """Sort key: words for less or more, then numbers by value, then names, then the unknown."""
    key = level.strip().lower()
    tokens = [token for token in re.split(r"[^a-z]+", key) if token]
    rank = next((_RANKS[token] for token in tokens if token in _RANKS), None)
    numbers = [float(n) * _THOUSANDS.get(unit, 1.0) for n, unit in _NUMBER.findall(key)]
    if key in _LAST:
        return 3, 0, [], key
    if rank is not None:
        return 0, rank, numbers, key
    return (1, 0, numbers, key) if numbers else (2, 0, [], key)


def segment_variable(name: str) -> str:
    """A segment variable for people: "activity_level" is "Activity level"."""
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def segment_level(level: str) -> str:
    """A level for people: "(0,10]" is "over 0 to 10", "500+" is "500 and more"."""
    text = level.strip()
    found = _RANGE.match(text)
    if found:
        left, low, high, right = found.groups()
        return f"{'over ' if left == '(' else ''}{low} to {'under ' if right == ')' else ''}{high}"
    if re.fullmatch(r"\d[\d.,]*[kwm]?\+", text):
        return f"{text[:-1]} and more"
    return text.replace("_", " ")


def segment_outcome(segment: SegmentLift, metric: MetricComparison) -> str:
    """Whether the corrected interval of a segment excludes no change, and on which side."""
    lift = segment.effect
    if lift is None or lift.low is None or lift.high is None:
        return "no data"
    if lift.low <= 0.0 <= lift.high:
        return "not clear"
    return "better" if (lift.low > 0.0) == (metric.direction == "up") else "worse"


def interactions(comparison: ArmComparison) -> list[str]:
    """A sentence per segment variable between whose levels the lift differs."""
    primary = next(iter(of_role(comparison, "primary")), None)
    alpha = 0.05 if primary is None else 1.0 - primary.confidence
    absolute = any(segment.scale == "absolute" for segment in comparison.segments)
    return [
        f"The {'effect' if absolute else 'lift'} differs between the levels of "
        f"'{test.segment}' "
        f"({formats.p_equals(test.p_adjusted)}; {test.family})."
        for test in comparison.interactions
        if test.p_adjusted < alpha
    ]
