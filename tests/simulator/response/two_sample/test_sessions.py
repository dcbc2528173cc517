"""Sessions of the log and simulated ones: which are compared, and how they are described."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from simulator.logs.dataset import Dataset
from simulator.response.learned import LearnedResponse
from simulator.response.learned.carried import CarriedState, replay_states
from simulator.response.learned.features import Impressions
from simulator.response.learned.heads import HATE, LIKE
from simulator.response.learned.sessions import SESSION_GAP_MS
from simulator.response.learned.two_sample import boosting, sessions
from simulator.response.learned.two_sample.describe import Lived, session_features


@pytest.fixture(scope="module")
def log(toy: Dataset) -> Impressions:
    return Impressions.read(toy, seed=3)


@pytest.fixture(scope="module")
def before(log: Impressions) -> CarriedState:
    like, hate = log.outcomes[:, LIKE] == 1, log.outcomes[:, HATE] == 1
    return replay_states(log.user, log.video, like, hate, log.page_start, 60)[0]


def test_a_session_in_numbers() -> None:
    lived = Lived(
        session=np.array([0, 0, 0, 1]),
        user=np.array([4, 9]),
        seconds=np.array([50.0, 7.0]),
        play_ms=np.array([1_000, 2_999, 20_000, 6_000]),
        stay_ms=np.array([0, 6_000, 0, 0]),
        duration_ms=np.array([10_000, 0, 2_000, 3_000]),
        flags={"click": np.array([False, True, True, False])},
    )
    found = session_features(lived)
    assert found["impressions"].tolist() == [3, 1] and found["seconds"].tolist() == [50.0, 7.0]
    assert found["play seconds per impression"] == pytest.approx([23.999 / 3, 6.0])
    # An unknown duration is no ratio; nobody counts for more than five plays of a video.
    ratios = np.array([0.1, 0.0, 5.0])
    assert found["play ratio"] == pytest.approx([ratios.mean(), 2.0])
    assert found["spread of play ratio"] == pytest.approx([ratios.std(), 0.0])
    assert found["spread of log play seconds"][0] == pytest.approx(
        np.log1p([1.0, 2.999, 20.0]).std()
    )
    assert found["swiped share"] == pytest.approx([2 / 3, 0.0])
    assert found["comment seconds per impression"] == pytest.approx([2.0, 0.0])
    assert found["log comment seconds"] == pytest.approx([np.log(7.0), 0.0])
    assert found["click share"] == pytest.approx([2 / 3, 0.0])


def test_the_last_whole_sessions_of_each_person_are_judged(
    log: Impressions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, end = sessions.chosen_sessions(log, seed=1)
    last_time = log.time_ms.max()
    for user in range(0, 60, 7):
        own = np.unique(log.session[log.user == user])[-5:]
        rows = [np.flatnonzero(log.session == s) for s in own]
        whole = [
            r
            for r in rows
            if not (r is rows[-1] and log.time_ms[r[-1]] > last_time - SESSION_GAP_MS)
        ]
        mine = log.user[first] == user
        assert first[mine].tolist() == [r[0] for r in whole]
        assert end[mine].tolist() == [r[-1] + 1 for r in whole]
    monkeypatch.setattr(sessions, "SESSIONS", 40)
    fewer, _ = sessions.chosen_sessions(log, seed=1)
    assert 30 <= len(fewer) <= 40 and np.isin(fewer, first).all()
    assert not np.array_equal(fewer, sessions.chosen_sessions(log, seed=2)[0])


def test_logged_sessions_are_those_of_the_log(log: Impressions) -> None:
    first, end = sessions.chosen_sessions(log, seed=1)
    lived = sessions.real_sessions(log, first, end, np.full(50, 9_000))
    rows = np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])
    assert lived.play_ms.tolist() == log.play_ms[rows].tolist()
    assert lived.user.tolist() == log.user[first].tolist()
    assert np.bincount(lived.session).tolist() == (end - first).tolist()
    assert lived.flags["like"].tolist() == (log.outcomes[rows, LIKE] == 1).tolist()
    # The toy log knows no forwards and no profiles.
    assert "forward" not in lived.flags and "profile" not in lived.flags
    at = 11
    last = end[at] - 1
    busy = log.play_ms[last] + log.stay_ms[last]
    assert lived.seconds[at] == (log.time_ms[last] - log.time_ms[first[at]] + busy) / 1e3


def test_simulated_sessions_show_what_the_log_shows_next(
    log: Impressions, before: CarriedState, fitted: LearnedResponse, toy: Dataset
) -> None:
    first, _ = sessions.chosen_sessions(log, seed=1)
    behaviour = dataclasses.replace(fitted._behaviour, duration_ms=np.arange(50) + 1)
    lived = sessions.simulate_sessions(log, first, before, behaviour, toy.catalogue(), seed=1)
    assert (np.diff(lived.session) >= 0).all() and set(lived.session) == set(range(len(first)))
    for number in range(0, len(first), 9):
        rows = np.flatnonzero(log.user == log.user[first[number]])
        shown = lived.duration_ms[lived.session == number] - 1
        cycle = np.roll(log.video[rows], rows[0] - first[number])
        assert shown.tolist() == np.resize(cycle, len(shown)).tolist()


def test_the_people_of_the_log_itself_are_not_told_apart_and_others_are(
    log: Impressions,
    before: CarriedState,
    fitted: LearnedResponse,
    toy: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(boosting, "_TREES", 10)
    part = np.zeros(len(log), dtype=np.int8)
    part[::4] = 2
    judge: Callable[[], dict[str, object]] = lambda: sessions.compare_sessions(  # noqa: E731
        log, before, part, fitted._behaviour, toy.catalogue(), seed=1
    )
    found = judge()
    assert found["unseen"] == pytest.approx(0.25, abs=0.02)
    assert isinstance(found["auc"], float) and found["auc"] < 0.7
    twice = sessions.simulate_sessions
    monkeypatch.setattr(
        sessions,
        "simulate_sessions",
        lambda *a, **k: dataclasses.replace(twice(*a, **k), play_ms=twice(*a, **k).play_ms * 2),
    )
    told = judge()
    assert isinstance(told["auc"], float) and told["auc"] > max(0.75, found["auc"] + 0.1)
    # The same sessions on both sides: whatever the classifier does, it guesses.
    monkeypatch.setattr(
        sessions,
        "simulate_sessions",
        lambda log, first, *a, **k: sessions.real_sessions(
            log, *sessions.chosen_sessions(log, seed=1), fitted._behaviour.duration_ms
        ),
    )
    same = judge()
    assert same["low"] <= 0.5 <= same["high"]  # type: ignore[operator]


def test_it_is_part_of_the_quality_of_a_response(fitted: LearnedResponse) -> None:
    facts = fitted.quality()["two_sample"]
    assert facts["low"] <= facts["auc"] <= facts["high"] and facts["users"] == 60
    assert facts["with_pauses"]["auc"] >= facts["auc"] - 0.05
