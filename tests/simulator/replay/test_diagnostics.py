"""What a verdict of caution says about its intervals is what the study on the page measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulator.logs.dataset import Dataset
from simulator.replay import TargetPolicy, replay
from simulator.replay.diagnostics import CAUTION_COVERAGE, judge, overlap, shortfalls
from simulator.replay.estimators import Estimate
from simulator.replay.result import Overlap
from tests.simulator.replay import decision_log as platform

PAGE = Path(__file__).parents[3] / "docs" / "replay.md"
SAID = "95 % intervals of comment watch time held the truth"
FOUND = [Estimate(1.0, 0.1, 0.8, 1.2)] * 2


def of_rows(users: int) -> Overlap:
    """Ten rows of weight 1 per user."""
    user = np.repeat(np.arange(users), 10)
    one = np.ones(len(user))
    return overlap("a", one, one, np.zeros(len(user)), user, users)


@pytest.mark.parametrize(
    ("count", "amount", "biased", "verdict", "said"),
    [
        (30.0, True, "", "caution", True),
        (30.0, False, "", "caution", False),
        (80.0, True, "", "usable", False),
        (5.0, True, "", "unusable", False),
        (80.0, True, "the model's error is in no interval", "caution", False),
    ],
)
def test_caution_about_an_amount_says_how_often_its_intervals_held(
    count: float, amount: bool, biased: str, verdict: str, said: bool
) -> None:
    found, reasons = judge([of_rows(150)], 1_500.0, count, FOUND, biased, amount)
    assert found == verdict
    assert any(SAID in reason for reason in reasons) == said


def test_caution_of_a_policy_counts_too() -> None:
    found, reasons = judge([of_rows(50)], 500.0, 80.0, FOUND, amount=True)
    assert (found, len(reasons)) == ("caution", 2)
    assert SAID in reasons[1]


def test_the_share_that_is_said_is_the_one_of_the_page() -> None:
    line = re.search(r"^\| comment watch time, `sndr` \|.*?\| (\.\d+) \(\d+\) \|.*\|$",
                     PAGE.read_text(encoding="utf-8"), re.MULTILINE)  # fmt: skip
    assert line is not None
    caution = re.findall(r"\.\d+(?= \()", line[0])[1]
    assert round(float(caution), 2) == CAUTION_COVERAGE
    assert f"held the truth {100 * CAUTION_COVERAGE:.0f} % of the" in PAGE.read_text("utf-8")


def test_in_a_replay_it_is_said_of_times_and_not_of_shares(
    decision_dataset: Callable[[platform.DecisionLog], Dataset],
) -> None:
    scores = {"new": platform.by_item(np.arange(6.0)), "old": platform.by_item(-np.arange(6.0))}
    result = replay(
        decision_dataset(platform.make(1, users=150)), scores,  # type: ignore[arg-type]
        treatment="new", control="old", target=TargetPolicy(explore_share=0.4),
        segments={"half": np.repeat(["a", "b"], 75)},
    )  # fmt: skip
    found = {m.name: m.best for m in result.metrics}
    assert {m.verdict for m in found.values()} == {"caution"}
    told = {name: any(SAID in reason for reason in m.reasons) for name, m in found.items()}
    assert told == {
        "click_rate": False, "comment_open_rate": False, "play_time_ms": True,
        "comment_stay_ms": True,
    }  # fmt: skip
    assert [any(SAID in r for r in s.found.reasons) for s in result.segments] == [True, True]


def shown(missing: float, weight: float = 8.0, users: int = 60) -> Overlap:
    """Ten rows per user, one of them with weight; a share of the choices cannot be shown."""
    user = np.repeat(np.arange(users), 10)
    weights = np.where(np.arange(len(user)) % 10 == 0, weight, 0.0)
    moment = np.full(len(user), weight**2 / 10)
    return overlap("a", weights, moment, np.full(len(user), missing), user, users)


@pytest.mark.parametrize("kind", ["decisions", "candidates", "all videos"])
def test_more_rows_are_not_advised_where_they_cannot_help(kind: str) -> None:
    said = " ".join(shortfalls([shown(missing=0.6)], kind))
    assert "exploration over these videos" in said
    assert "times as many" not in said
    assert "--top-share" not in said
    few = " ".join(shortfalls([shown(missing=0.1)], kind))
    assert "about 4.3 times as many would be worth 400" in few
    assert "exploration over these videos" not in few
    assert len(shortfalls([shown(missing=0.6), shown(missing=0.1)], kind)) == 3


def test_a_longer_log_of_random_exposure_shows_more_and_is_worth_less_than_its_rows() -> None:
    said = shortfalls([shown(missing=0.6)], "random pool")
    assert "at least 4.3 times as many" in said[0]
    assert "A longer one shows more of them" in said[1]
    assert "--top-share" in said[2]
    enough = shortfalls([shown(missing=0.6, users=600)], "random pool")
    assert len(enough) == 1
    assert "A longer one shows more of them" in enough[0]


def test_what_was_given_already_is_not_advised_again() -> None:
    few = [shown(missing=0.0)]
    assert "--top-share 0.1 or --temperature T" in shortfalls(few, "random pool")[1]
    assert "--top-share above 0.2 (" in shortfalls(few, "all videos", top_share=0.2)[1]
    assert "--temperature above 2 (" in shortfalls(few, "all videos", temperature=2.0)[1]
    assert len(shortfalls(few, "all videos", top_share=1.0)) == 1
