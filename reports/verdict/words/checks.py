"""Write the sentences of the checks, and what else to know before believing the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reports import formats
from reports.results import ExperimentResult, HealthCheck, MetricComparison
from reports.verdict.words.learned_people import believable, unsupported
from reports.verdict.words.metrics import inline, of_role

Status = Literal["pass", "warn", "fail", "not run", "note"]

LABELS = {
    "srm": "Traffic split",
    "users": "Users",
    "balance": "Balance before",
    "srm_segments": "Split by segment",
    "srm_days": "Split day by day",
    "carry_over": "Carry-over",
    "silent": "Metrics",
    "outliers": "Outliers",
    "aa": "A/A calibration",
}


@dataclass(frozen=True)
class Chip:
    """One reason to trust the numbers or not; "note" states a fact without judging it."""

    label: str
    status: Status
    detail: str


def check_label(check: HealthCheck) -> str:
    """The name of a check for people."""
    return check.label or LABELS.get(check.name, check.name)


def check_sentence(check: HealthCheck) -> str:
    """What a check found; no full stop."""
    write = _SENTENCES.get(check.code)
    return check.detail if write is None else write(check.facts)


def _split(facts: Mapping[str, Any]) -> str:
    """Counts and plan: 8,128 vs 8,256, planned equal."""
    counts, shares = facts["users"], facts["planned"]
    planned = "equal" if len(set(shares)) == 1 else _shares(shares)
    return f"{' vs '.join(formats.count(n) for n in counts)}, planned {planned}"


def _absent(facts: Mapping[str, Any]) -> str:
    """Planned arms without users and arms that nobody planned."""
    said = [f"arm '{arm}' has no users" for arm in facts.get("silent", ())]
    said += [f"nobody planned arm '{arm}'" for arm in facts.get("unplanned", ())]
    return f"; {'; '.join(said)}" if said else ""


def _all(count: int, noun: str) -> str:
    return f"the only {noun}" if count == 1 else f"all {formats.counted(count, noun)}"


def _shares(shares: list[float]) -> str:
    whole = sum(shares)
    return "/".join(f"{100.0 * share / whole:.4g}" for share in shares)


def _differed(facts: Mapping[str, Any]) -> str:
    lift = facts["lift"]
    size = "" if lift is None else f" by {formats.percent(lift)}"
    return (
        f"{inline(facts['metric'])} differed{size} before the start "
        f"({formats.p_exact(facts['p'])}); adjusting for it moves the difference by "
        f"{abs(facts['moved']):.1f} standard errors"
    )


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "split as planned": lambda f: f"{_split(f)} ({formats.p_equals(f['p'])})",
    "split broken": lambda f: (
        f"traffic split is broken: {_split(f)} ({formats.p_exact(f['p'])}){_absent(f)}"
    ),
    "split as planned in segments": lambda f: (
        f"as planned in {_all(f['levels'], 'level')} of the segments (smallest "
        f"{formats.p_equals(f['p'])}, corrected)"
    ),
    "split as planned on all days": lambda f: (
        f"as planned on {_all(f['days'], 'day')} while users joined (always valid "
        f"{formats.p_equals(f['p'])})"
    ),
    "split broken on a day": lambda f: (
        f"traffic split is broken: {_split(f)} of the users who had joined by day {f['day']} "
        f"(always valid {formats.p_exact(f['p'])})"
    ),
    "split broken in a segment": lambda f: (
        f"traffic split is broken where '{f['segment']}' is '{f['level']}': {_split(f)} "
        f"({formats.p_exact(f['p'])}, corrected); "
        f"in {f['broken']} of {formats.counted(f['levels'], 'level')}"
    ),
    "everyone in every arm": lambda f: "every user is in every arm",
    "twins missing": lambda f: (
        f"arms differ in users: {' vs '.join(formats.count(n) for n in f['users'])}"
    ),
    "user-days unique": lambda f: "each user-day once, each user in one arm",
    "user-days of pairs unique": lambda f: "each user-day once in each arm",
    "users unique": lambda f: "each user once, each user in one arm",
    "user-days repeated": lambda f: (
        f"{formats.counted(f['rows'], 'repeated user-day')}: "
        "the table is not one row per user and day"
    ),
    "users in two arms": lambda f: f"{formats.counted(f['users'], 'user')} in more than one arm",
    "same people": lambda f: "the same people are in every arm",
    "no past": lambda f: "no days before",
    "cannot be computed": lambda f: str(f["problem"]),
    "covariates differ": lambda f: (
        f"the arms differed before the start (joint {formats.p_exact(f['p'])}), most in "
        f"'{f['worst']}': {f['distance']:.2g} standard deviations "
        f"({formats.p_exact(f['worst_p'])}, Holm)"
    ),
    "covariates alike": lambda f: (
        f"alike before the start ({formats.counted(f['covariates'], 'covariate')}, "
        f"joint {formats.p_equals(f['p'])})"
    ),
    "metric not known before": lambda f: f"'{f['metric']}' is not known from before",
    "metric alike": lambda f: (
        f"{inline(f['metric'])} was alike before the start ({formats.p_equals(f['p'])})"
    ),
    "metric differed": _differed,
    "every metric occurs": lambda f: "every metric occurs",
    "metric silent": lambda f: (
        f"'{f['metric']}' is 0 for all {formats.count(f['users'])} users; no lift computed"
    ),
    "too few users": lambda f: "too few users",
    "nobody has a value": lambda f: f"nobody has any {inline(f['metric'])}",
    "zero or one": lambda f: f"{inline(f['metric'])} is 0 or 1 per user",
    "top share": lambda f: (
        f"the top 1 % of users hold {formats.percent(f['share'], signed=False)} of all "
        f"{inline(f['metric'])}"
    ),
}
"""The sentence of every code of `reports.analysis.health`, from its facts."""


def chips(result: ExperimentResult) -> list[Chip]:
    """The health checks, and what else a reader should know before believing the numbers."""
    found = [Chip("Oracle", "warn", sentence) for sentence in oracles(result)]
    found += _contracts(result)
    found += [Chip(check_label(c), c.status, check_sentence(c)) for c in result.health]
    names = {check.name for check in result.health}
    if "power" not in names:
        found += _power(result)
    if "fidelity" not in names and result.simulated:
        found.append(_environment(result))
        found += _learned_people(result)
    if "aa" not in names:
        found.append(Chip("A/A calibration", "not run", "this experiment contains no A/A runs"))
    return found


def _contracts(result: ExperimentResult) -> list[Chip]:
    """Whether policies from outside the house keep the contract that built-in ones are held to."""
    contract = result.context.get("contract")
    found = []
    for policy, facts in sorted(contract.items() if isinstance(contract, dict) else []):
        if not isinstance(facts, dict) or not isinstance(facts.get("broken"), list):
            continue
        if facts["broken"]:
            rest = len(facts["broken"]) - 1
            more = f", and {formats.counted(rest, 'more rule')}" if rest else ""
            found.append(Chip("Policy contract", "warn",
                              f"{policy} breaks it: {facts['broken'][0]}{more}"))  # fmt: skip
        else:
            rules = formats.counted(int(facts.get("rules", 0)), "rule")
            kept = f"{policy} keeps {rules} that were tried"
            found.append(Chip("Policy contract", "pass", kept))
    return found


def oracles(result: ExperimentResult) -> list[str]:
    """A sentence for every arm whose ranker knew what no real ranker can know."""
    arms = result.context.get("policies")
    named = {c.control for c in result.comparisons} | {c.treatment for c in result.comparisons}
    return [
        f"{arm} {facts['oracle']}"
        for arm, facts in sorted(arms.items() if isinstance(arms, dict) else [])
        if arm in named and isinstance(facts, dict) and isinstance(facts.get("oracle"), str)
    ]


def _power(result: ExperimentResult) -> list[Chip]:
    """What the test of the weakest treatment could detect."""
    primaries = [m for c in result.comparisons for m in of_role(c, "primary")]
    known = [m for m in primaries if formats.detectable_size(m) != formats.MISSING]
    if not known:
        return []
    weakest = max(known, key=lambda m: (m.scale == "absolute", _detected(m)))
    name = inline(weakest.label)
    detail = f"detects ±{formats.detectable_size(weakest)} in {name} (80 % power)"
    return [Chip("Power", "note", detail)]


def _detected(metric: MetricComparison) -> float:
    size = metric.detectable_difference if metric.scale == "absolute" else metric.detectable_effect
    return size or 0.0


def _environment(result: ExperimentResult) -> Chip:
    environment = result.context.get("environment")
    facts = environment if isinstance(environment, dict) else {}
    kind = str(facts.get("kind", "simulated people"))
    rows = facts.get("fidelity")
    if isinstance(rows, list) and rows:
        known = [row for row in rows if isinstance(row, dict)]
        measured = Counter(str(r.get("role")) for r in known if r.get("verdict") != "not measured")
        close = Counter(str(row.get("role")) for row in known if row.get("verdict") == "close")
        words = ", ".join(f"{close[role]} of {n} {role}" for role, n in measured.items())
        words = f"{kind}; close to published statistics: {words}{_reactions(facts)}"
        return Chip("World fidelity", "note", words)
    quality = facts.get("quality")
    binary = quality.get("binary") if isinstance(quality, dict) else None
    if isinstance(binary, dict):
        areas = [
            row["auc"]
            for row in binary.values()
            if isinstance(row, dict) and isinstance(row.get("auc"), float)
        ]
        if areas:
            spread = " to ".join(dict.fromkeys(f"{a:.2f}" for a in (min(areas), max(areas))))
            return Chip("World fidelity", "note", f"{kind}; held-out AUC {spread}")
    return Chip("World fidelity", "not run", f"{kind}; not compared with anything")


def _learned_people(result: ExperimentResult) -> list[Chip]:
    """Whether people learned from a log resemble it, and what the log could not teach them."""
    environment = result.context.get("environment")
    facts = environment if isinstance(environment, Mapping) else {}
    found = []
    quality, support = facts.get("quality"), facts.get("support")
    compared = quality.get("two_sample") if isinstance(quality, Mapping) else None
    said = believable(compared) if isinstance(compared, Mapping) else None
    if said is not None:
        found.append(Chip("Two-sample test", *said))
    if isinstance(facts.get("selection"), str):
        found.append(Chip("Selection in the log", "warn", facts["selection"]))
    if isinstance(support, Mapping):
        found += [Chip("Support", "warn", sentence) for sentence in unsupported(support)]
    return found


def _reactions(facts: Mapping[str, Any]) -> str:
    """How many published experiments the world agrees with, if that was measured."""
    counts = facts.get("reactions")
    if not isinstance(counts, Mapping) or not counts.get("lines"):
        return ""
    direction, lines = counts.get("direction"), counts["lines"]
    return f"; reacts to a better ranker as published: {direction} of {lines}"
