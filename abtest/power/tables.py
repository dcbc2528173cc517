"""Write the text of `abtest aa` and `abtest power`, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from abtest.tables import number, table
from reports import formats
from reports.render.layout import text_width, wrap
from reports.results import Estimate

if TYPE_CHECKING:
    from abtest.power.planning import Answer, Asked
    from reports.analysis.calibration import CalibrationReport

_NAME = 22


def aa_table(report: CalibrationReport, name: str) -> str:
    """A line per metric: how often it raised a false alarm, and whether that is right."""
    first = report.metrics[0].found
    lines = _wrapped(aa_facts(report, name))
    header, rows = aa_cells(report)
    lines += ["", table(rows, header=header, right=(1, 2, 3, 4))]
    refused = sum(m.found.refused for m in report.metrics)
    if refused:
        lines.append(
            f"{refused:,} splits of some metric could not be analysed and are not counted."
        )
    lines.append("")
    if report.family_rate is not None:
        lines += _wrapped(
            f"Any alarm after Holm's correction over all {len(report.metrics)} metrics: "
            f"{_points(report.family_rate)} % of splits (at most {formats.share(report.alpha)} "
            "is right)."
        )
    level = formats.confidence(first.confidence)
    lines += _wrapped(
        f"Intervals: exact binomial at {level}, so that of calibrated metrics all are called so "
        "with 95 % confidence (two looks at each metric). KS p: Kolmogorov-Smirnov test that the "
        "p values are uniform. cov.: covariates from before that the analysis adjusts for. Given "
        "these users the splits are independent; nothing is said about other users."
    )
    return "\n".join(lines)


def aa_facts(report: CalibrationReport, name: str) -> str:
    """What was done, in a sentence."""
    return (
        f"A/A: {report.replicates:,} random splits ({_split(report.share)}) of {report.users:,} "
        f"users who were all treated alike; {name}. Every alarm is false; "
        f"{formats.share(report.alpha)} of them are expected."
    )


def aa_cells(report: CalibrationReport) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows: a line per metric."""
    rows: list[tuple[str, ...]] = []
    for row in report.metrics:
        found = row.found
        low, high = (_points(v) for v in (found.low, found.high))
        rate = "-" if found.word == "no data" else _points(found.rate)
        rows.append(
            (
                _shorten(row.metric),
                str(row.covariates) if row.covariates else "-",
                f"{rate} %",
                f"{low} to {high} %",
                formats.p_value(found.uniform_p),
                found.word,
            )
        )
    return ("metric", "cov.", "alarms", "interval", "KS p", "verdict"), rows


def power_facts(asked: Asked, name: str) -> str:
    """The question, in a sentence."""
    return f"{_title(asked)} From {name}."


def power_table(rows: Sequence[Answer], asked: Asked, name: str) -> str:
    """A line per metric, and what the columns mean."""
    lines = [*_wrapped(power_facts(asked, name)), ""]
    header, body = power_cells(rows, asked)
    removed, margins = "removed" in header, "margin*" in header
    if body:
        lines += [table(body, header=header, right=range(1, len(header))), ""]
    for row in rows:
        if row.problem:
            lines += _wrapped(f"warning: '{row.metric}': {row.problem}")
    if len(body) == 1:
        lines += _wrapped(_per_arm(next(r for r in rows if not r.problem), asked))
    words = ["Users: in all arms together. sd/user: of one user's value"]
    words.append(", after what covariates or pairing removed." if removed else ".")
    if margins:
        words.append(f" margin*: the smallest that is shown with {formats.share(asked.power)}.")
    lines += _wrapped("".join(words))
    return "\n".join(lines)


def power_cells(rows: Sequence[Answer], asked: Asked) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a line per metric that has an answer."""
    margins = asked.margin is not None and asked.users is not None
    removed = any(row.variance_removed is not None for row in rows)
    header = ["metric", "value", "sd/user"]
    header += ["removed"] if removed else []
    header += ["true lift" if asked.margin is not None else "effect", "users", "power"]
    header += ["margin*"] if margins else []
    body = []
    for row in rows:
        if row.problem:
            continue
        cells = [_shorten(row.metric), number(row.value), number(row.deviation)]
        if removed:
            cells.append(formats.percent(row.variance_removed, signed=False))
        cells += [
            _effect(row, asked),
            "-" if row.total is None else f"{row.total:,}",
            "-" if row.power is None else f"{100.0 * row.power:.1f} %",
        ]
        if margins:
            cells.append(_sized(row.smallest_margin, row).lstrip("+"))
        body.append(cells)
    return header, body


def _title(asked: Asked) -> str:
    chance = formats.share(asked.power)
    arms = len(asked.shares)
    if asked.paired:
        design = "everyone in every arm (twin)"
    elif arms == 2:
        design = f"{_split(asked.shares[1])} split"
    else:
        shares = " / ".join(formats.share(round(s, 4)) for s in asked.shares)
        design = f"arms {shares}"
    if arms > 2 and asked.margin is None:
        divided = asked.correct in ("both", "treatments")
        design += ", alpha divided among treatments" if divided else ", alpha not divided"
    how = f"two-sided, alpha {formats.share(asked.alpha)}; {design}"
    if asked.margin is not None:
        how = f"alpha {formats.share(asked.alpha / 2.0)} one-sided; {design}"
        what = f"harm stays below {_given(asked.margin, asked.margin_is_share)}"
        if asked.users is None:
            return f"Users needed to prove with {chance} power that {what} ({how})."
        return f"Power of {asked.users:,} users to prove that {what} ({how})."
    if asked.effect is None:
        assert asked.users is not None
        return f"Smallest effect that {asked.users:,} users find with {chance} power ({how})."
    size = _given(asked.effect, asked.effect_is_share)
    effect = f"an effect of {size if size.startswith('-') else '+' + size}"
    if asked.users is None:
        return f"Users needed to find {effect} with {chance} power ({how})."
    return f"Power of {asked.users:,} users to find {effect} ({how})."


def _given(value: float, is_share: bool) -> str:
    """A size that somebody chose: "5 %"; "0.5", of a share without percent sign "50 %"."""
    return formats.share(value) if is_share else formats.trimmed(value)


def _per_arm(row: Answer, asked: Asked) -> str:
    if asked.paired:
        return f"Each of {row.users[0]:,} users in every arm."
    names = ["control", *[f"treatment {i}" for i in range(1, len(row.users))]]
    if len(names) == 2:
        names[1] = "treatment"
    return "; ".join(f"{n} {u:,} users" for n, u in zip(names, row.users, strict=True)) + "."


def _effect(row: Answer, asked: Asked) -> str:
    if row.effect is None:
        return "-"
    text = _sized(row.effect, row)
    return text.replace("+", "+/-") if asked.question == "effect" else text


def _sized(value: float | None, row: Answer) -> str:
    """An effect or margin: a lift, or a difference in the metric's unit."""
    if row.scale == "relative" or value is None:
        return formats.percent(value)
    return formats.difference(Estimate(value, None, None), row.unit, alone=True)


def _split(share: float) -> str:
    return f"{100.0 * (1.0 - share):.4g}/{100.0 * share:.4g}"


def _points(value: float) -> str:
    return f"{100.0 * value:.1f}"


def _shorten(text: str) -> str:
    return text if len(text) <= _NAME else text[: _NAME - 3] + "..."


def _wrapped(text: str) -> list[str]:
    return wrap(text, text_width(None))
