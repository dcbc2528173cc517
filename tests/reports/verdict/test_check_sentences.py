"""Every sentence of the checks, word by word, from facts that were made up."""

from __future__ import annotations

from typing import Any

import pytest

from reports.results import HealthCheck
from reports.verdict.words import checks

SPLIT = {"users": [4_000, 4_200], "planned": [1.0, 1.0]}
SENTENCES: list[tuple[str, dict[str, Any], str]] = [
    ("split as planned", {**SPLIT, "p": 0.3},
     "4,000 vs 4,200, planned equal (p = 0.30)"),
    ("split as planned", {"users": [10, 30], "planned": [1.0, 3.0], "p": 1.0},
     "10 vs 30, planned 25/75 (p > 0.99)"),
    ("split broken", {**SPLIT, "p": 2e-4},
     "traffic split is broken: 4,000 vs 4,200, planned equal (p = 2e-04)"),
    ("split broken", {**SPLIT, "p": 2e-4, "silent": ["b"], "unplanned": ["c", "d"]},
     "traffic split is broken: 4,000 vs 4,200, planned equal (p = 2e-04); arm 'b' has no "
     "users; nobody planned arm 'c'; nobody planned arm 'd'"),
    ("split as planned in segments", {"levels": 1, "p": 0.3},
     "as planned in the only level of the segments (smallest p = 0.30, corrected)"),
    ("split as planned in segments", {"levels": 12, "p": 0.3},
     "as planned in all 12 levels of the segments (smallest p = 0.30, corrected)"),
    ("split as planned on all days", {"days": 1, "p": 0.3},
     "as planned on the only day while users joined (always valid p = 0.30)"),
    ("split as planned on all days", {"days": 14, "p": 0.3},
     "as planned on all 14 days while users joined (always valid p = 0.30)"),
    ("split broken on a day", {**SPLIT, "day": 3, "p": 2e-4},
     "traffic split is broken: 4,000 vs 4,200, planned equal of the users who had joined by "
     "day 3 (always valid p = 2e-04)"),
    ("split broken in a segment",
     {**SPLIT, "segment": "phone", "level": "old", "p": 2e-4, "broken": 2, "levels": 9},
     "traffic split is broken where 'phone' is 'old': 4,000 vs 4,200, planned equal (p = "
     "2e-04, corrected); in 2 of 9 levels"),
    ("everyone in every arm", {},
     "every user is in every arm"),
    ("twins missing", {"users": [1_000, 999]},
     "arms differ in users: 1,000 vs 999"),
    ("user-days unique", {},
     "each user-day once, each user in one arm"),
    ("user-days of pairs unique", {},
     "each user-day once in each arm"),
    ("users unique", {},
     "each user once, each user in one arm"),
    ("user-days repeated", {"rows": 1},
     "1 repeated user-day: the table is not one row per user and day"),
    ("user-days repeated", {"rows": 1_200},
     "1,200 repeated user-days: the table is not one row per user and day"),
    ("users in two arms", {"users": 1_200},
     "1,200 users in more than one arm"),
    ("same people", {},
     "the same people are in every arm"),
    ("no past", {},
     "no days before"),
    ("cannot be computed", {"problem": "one user only"},
     "one user only"),
    ("covariates differ",
     {"p": 2e-4, "worst": "age", "distance": 0.1234, "worst_p": 1e-3},
     "the arms differed before the start (joint p = 2e-04), most in 'age': 0.12 standard "
     "deviations (p = 0.001, Holm)"),
    ("covariates alike", {"covariates": 1, "p": 0.3},
     "alike before the start (1 covariate, joint p = 0.30)"),
    ("covariates alike", {"covariates": 4, "p": 0.3},
     "alike before the start (4 covariates, joint p = 0.30)"),
    ("metric not known before", {"metric": "Likes"},
     "'Likes' is not known from before"),
    ("metric alike", {"metric": "Likes", "p": 0.3},
     "likes was alike before the start (p = 0.30)"),
    ("metric differed", {"metric": "Likes", "lift": 0.021, "p": 2e-4, "moved": -1.26},
     "likes differed by +2.1 % before the start (p = 2e-04); adjusting for it moves the "
     "difference by 1.3 standard errors"),
    ("metric differed", {"metric": "Likes", "lift": None, "p": 2e-4, "moved": 1.26},
     "likes differed before the start (p = 2e-04); adjusting for it moves the difference by "
     "1.3 standard errors"),
    ("every metric occurs", {},
     "every metric occurs"),
    ("metric silent", {"metric": "Likes", "users": 1_200},
     "'Likes' is 0 for all 1,200 users; no lift computed"),
    ("too few users", {},
     "too few users"),
    ("nobody has a value", {"metric": "Likes"},
     "nobody has any likes"),
    ("zero or one", {"metric": "Likes"},
     "likes is 0 or 1 per user"),
    ("top share", {"metric": "Likes", "share": 0.256},
     "the top 1 % of users hold 25.6 % of all likes"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "facts", "sentence"), SENTENCES)
def test_a_check_says_what_it_found(code: str, facts: dict[str, Any], sentence: str) -> None:
    assert checks.check_sentence(HealthCheck("x", "", "pass", "", code, facts)) == sentence


def test_every_code_has_its_sentence_here() -> None:
    assert {code for code, _, _ in SENTENCES} == set(checks._SENTENCES)
