"""Write numbers the same way in the table, the report and the CSV.

Nothing here returns "nan" or "inf": what cannot be computed is written `MISSING`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from reports.results import ArmValue, Estimate, MetricComparison, Scale

MISSING = "n/a"
_MOST_DECIMALS = 6
"""Of a percentage; a smaller one has an exponent."""

_ASCII = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "—": "-",
        "±": "+/-",
        "×": "x",
        "…": "...",
        "’": "'",
        "“": '"',
        "”": '"',
        "\u00a0": " ",
        "\u202f": " ",
    }
)
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def plain(text: str) -> str:
    """One line of text without control or text-direction characters.

    Names come from logs and plugins; they must not be able to steer a terminal.
    """
    return "".join("\ufffd" if _steers(c) else c for c in text)


def visible(text: str, *, kept: str = "") -> str:
    r"""The text with its control and text-direction characters as escapes: ``\x1b``, ``\n``.

    Args:
        text: For a terminal.
        kept: Characters that stay as they are.
    """
    return "".join(ascii(c)[1:-1] if _steers(c) and c not in kept else c for c in text)


def _steers(letter: str) -> bool:
    """Whether a character does something to a terminal instead of being shown."""
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in _BIDI


def encodable(text: str, encoding: str) -> str:
    """The text as an encoding can write it.

    Of what it lacks, typographic signs become their plain form, other letters escapes.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_plain_form(c, encoding) for c in text)
    return text


def _plain_form(letter: str, encoding: str) -> str:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        plain_form = letter.translate(_ASCII)
        return plain_form.encode("ascii", "backslashreplace").decode("ascii")
    return letter


def typographic(text: str) -> str:
    """True minus signs, and spaces that do not break before a percent sign."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text.replace("+/-", "±"))
    return re.sub(r"(?<=\d) (?=%)", "\u00a0", text)


def known(value: float | None) -> bool:
    """Whether there is a number to show."""
    return value is not None and math.isfinite(value)


def count(value: int) -> str:
    """A number of things: 12,345."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A count of something: "1 user", "2,048 users"."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def number(value: float | None, *, signed: bool = False, decimals: int | None = None) -> str:
    """A value with about four significant digits, without exponent where that is readable."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value != 0 and not 1e-6 <= abs(value) < 1e15:
        return f"{value:{'+' if signed else ''}.2e}"
    places = _decimals([value]) if decimals is None else decimals
    text = f"{value:{'+' if signed else ''},.{places}f}"
    return text.lstrip("+-") if _is_zero(text) else text


def whole(value: float) -> str:
    """A sum: without decimals where it is large or a count, else with four digits."""
    counted = abs(value - round(value)) < 1e-9 * max(abs(value), 1.0)
    return number(value, decimals=0 if counted or abs(value) >= 1000.0 else None)


def trimmed(value: float) -> str:
    """A value without zeros at its end: 0.0001 rather than 0.0001000."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def numbers(values: Sequence[float | None]) -> list[str]:
    """Values that belong side by side, with the same number of decimals."""
    places = _decimals([v for v in values if v is not None and math.isfinite(v)])
    return [number(v, decimals=places) for v in values]


def unit_suffix(unit: str) -> str:
    """What follows a value: "s per user-day" is written " s", "per user-day" nothing."""
    first = unit.partition(" ")[0]
    return "" if first in ("", "per") else f" {first}"


def arm_values(arms: Sequence[ArmValue], unit: str) -> list[str]:
    """The metric's value in each arm, with its unit."""
    return [
        text if text == MISSING else text + unit_suffix(unit)
        for text in numbers([arm.value for arm in arms])
    ]


def difference(estimate: Estimate | None, unit: str, *, alone: bool = False) -> str:
    """An absolute lift with its unit: "+1.34 s"; of percentages in points.

    Args:
        estimate: The lift.
        unit: Of the metric.
        alone: Whether nothing near it says what it is per: "+1.34 per user".
    """
    if estimate is None or not known(estimate.value):
        return MISSING
    places = _difference_decimals(estimate)
    suffix = difference_suffix(unit, alone=alone)
    return number(estimate.value, signed=True, decimals=places) + suffix


def percent(value: float | None, *, signed: bool = True) -> str:
    """A fraction as a percentage: 0.032 is "+3.2 %"."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{_percent_digits(value, _percent_decimals([value]), signed)} %"


def percents(values: Sequence[float]) -> list[str]:
    """Fractions that belong together as signed percentages, with the same number of decimals."""
    places = _percent_decimals([v for v in values if math.isfinite(v)])
    return [
        f"{_percent_digits(v, places, True)} %" if math.isfinite(v) else MISSING for v in values
    ]


def share(value: float) -> str:
    """A fraction somebody chose, as briefly as they would say it: "10 %", "0.5 %"."""
    return f"{100.0 * value:.4g} %"


def shortened(name: str, width: int = 48) -> str:
    """A name of at most this many characters: its beginning, dots and its end."""
    if len(name) <= width:
        return name
    tail = (width - 1) // 3
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"


def lift(estimate: Estimate | None) -> str:
    """The relative lift alone, with the decimals of its interval."""
    if estimate is None or not known(estimate.value):
        return MISSING
    return f"{_percent_digits(estimate.value, _lift_decimals(estimate), True)} %"


def interval(estimate: Estimate | None) -> str:
    """The bounds alone: "+1.1 to +5.3 %"."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return MISSING
    if not (known(estimate.low) and known(estimate.high)):
        return MISSING
    places = _lift_decimals(estimate)
    low, high = (_percent_digits(v, places, True) for v in (estimate.low, estimate.high))
    return f"{low} to {high} %"


