"""What people experience decides when they leave and when they return."""

from __future__ import annotations

import numpy as np
import pytest

from tests.simulator.response.lives import DAY_MS, KEY, ROWS, SLOTS, SMALL, START, N, live, people


def test_videos_and_comments_share_the_time_of_a_session() -> None:
    """The same people with the same budgets: time in comments costs videos."""
    videos = np.arange(SLOTS, dtype=np.int32)
    reached = []
    for stay_ms in (0, 60_000, 300_000):
        g = people(session_seconds=600.0)
        total = np.zeros(N)
        here = np.ones(N, dtype=np.bool_)
        for _ in range(12):
            page = live(g, videos, True, stay_ms=stay_ms, play_ms=10_000)
            total += page.reached.sum(axis=1) * here
            here &= ~page.left
        reached.append(total.mean())
    assert reached[0] > 1.5 * reached[1] > 3.0 * reached[2]


def test_leaving_depends_on_what_was_experienced() -> None:
    videos = np.arange(SLOTS, dtype=np.int32)

    def stayers(click: bool, **changes: float) -> float:
        g = people(session_seconds=300.0, grid_share=0.0, **changes)
        here = np.ones(N, dtype=np.bool_)
        for _ in range(6):
            here &= ~live(g, videos, click, play_ms=8_000).left
        return float(here.mean())

    # The same seconds: skipped videos tire, clicked ones are partly forgiven.
    assert stayers(True) - stayers(False) > 0.05
    off = {"session_refund": 0.0, "session_skip_cost": 0.0}
    assert stayers(True, **off) == stayers(False, **off)


@pytest.mark.parametrize("cause", ["clicks", "comments"])
def test_returning_depends_on_what_was_experienced(cause: str) -> None:
    """Common random numbers: nobody comes later after a good session, many come sooner."""
    videos = np.arange(SLOTS, dtype=np.int32)

    def returns(good: bool, **changes: float) -> np.ndarray:
        g = people(session_seconds=1e6, **changes)
        for _ in range(8):
            live(
                g, videos, cause == "clicks" and good, stay_ms=20_000 * (cause != "clicks" and good)
            )
        return g.next_session(ROWS, START, KEY)

    assert (returns(True) <= returns(False)).all()
    assert (returns(True) < returns(False)).mean() > 0.5
    off = {"visits_satisfaction": 0.0} if cause == "clicks" else {"satisfaction_comments": 0.0}
    assert (returns(True, **off) == returns(False, **off)).all()


def waits(good: bool, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    """Days until the next visit after a good or a bad session, and how often each person comes."""
    g = people(session_seconds=1e6, visits_soon=0.0, **changes)
    for _ in range(8):
        live(g, np.arange(SLOTS, dtype=np.int32), good)
    return (g.next_session(ROWS, START, KEY) - START) / DAY_MS, g.people.visits


def test_people_who_come_seldom_respond_most_to_how_it_went() -> None:
    """Common random numbers: each one's wait after a bad session over that after a good one."""

    def response(**changes: float) -> tuple[float, float]:
        bad, activity = waits(False, visits_absence=0.0, **changes)
        good, _ = waits(True, visits_absence=0.0, **changes)
        gain = np.log(bad / good)
        return float(gain[activity < 0.6].mean()), float(gain[activity > 1.4].mean())

    seldom, often = response()
    assert seldom > 1.5 * often > 0.0
    # Where activity makes no difference, the same rates move the same log waits but for the break.
    seldom, often = response(visits_low_activity=0.0)
    assert 0.8 < seldom / often < 1.6


def test_the_dissatisfied_stay_away_for_days() -> None:
    def away(good: bool, **changes: float) -> float:
        often = {"visits_per_day": 50.0, "visits_absence": 0.1, **changes}
        return float((waits(good, **often)[0] > 0.7).mean())

    assert away(False) > away(True) + 0.05
    assert away(False, visits_satisfaction=0.0) == away(True, visits_satisfaction=0.0)
    assert away(False, visits_absence=0.0) < 0.02


def test_time_with_videos_that_suit_is_spent_more_gladly() -> None:
    """The same clicks and seconds: sessions last longer with what suits the person."""
    g = people()
    page = g.page(ROWS, np.tile(np.arange(60, dtype=np.int32), (N, 1)))
    order = np.argsort(page.relevance, axis=1).astype(np.int32)

    def stayers(videos: np.ndarray, **changes: float) -> float:
        g = people(session_seconds=300.0, session_video_cost=0.0, grid_share=0.0, **changes)
        here = np.ones(N, dtype=np.bool_)
        for _ in range(6):
            here &= ~live(g, videos, True, play_ms=8_000).left
        return float(here.mean())

    assert stayers(order[:, -SLOTS:]) > stayers(order[:, :SLOTS]) + 0.1
    alike = {"satisfaction_relevance": 0.0}
    assert stayers(order[:, -SLOTS:], **alike) == stayers(order[:, :SLOTS], **alike)


def test_a_change_of_ranker_makes_curious_for_some_days() -> None:
    videos = np.tile(np.arange(SLOTS, dtype=np.int32), (N, 1))
    nothing = np.full(videos.shape, -1, dtype=np.int32)
    treated = ROWS[: N // 2]

    def lift(days: float, strength: float, rows: np.ndarray) -> tuple[float, float]:
        """Relative change of clicks and opens some days after half the people were told."""
        g = people(novelty_strength=strength)
        time = np.full(len(rows), SMALL.start_ms + round(days * DAY_MS))
        before = g.expectations(rows, videos[rows], nothing[rows], None, time)
        g.change_ranker(treated, SMALL.start_ms)
        after = g.expectations(rows, videos[rows], nothing[rows], None, time)
        clicks, opens = (
            after.click.mean() / before.click.mean(),
            after.open.mean() / (before.open.mean()),
        )
        return float(clicks) - 1.0, float(opens) - 1.0

    at_once = lift(0.0, 0.3, treated)
    assert min(at_once) > 0.1
    later = [lift(days, 0.3, treated)[0] for days in (0.0, 2.0, 5.0, 40.0)]
    assert later == sorted(later, reverse=True)
    assert abs(later[-1]) < 1e-4
    assert lift(0.0, 0.3, ROWS[N // 2 :]) == (0.0, 0.0)
    assert lift(0.0, 0.0, treated) == (0.0, 0.0)


def test_people_leave_between_videos_not_only_by_the_clock() -> None:
    """Longer plays of as many videos: the session lasts longer, the more so the more videos count.

    A video of the two-column tab that is not tapped counts by its time alone.
    """
    videos = np.arange(SLOTS, dtype=np.int32)

    def minutes(play_ms: int, **changes: float) -> float:
        g = people(session_seconds=400.0, grid_share=0.0, **changes)
        here, total = np.ones(N, dtype=np.bool_), 0.0
        for _ in range(30):
            page = live(g, videos, True, play_ms=play_ms)
            total += float((page.reached.sum(axis=1) * here).sum()) * play_ms
            here &= ~page.left
        return total

    def gain(cost: float) -> float:
        found = [minutes(play, session_video_cost=cost) for play in (5_000, 10_000)]
        return float(np.log(found[1] / found[0]))

    assert gain(0.0) + 0.1 < gain(10.0) + 0.05 < gain(30.0)

    def stayers(cost: float) -> float:
        g = people(session_seconds=300.0, grid_share=1.0, session_video_cost=cost)
        return float(np.mean(~live(g, videos, False).left))

    assert stayers(0.0) == stayers(30.0) > 0.5
