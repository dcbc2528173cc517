"""One decision and one cause for every experiment that can come out."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from abtest.metrics import PLATFORM_METRICS
from reports.plan import AnalysisPlan
from reports.render.terminal import render
from reports.results import (
    ArmValue,
    Estimate,
    ExperimentResult,
    HealthCheck,
    MetricComparison,
    Verdict,
)
from reports.verdict.judge import judge
from reports.verdict.rule import DecisionRule, RuleError, decide, parse_rule
from tests.reports.conftest import make_result

# Relative interval and outcome of the primary metric; the minimum effect is 1 %.
PRIMARY: dict[str, tuple[Estimate | None, str]] = {
    "clearly better": (Estimate(0.05, 0.02, 0.08), "better"),
    "better, perhaps too little": (Estimate(0.02, 0.002, 0.04), "better"),
    "better, by less": (Estimate(0.005, 0.001, 0.015), "better"),
    "better, surely too little": (Estimate(0.003, 0.001, 0.005), "better"),
    "open": (Estimate(0.01, -0.02, 0.04), "not clear"),
    "surely no gain": (Estimate(-0.001, -0.004, 0.003), "not clear"),
    "slightly worse": (Estimate(-0.005, -0.009, -0.001), "worse"),
    "worse": (Estimate(-0.05, -0.08, -0.02), "worse"),
    "absurd": (Estimate(0.9, 0.7, 1.1), "better"),
    "noisy control": (Estimate(0.1, None, None), "not clear"),
    "control of zero": (None, "better"),
    "silent": (None, "no data"),
}
GUARDRAIL = ("within margin", "not clear", "margin broken", "no data")
HEALTH = ("pass", "warn", "fail", "not run")
RULES = tuple(
    DecisionRule(g, e)  # type: ignore[arg-type]
    for g, e in itertools.product(("proven", "not-broken"), ("estimate", "interval"))
)


def row(
    name: str, outcome: str, relative: Estimate | None, *, margin: float | None = None
) -> MetricComparison:
    silent = outcome == "no data"
    return MetricComparison(
        metric=name,
        label=name.capitalize(),
        unit="s",
        kind="mean",
        role="primary" if margin is None else "guardrail",
        direction="up",
        control=ArmValue("a", 100, 10.0, 0.1),
        treatment=ArmValue("b", 100, 10.0, 0.1),
        absolute=None if silent else Estimate(0.5, 0.1, 0.9),
        relative=relative,
        relative_method="fieller",
        p_value=None if silent else 0.01,
        p_adjusted=None if silent else 0.01,
        family="primary",
        confidence=0.95,
        detectable_effect=0.03,
        variance_reduction=None,
        margin=margin,
        outcome=outcome,
    )


def verdict(
    primary: str,
    guardrails: tuple[str, ...],
    health: tuple[str, ...],
    rule: DecisionRule | None = None,
) -> Verdict:
    relative, outcome = PRIMARY[primary]
    rows = [
        row(f"guard{i}", state, Estimate(-0.2, -0.3, -0.1), margin=0.05)
        for i, state in enumerate(guardrails)
    ]
    checks = [
        HealthCheck(f"check{i}", f"Check {i}", status, f"detail {i}")  # type: ignore[arg-type]
        for i, status in enumerate(health)
    ]
    plan = AnalysisPlan(metrics=PLATFORM_METRICS, min_effect=0.01, rule=rule or DecisionRule())
    return judge(row("time", outcome, relative), rows, plan, checks, True, "b", "a")


EVERYTHING = list(
    itertools.product(
        PRIMARY,
        [g for n in range(3) for g in itertools.product(GUARDRAIL, repeat=n)],
        [h for n in range(1, 3) for h in itertools.product(HEALTH, repeat=n)],
        RULES,
    )
)


def test_every_outcome_has_one_decision_that_names_its_cause() -> None:
    assert len(EVERYTHING) == 12 * 21 * 20 * 4
    seen: dict[str, int] = {}
    for primary, guardrails, health, rule in EVERYTHING:
        found = verdict(primary, guardrails, health, rule)
        assert found.decision is not None
        seen[found.decision] = seen.get(found.decision, 0) + 1
        where = (primary, guardrails, health, rule, found)
        assert found.cause and not found.cause.endswith("."), where
        assert found.sentence.endswith(".") and not found.sentence.endswith(".."), where
        harmed = [f"Guard{i}" for i, g in enumerate(guardrails) if g == "margin broken"]
        unsettled = [f"Guard{i}" for i, g in enumerate(guardrails) if g != "within margin"]
        if "fail" in health:
            assert found.decision == found.state == "no verdict", where
            assert f"Check {health.index('fail')}" in found.cause, where
            continue
        # The first sentence names a broken guardrail whatever else happened.
        assert all(f"'{name}'" in found.sentence for name in harmed), where
        if found.state in ("no verdict", "suspicious"):
            assert found.decision == "no verdict", where
        elif harmed:
            assert found.decision == "do not ship", where
            assert all(name in found.cause for name in harmed), where
        else:
            assert "'Time'" in found.cause or any(name in found.cause for name in unsettled), where
        if found.decision == "ship":
            assert found.state == "better", where
            assert not harmed and "fail" not in health, where
            if rule.guardrails == "proven":
                assert not unsettled, where
            assert all(name in found.cause for name in unsettled), where
            warned = [f"Check {i}" for i, h in enumerate(health) if h == "warn"]
            assert all(label in found.cause for label in warned), where
    assert set(seen) == {"ship", "do not ship", "keep running", "no verdict"}


@pytest.mark.parametrize(
    ("primary", "guardrails", "rule", "decision"),
    [
        ("clearly better", (), DecisionRule(), "ship"),
        ("clearly better", ("within margin",), DecisionRule(), "ship"),
        ("clearly better", ("not clear",), DecisionRule(), "keep running"),
        ("clearly better", ("not clear",), DecisionRule("not-broken"), "ship"),
        ("clearly better", ("no data",), DecisionRule("not-broken"), "ship"),
        ("clearly better", ("margin broken",), DecisionRule("not-broken"), "do not ship"),
        ("clearly better", (), DecisionRule(effect="interval"), "ship"),
        ("better, perhaps too little", (), DecisionRule(), "ship"),
        ("better, perhaps too little", (), DecisionRule(effect="interval"), "keep running"),
        ("better, by less", (), DecisionRule(), "keep running"),
        ("better, surely too little", (), DecisionRule(), "do not ship"),
        ("open", ("within margin",), DecisionRule(), "keep running"),
        ("open", ("margin broken",), DecisionRule(), "do not ship"),
        ("surely no gain", (), DecisionRule(), "do not ship"),
        ("slightly worse", (), DecisionRule(), "do not ship"),
        ("worse", (), DecisionRule(), "do not ship"),
        ("absurd", (), DecisionRule(), "no verdict"),
        ("noisy control", (), DecisionRule(), "keep running"),
        ("control of zero", (), DecisionRule(), "no verdict"),
        ("silent", ("margin broken",), DecisionRule(), "no verdict"),
    ],
)
def test_the_rule(
    primary: str, guardrails: tuple[str, ...], rule: DecisionRule, decision: str
) -> None:
    assert verdict(primary, guardrails, ("pass",), rule).decision == decision


def test_less_is_better_turns_everything_round() -> None:
    falls = replace(row("time", "better", Estimate(-0.05, -0.08, -0.02)), direction="down")
    assert decide(falls, [], [], min_effect=0.01, rule=DecisionRule())[0] == "ship"
    rises = replace(row("time", "not clear", Estimate(0.01, -0.005, 0.03)), direction="down")
    assert decide(rises, [], [], min_effect=0.01, rule=DecisionRule())[0] == "do not ship"


def test_not_clear_with_a_broken_guardrail_says_so_first() -> None:
    found = verdict("open", ("margin broken",), ("pass",))
    assert found.sentence.startswith("Not clear: simulated time +1.0 %")
    assert "and guardrail 'Guard0' (-20.0 %) is broken." in found.sentence


def test_rules_are_read_and_mistakes_are_named() -> None:
    assert parse_rule([]) == DecisionRule()
    chosen = parse_rule(["guardrails = not-broken", "effect=interval"])
    assert chosen == DecisionRule("not-broken", "interval")
    with pytest.raises(RuleError, match="Did you mean 'guardrails'"):
        parse_rule(["guardrail=proven"])
    with pytest.raises(RuleError, match="effect=estimate or effect=interval"):
        parse_rule(["effect=large"])


def test_results_keep_the_decision_and_old_ones_have_none() -> None:
    result = make_result(users=200)
    again = ExperimentResult.from_json(result.to_json())
    assert again == result and again.comparisons[0].verdict.decision is not None
    document = json.loads(result.to_json())
    for comparison in document["comparisons"]:
        del comparison["verdict"]["decision"], comparison["verdict"]["cause"]
    old = ExperimentResult.from_json(json.dumps(document))
    assert old.comparisons[0].verdict.decision is None
    page = render(old, width=80, ascii_only=True, color=False)
    assert "Decision:" not in page
    assert "Decision:" in render(result, width=80, ascii_only=True, color=False)