def absolute_interval(estimate: Estimate | None, unit: str, *, alone: bool = False) -> str:
    """The bounds of a difference, with its unit: "-0.12 to +0.41 s"."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return MISSING
    if not (known(estimate.low) and known(estimate.high)):
        return MISSING
    places = _difference_decimals(estimate)
    low, high = (number(v, signed=True, decimals=places) for v in (estimate.low, estimate.high))
    return f"{low} to {high}{difference_suffix(unit, alone=alone)}"


def shown_interval(metric: MetricComparison) -> str:
    """The relative interval; the absolute one where the control is too noisy for it."""
    relative = interval(metric.relative)
    if relative != MISSING:
        return relative
    return absolute_interval(metric.absolute, metric.unit, alone=True)


def shown_effect(metric: MetricComparison) -> str:
    """The relative lift; the difference where effects are absolute."""
    return effect(metric.on(metric.scale), metric.scale, metric.unit)


def effect(estimate: Estimate | None, scale: Scale, unit: str) -> str:
    """A lift, or a difference in this unit: "+3.2 %", "+1.34 per user"."""
    return difference(estimate, unit, alone=True) if scale == "absolute" else lift(estimate)


def effect_interval(estimate: Estimate | None, scale: Scale, unit: str) -> str:
    """The bounds of a lift, or of a difference in this unit."""
    if scale == "absolute":
        return absolute_interval(estimate, unit, alone=True)
    return interval(estimate)


def common_scale(metrics: Iterable[MetricComparison]) -> Scale:
    """The scale on which comparisons of one metric can stand on one axis."""
    return "absolute" if any(m.scale == "absolute" for m in metrics) else "relative"


def amount(value: float, unit: str) -> str:
    """A size that somebody chose, in a metric's unit: "0.5 s", "2 points"."""
    return trimmed(value) + difference_suffix(unit)


def margin(metric: MetricComparison) -> str:
    """A guardrail's margin: a share of the control, or a size in the metric's unit."""
    if metric.margin is None:
        return MISSING
    if metric.margin_scale == "absolute":
        return amount(metric.margin, metric.unit)
    return share(metric.margin)


def detectable_size(metric: MetricComparison) -> str:
    """What the test could detect, without sign; `MISSING` where it is not known."""
    if metric.scale == "absolute" and metric.detectable_difference is not None:
        text = number(metric.detectable_difference)
        return text if text == MISSING else text + difference_suffix(metric.unit, alone=True)
    return percent(metric.detectable_effect, signed=False)


def confidence(level: float) -> str:
    """A confidence level, exact to a twentieth of what is missing to 100 %: "99.4 %"."""
    shown = 100.0 * level
    for places in range(5):
        text = f"{shown:.{places}f}"
        if abs(float(text) - shown) <= 0.05 * (100.0 - shown) + 1e-9 and float(text) < 100.0:
            return f"{text} %"
    return "over 99.99 %"


def p_value(p: float | None) -> str:
    """A p value without false precision."""
    if p is None or not math.isfinite(p):
        return MISSING
    if p < 0.001:
        return "<0.001"
    if p > 0.995:
        return ">0.99"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_equals(p: float | None) -> str:
    """A p value in a sentence: "p = 0.012", "p < 0.001"."""
    text = p_value(p)
    if text == MISSING:
        return f"p {MISSING}"
    return f"p {text[0]} {text[1:]}" if text[0] in "<>" else f"p = {text}"


def p_exact(p: float | None) -> str:
    """A p value in a sentence about a failed check: the power of ten where it is small."""
    if p is None or not math.isfinite(p) or p >= 0.001:
        return p_equals(p)
    return f"p = {p:.0e}" if p >= 1e-300 else "p < 1e-300"


def difference_suffix(unit: str, *, alone: bool = False) -> str:
    """What follows a difference: " s", " points" of percentages, " per user" if it stands alone."""
    if alone and unit.startswith("per "):
        return f" {unit}"
    return " points" if unit.split(" ")[0] == "%" else unit_suffix(unit)


def _difference_decimals(estimate: Estimate) -> int:
    parts = (estimate.value, estimate.low, estimate.high)
    return _decimals([v for v in parts if v is not None and math.isfinite(v)], digits=3)


def _decimals(values: Sequence[float], *, digits: int = 4) -> int:
    """Decimals that give the largest value this many significant digits."""
    largest = max((abs(v) for v in values), default=0.0)
    if largest == 0.0:
        return 0
    return min(max(digits - 1 - math.floor(math.log10(largest)), 0), 9)


def _lift_decimals(estimate: Estimate) -> int:
    parts = (estimate.value, estimate.low, estimate.high)
    return _percent_decimals([v for v in parts if v is not None and math.isfinite(v)])


def _percent_decimals(values: Sequence[float]) -> int:
    largest = max((abs(100.0 * v) for v in values), default=0.0)
    if largest == 0.0 or largest >= 0.1:
        return 0 if largest >= 1000.0 else 1
    return min(1 - math.floor(math.log10(largest)), _MOST_DECIMALS)


def _percent_digits(value: float, places: int, signed: bool) -> str:
    if abs(value) > 1e7:
        return f"{min(max(100.0 * value, -1e300), 1e300):{'+' if signed else ''}.1e}"
    text = f"{100.0 * value:{'+' if signed else ''},.{places}f}"
    if value and places == _MOST_DECIMALS and _is_zero(text):
        return f"{100.0 * value:{'+' if signed else ''}.1e}"
    return text.lstrip("+-") if _is_zero(text) else text


def _is_zero(text: str) -> bool:
    return not any(c in "123456789" for c in text)
