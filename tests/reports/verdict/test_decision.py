"""One decision and one cause for every experiment that can come out."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from reports.render.terminal import render
from reports.results import (
    ArmComparison,
    ArmValue,
    Cause,
    Estimate,
    ExperimentResult,
    Finding,
    HealthCheck,
    MetricComparison,
    Verdict,
)
from reports.verdict import words
from reports.verdict.judge import judge
from reports.verdict.rule import DecisionRule, RuleError, parse_rule
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
    name: str,
    outcome: str,
    relative: Estimate | None,
    *,
    margin: float | None = None,
    users: int = 100,
    detectable: float = 0.03,
) -> MetricComparison:
    silent = outcome == "no data"
    return MetricComparison(
        metric=name,
        label=name.capitalize(),
        unit="s",
        kind="mean",
        role="primary" if margin is None else "guardrail",
        direction="up",
        control=ArmValue("a", users, 10.0, 0.1),
        treatment=ArmValue("b", users, 10.5, 0.1),
        absolute=None if silent else Estimate(0.5, 0.1, 0.9),
        relative=relative,
        relative_method="fieller",
        p_value=None if silent else 0.01,
        p_adjusted=None if silent else 0.01,
        family="primary",
        confidence=0.95,
        detectable_effect=detectable,
        variance_reduction=None,
        margin=margin,
        outcome=outcome,
    )


class Said(NamedTuple):
    """A verdict with what the words say of it."""

    verdict: Verdict
    sentence: str
    decision: str
    why: str


def judged(
    primary: MetricComparison,
    guardrails: tuple[str, ...] = (),
    health: tuple[str, ...] = ("pass",),
    rule: DecisionRule | None = None,
    *,
    min_effect: float = 0.01,
    same_policy: bool = False,
) -> Said:
    rows = [
        row(f"guard{i}", state, Estimate(-0.2, -0.3, -0.1), margin=0.05)
        for i, state in enumerate(guardrails)
    ]
    checks = tuple(
        HealthCheck(f"check{i}", f"Check {i}", status, f"detail {i}")  # type: ignore[arg-type]
        for i, status in enumerate(health)
    )
    found = judge(
        primary,
        rows,
        checks,
        min_effect=min_effect,
        rule=rule or DecisionRule(),
        same_policy=same_policy,
    )
    comparison = ArmComparison("b", "a", found, (primary, *rows), (), (), ())
    result = ExperimentResult(2, "b against a", True, "online", (comparison,), checks)
    return Said(
        found,
        words.sentence(result, comparison),
        words.decision(result, comparison),
        words.why(result, comparison),
    )


def verdict(
    primary: str,
    guardrails: tuple[str, ...],
    health: tuple[str, ...],
    rule: DecisionRule | None = None,
) -> Said:
    relative, outcome = PRIMARY[primary]
    return judged(row("time", outcome, relative), guardrails, health, rule)


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
    for primary, guardrails, health, rule in EVERYTHING[::3]:
        said = verdict(primary, guardrails, health, rule)
        found = said.verdict
        assert found.decision is not None
        seen[found.decision] = seen.get(found.decision, 0) + 1
        where = (primary, guardrails, health, rule, said)
        decided = found.decision.replace("no verdict", "none")
        assert re.match(rf"Decision: {decided}(, (because|as) |; | before )", said.decision), where
        for text in (said.sentence, said.decision, said.why):
            assert text.count(".") == text.endswith(".") + len(re.findall(r"\d\.\d", text)), where
        harmed = [f"Guard{i}" for i, g in enumerate(guardrails) if g == "margin broken"]
        unsettled = [f"Guard{i}" for i, g in enumerate(guardrails) if g in ("not clear", "no data")]
        if "fail" in health:
            assert found.decision == found.state == "no verdict", where
            assert f"Check {health.index('fail')}" in said.decision, where
            assert said.sentence.count("erdict") == 1, where
            continue
        # The first sentence names a broken guardrail whatever else happened.
        assert all(f"'{name}'" in said.sentence for name in harmed), where
        if found.state in ("no verdict", "suspicious"):
            assert found.decision == "no verdict", where
        elif harmed:
            assert found.decision == "do not ship", where
            assert all(name in said.decision for name in harmed), where
        else:
            named = "'Time'" in said.decision or any(name in said.decision for name in unsettled)
            assert named, where
        if found.decision == "ship":
            assert found.state == "better", where
            assert not harmed and "fail" not in health, where
            if rule.guardrails == "proven":
                assert not unsettled, where
            assert all(name in said.decision for name in unsettled), where
            warned = [f"Check {i}" for i, h in enumerate(health) if h == "warn"]
            assert all(label in said.decision for label in warned), where
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
    assert verdict(primary, guardrails, ("pass",), rule).verdict.decision == decision


def test_less_is_better_turns_everything_round() -> None:
    falls = replace(row("time", "better", Estimate(-0.05, -0.08, -0.02)), direction="down")
    assert judged(falls).verdict.decision == "ship"
    rises = replace(row("time", "not clear", Estimate(0.01, -0.005, 0.03)), direction="down")
    assert judged(rises).verdict.decision == "do not ship"


def test_the_minimum_effect_itself_is_enough_in_both_directions() -> None:
    """Boundaries: what is exactly the minimum effect counts as it; a hair less does not."""
    less = 0.01 - 1e-12
    better = judged(row("time", "better", Estimate(0.01, 0.001, 0.02))).verdict
    assert (better.state, better.decision) == ("better", "ship")
    short = judged(row("time", "better", Estimate(less, 0.001, 0.02))).verdict
    assert (short.state, short.cause) == ("not clear", "below minimum")
    worse = judged(row("time", "worse", Estimate(-0.01, -0.05, -0.001))).verdict
    assert (worse.state, worse.decision, worse.cause) == ("worse", "do not ship", "worse")
    slight = judged(row("time", "worse", Estimate(-less, -0.05, -0.001))).verdict
    assert (slight.state, slight.cause) == ("not clear", "surely below minimum")
    falls = replace(row("time", "worse", Estimate(0.01, 0.001, 0.05)), direction="down")
    assert judged(falls).verdict.cause == "worse"


@pytest.mark.parametrize(
    ("relative", "outcome", "rule", "cause"),
    [
        # The good end of the interval at the minimum effect: it is still possible.
        (Estimate(0.005, 0.001, 0.01), "better", DecisionRule(), "below minimum"),
        (Estimate(0.0, -0.01, 0.01), "not clear", DecisionRule(), "not settled"),
        # The bad end at the minimum effect lies beyond it.
        (Estimate(0.02, 0.01, 0.03), "better", DecisionRule(effect="interval"), "better"),
        # 50 % is not yet absurd.
        (Estimate(0.5, 0.4, 0.6), "better", DecisionRule(), "better"),
        (Estimate(-0.5, -0.6, -0.4), "worse", DecisionRule(), "worse"),
        (Estimate(0.5 + 1e-12, 0.4, 0.6), "better", DecisionRule(), "absurd lift"),
        (Estimate(-0.5 - 1e-12, -0.6, -0.4), "worse", DecisionRule(), "absurd lift"),
    ],
)
def test_boundaries(relative: Estimate, outcome: str, rule: DecisionRule, cause: str) -> None:
    assert judged(row("time", outcome, relative), rule=rule).verdict.cause == cause


def test_a_minimum_effect_of_zero_still_needs_significance() -> None:
    unclear = judged(row("time", "not clear", Estimate(0.01, -0.01, 0.03)), min_effect=0.0).verdict
    assert (unclear.state, unclear.decision) == ("not clear", "keep running")
    worse = judged(row("time", "worse", Estimate(-0.01, -0.02, -0.001)), min_effect=0.0).verdict
    assert (worse.state, worse.decision) == ("worse", "do not ship")


@pytest.mark.parametrize("guardrail", ["margin broken", "within margin"])
@pytest.mark.parametrize("lift", [0.3, -0.3])
def test_small_samples_and_weak_tests_decide_nothing(guardrail: str, lift: float) -> None:
    estimate = Estimate(lift, lift - 0.1, lift + 0.1)
    outcome = "better" if lift > 0 else "worse"
    few = judged(row("time", outcome, estimate, users=29), (guardrail,))
    assert (few.verdict.state, few.verdict.decision) == ("not clear", "keep running")
    assert "29 users" in few.decision
    assert judged(row("time", outcome, estimate, users=99)).verdict.cause == "too few users"
    assert judged(row("time", outcome, estimate, users=100)).verdict.cause == outcome
    weak = judged(row("time", outcome, estimate, detectable=0.47), (guardrail,))
    assert (weak.verdict.state, weak.verdict.decision) == ("not clear", "keep running")
    assert "±47.0 %" in weak.decision
    assert judged(row("time", outcome, estimate, detectable=0.25)).verdict.cause == "weak test"
    assert judged(row("time", outcome, estimate, detectable=0.2499)).verdict.cause == outcome
    # A test that reaches its own minimum effect is not weak.
    sized = judged(row("time", outcome, estimate, detectable=0.27), min_effect=0.28)
    assert sized.verdict.cause == outcome
    one_arm = row("time", outcome, estimate, users=5000)
    one_arm = replace(one_arm, treatment=replace(one_arm.treatment, users=29))
    assert judged(one_arm).verdict.cause == "too few users"


def test_an_a_a_run_is_judged_as_one() -> None:
    alike = judged(row("time", "not clear", Estimate(0.01, -0.02, 0.04)), same_policy=True)
    assert (alike.verdict.state, alike.verdict.decision) == ("as expected", "nothing to decide")
    assert alike.sentence.startswith("As expected of an A/A test: simulated time +1.0 %")
    alarm = judged(row("time", "better", Estimate(0.05, 0.02, 0.08)), same_policy=True)
    assert alarm.verdict.state == "false alarm"
    assert "arms; 5 % of such tests are significant by chance" in alarm.why
    twins = row("time", "no data", None)
    twins = replace(twins, treatment=twins.control)
    assert "is the same in both arms" in judged(twins, same_policy=True).sentence
    assert judged(twins).verdict.state == "no verdict"
    nothing = replace(twins.control, value=0.0)
    silent = replace(twins, control=nothing, treatment=nothing)
    assert judged(silent, same_policy=True).verdict.finding == "no data"
    failed = judged(row("time", "better", Estimate(0.05, 0.02, 0.08)), (), ("fail",),
                    same_policy=True)  # fmt: skip
    assert failed.verdict.state == "no verdict"


def test_every_code_has_words() -> None:
    """A verdict made by hand of any codes is written without an error and without a code."""
    primary = row("time", "better", Estimate(0.05, 0.02, 0.08))
    guardrail = row("guard", "margin broken", Estimate(-0.2, -0.3, -0.1), margin=0.05)
    for finding, cause in itertools.product(get_args(Finding), get_args(Cause)):
        if "written" in (finding, cause):
            continue
        found = Verdict("not clear", "keep running", finding, cause, 0.01, ("c",), ("guard",), ())
        comparison = ArmComparison("b", "a", found, (primary, guardrail), (), (), ())
        check = HealthCheck("c", "Check", "warn", "detail")
        result = ExperimentResult(2, "t", True, "online", (comparison,), (check,))
        for write in (words.sentence, words.decision, words.why):
            text = write(result, comparison)
            assert text == "" or text.endswith("."), (finding, cause, text)


def test_a_broken_guardrail_of_a_winner_is_a_reason_not_to_ship() -> None:
    said = verdict("clearly better", ("margin broken",), ("pass",))
    assert said.verdict.state == "worse"
    assert said.sentence.startswith("Do not ship: simulated time +5.0 %")
    assert "but guardrail 'Guard0' (-20.0 %) is broken." in said.sentence
    assert said.why == ""


def test_not_clear_with_a_broken_guardrail_says_so_first() -> None:
    found = verdict("open", ("margin broken",), ("pass",))
    assert found.sentence.startswith("Not clear: simulated time +1.0 %")
    assert "and guardrail 'Guard0' (-20.0 %) is broken." in found.sentence


def test_an_open_result_says_what_the_test_can_detect_where_that_is_known() -> None:
    known = judged(row("time", "not clear", Estimate(0.0, -0.01, 0.01), detectable=0.032))
    assert known.verdict.cause == "not settled"
    assert known.decision.endswith("'Time' moves; it can detect ±3.2 %.")
    unknown = replace(row("time", "not clear", Estimate(0.0, -0.01, 0.01)), detectable_effect=None)
    assert judged(unknown).decision.endswith("'Time' moves.")


def test_rules_are_read_and_mistakes_are_named() -> None:
    assert parse_rule([]) == DecisionRule()
    chosen = parse_rule(["guardrails = not-broken", "effect=interval"])
    assert chosen == DecisionRule("not-broken", "interval")
    with pytest.raises(RuleError, match="Did you mean 'guardrails'"):
        parse_rule(["guardrail=proven"])
    with pytest.raises(RuleError, match="effect=estimate or effect=interval"):
        parse_rule(["effect=large"])


STORED = Path(__file__).parents[1] / "data"


def test_results_of_schema_version_1_keep_their_sentences() -> None:
    text = (STORED / "results-schema-1.json").read_text(encoding="utf-8")
    written = json.loads(text)["comparisons"][0]["verdict"]
    old = ExperimentResult.from_json(text)
    page = " ".join(render(old, width=80, encoding="ascii", color=False).split())
    assert page.startswith(f"{written['sentence']} Decision: do not ship, because ")
    assert written["cause"] in page and written["reason"] in page
    assert "150 vs 150, planned 50/50 (p = 1.00)" in page
    assert "a warning of then" in page
    assert old.comparisons[0].verdict.state == "worse"
    again = ExperimentResult.from_json(old.to_json())
    assert again == old and json.loads(old.to_json())["schema_version"] == 2
    document = json.loads(text)
    del document["comparisons"][0]["verdict"]["decision"]
    del document["comparisons"][0]["verdict"]["cause"]
    undecided = ExperimentResult.from_json(json.dumps(document))
    assert undecided.comparisons[0].verdict.decision is None
    assert "Decision:" not in render(undecided, width=80, encoding="ascii", color=False)


def test_results_hold_codes_and_no_sentences() -> None:
    result = make_result(users=200)
    document = json.loads(result.to_json())
    assert ExperimentResult.from_json(result.to_json()) == result
    verdict = document["comparisons"][0]["verdict"]
    assert set(verdict) == {"state", "decision", "finding", "cause", "min_effect", "checks",
                            "broken", "unsettled", "written", "min_effect_scale"}  # fmt: skip
    assert verdict["written"] is None
    coded = [check for check in document["health"] if check["name"] != "aa"]
    assert all(check["code"] and not check["detail"] for check in coded)
