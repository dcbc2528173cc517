"""Causes, not only marginals: each mechanism is there, and is gone where it is switched off.

Most tests compare exact probabilities of the same people before and after something happened, so
they have no error rate. Those that draw say theirs.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.response.truth import WorldResponse
from simulator.world.world import World
from tests.simulator.response.lives import (
    DAY_MS,
    KEY,
    OFF,
    ROWS,
    SLOTS,
    SMALL,
    START,
    WORLD,
    N,
    change,
    live,
    log_odds,
    of_topic,
    people,
)


def test_a_click_makes_its_kind_more_interesting_for_the_session() -> None:
    seen, probe, other = of_topic(3, 4)[:2], of_topic(3, 4)[2:], of_topic(13, 2)
    kept = {"click_satiation": 0.0}
    near = change(g := people(**kept), probe, lambda: live(g, seen, True))
    assert near > 0.1
    far = change(g := people(**kept), other, lambda: live(g, seen, True))
    assert near - far > 0.1
    # Nothing of it is left in the next session, nor where it is switched off.
    assert change(g, probe, lambda: g.begin_session(ROWS, START, KEY)) < -0.1
    for off in ({"click_session": 0.0}, OFF):
        g = people(**kept, **off)
        assert change(g, probe, lambda g=g: live(g, seen, True)) == 0.0


def test_the_author_of_the_last_click_is_more_welcome() -> None:
    videos = WORLD.videos
    author = int(np.argmax(np.bincount(videos.author[videos.sequel < 0])))
    mine = np.flatnonzero((videos.author == author) & (videos.sequel < 0)).astype(np.int32)
    quiet = {"click_session": 0.0, "click_satiation": 0.0, "click_series": 0.0}
    gain = change(g := people(**quiet), mine[1:3], lambda: live(g, mine[:1], True))
    assert gain == pytest.approx(SMALL.click_author, abs=1e-4)
    assert change(g, mine[1:3], lambda: live(g, of_topic(5, 1), True)) < -0.1
    for off in ({"click_author": 0.0}, OFF):
        g = people(**{**quiet, **off})
        assert change(g, mine[1:3], lambda g=g: live(g, mine[:1], True)) == 0.0


def test_the_next_episode_is_wanted_until_another_series_is_clicked() -> None:
    videos = WORLD.videos
    first = np.flatnonzero(videos.sequel >= 0)[:1].astype(np.int32)
    following = videos.sequel[first]
    assert videos.author[following] == videos.author[first]
    assert videos.episode[following] == videos.episode[first] + 1
    assert videos.upload_ms[following] >= videos.upload_ms[first]
    quiet = {"click_session": 0.0, "click_satiation": 0.0, "click_author": 0.0}
    gain = change(g := people(**quiet), following, lambda: live(g, first, True))
    assert gain == pytest.approx(SMALL.click_series, abs=1e-4)
    # It stays wanted in later sessions and whatever else is clicked, except another series.
    drifted = {**quiet, "taste_drift": 0.0}
    g = people(**drifted)
    live(g, first, True)
    assert abs(change(g, following, lambda: g.begin_session(ROWS, START + DAY_MS, KEY))) < 1e-4
    assert abs(change(g, following, lambda: live(g, of_topic(5, 3), True))) < 1e-4
    another = np.flatnonzero((videos.sequel >= 0) & (videos.author != videos.author[first]))[:1]
    assert change(g, following, lambda: live(g, another.astype(np.int32), True)) < -0.5
    for off in ({"click_series": 0.0}, {"series_share": 0.0}, OFF):
        g = people(**{**quiet, **off})
        assert change(g, following, lambda g=g: live(g, first, True)) == 0.0


def test_captions_number_the_episodes() -> None:
    videos, captions = WORLD.videos, WORLD.videos_frame()["caption"].to_list()
    for video in np.flatnonzero(videos.sequel >= 0)[:50]:
        assert captions[video].startswith(f"第{videos.episode[video]}集")
    authors = np.unique(videos.author[videos.sequel >= 0])
    single = ~np.isin(videos.author, authors)
    several = np.bincount(videos.author, minlength=SMALL.n_authors)[videos.author] > 1
    assert not any(captions[v].startswith("第") for v in np.flatnonzero(single & several))


def test_topics_tire_within_a_session_and_recover() -> None:
    seen, probe, other = of_topic(3, 6)[:4], of_topic(3, 6)[4:], of_topic(13, 2)
    quiet = {"click_session": 0.0, "click_author": 0.0}
    g = people(**quiet)
    once = change(g, probe, lambda: live(g, seen, False))
    twice = change(g, probe, lambda: live(g, seen, False))
    assert once < -0.2
    assert twice < -0.05
    assert abs(change(people(**quiet), other, lambda: live(g, seen, False))) < 1e-4
    assert change(g, probe, lambda: g.begin_session(ROWS, START, KEY)) > 0.3
    for off in ({"click_satiation": 0.0}, OFF):
        g = people(**{**quiet, **off})
        assert change(g, probe, lambda g=g: live(g, seen, False)) == 0.0


def test_tastes_drift_over_days_and_come_back() -> None:
    def moved(drift: float, days: float) -> float:
        g = people(taste_drift=drift)
        probe = np.arange(0, 1_500, 25, dtype=np.int32)
        before = log_odds(g, probe)
        g.begin_session(ROWS, START + round(days * DAY_MS), KEY)
        return float(np.abs(log_odds(g, probe) - before).mean())

    assert moved(0.0, 10.0) == 0.0
    by_days = [moved(0.15, days) for days in (1.0, 3.0, 10.0)]
    assert by_days[0] > 0.01
    assert by_days == sorted(by_days)
    assert moved(0.15, 20.0) < 0.1 * by_days[-1]


def test_every_day_brings_videos_with_text_and_without_a_past() -> None:
    day = (WORLD.videos.upload_ms - SMALL.start_ms) // DAY_MS
    counts = np.bincount(day[day >= 0], minlength=9)
    # Poisson around 1,500 / 39: five standard deviations, nine days, one failure in 200,000 seeds.
    assert (np.abs(counts[:9] - 1_500 / 39) < 5 * np.sqrt(1_500 / 39)).all()
    captions = np.array(WORLD.videos_frame()["caption"].to_list())
    assert (np.char.str_len(captions[day >= 0]) > 5).all()
    written = WORLD.comments.time_ms >= np.repeat(
        WORLD.videos.upload_ms, np.diff(WORLD.comments.offsets)
    )
    assert written.all()
    stale = World.create(dataclasses.replace(SMALL, new_days=0.0), 4)
    assert stale.videos.upload_ms.max() < SMALL.start_ms


def explained(world: World) -> float:
    """Share of the variance of comment tastes that a regression on video tastes explains."""
    crowd = world.people(np.arange(4_000, dtype=np.int32))
    taste = np.column_stack([crowd.taste, np.ones(len(crowd.taste))])
    fit, *_ = np.linalg.lstsq(taste, crowd.comment_taste, rcond=None)
    return 1.0 - float((crowd.comment_taste - taste @ fit).var() / crowd.comment_taste.var())


def test_comment_tastes_differ_and_follow_what_people_watch_only_in_part() -> None:
    tastes = WORLD.people(np.arange(4_000, dtype=np.int32)).comment_taste
    # Standard errors of a correlation are 0.016 here: five of them are 0.08.
    between = np.corrcoef(tastes.T)[np.triu_indices(8, 1)]
    assert tastes.std(axis=0).min() > 0.5
    assert np.abs(between).mean() < 0.2
    assert 0.08 < explained(WORLD) < 0.35
    # 17 coefficients explain 0.4 % of the variance by chance; 1.5 % is far beyond their luck.
    assert explained(World.create(dataclasses.replace(SMALL, comment_taste_predictable=0.0), 4)) < (
        0.015
    )
    alike = World.create(dataclasses.replace(SMALL, comment_taste_strength=0.0), 4)
    assert (alike.people(ROWS.astype(np.int32)).comment_taste == 0.0).all()


def test_taste_by_topic_is_not_bilinear_and_varies_as_much_as_one_taste() -> None:
    """Log dwell of people on comments of one style, under videos of two topics."""
    rows = np.arange(2_000, dtype=np.int32)

    def matches(share: float) -> np.ndarray:
        """float64[2, N]: match with the first comment of one style under two topics."""
        changed = dataclasses.replace(SMALL, comment_taste_topics=share)
        world = World.create(changed, 4)
        group = WorldResponse(world).population(rows)
        found = []
        for topic in (3, 13):
            under = world.comment_topic == topic
            comment = np.flatnonzero(under & (world.comments.dominant == 2))[0]
            shown = np.full((len(rows), 1), comment, dtype=np.int32)
            stay = group.section_expectations(np.arange(len(rows)), shown).dwell_seconds[:, 0]
            length = np.log(world.comments.length[comment] / 15.0)
            known = changed.dwell_length * length
            known += changed.dwell_appeal * world.comments.appeal[comment]
            found.append((np.log(stay) - group.people.pace - known) / changed.dwell_match)
        return np.array(found)

    one, topics = matches(0.0), matches(0.8)
    # One taste: the same style is as welcome under either topic but for the comments' own mixture.
    assert np.corrcoef(one)[0, 1] > 0.8
    assert np.corrcoef(topics)[0, 1] < 0.6
    # Six circles make a coarse distribution: variances of two topics agree within a factor of 2.
    assert 0.5 < topics.var() / one.var() < 2.0
    strength = dataclasses.replace(SMALL, comment_taste_topics=0.8, comment_taste_strength=0.0)
    assert (World.create(strength, 4).circle_taste == 0.0).all()


def test_depth_dwell_and_likes_follow_the_order_shown() -> None:
    width = 12
    first = WORLD.comments.offsets[: N + 1]
    wide = np.flatnonzero(np.diff(first) >= width)
    comments = (first[wide][:, None] + np.arange(width)).astype(np.int32)
    rows = ROWS[: len(wide)]
    g = people()
    index = g.comment_index(rows, comments)
    best = np.take_along_axis(comments, np.argsort(-index, axis=1), axis=1)
    one, other = (g.section_expectations(rows, c) for c in (best, best[:, ::-1]))
    touches = [(e.like + e.reply).sum(axis=1).mean() for e in (one, other)]
    assert one.stay_seconds.mean() > 1.1 * other.stay_seconds.mean()
    assert one.reach.sum(axis=1).mean() > 1.1 * other.reach.sum(axis=1).mean()
    assert touches[0] > 1.1 * touches[1]
    free = people(comment_order_effect=0.0)
    same, again = (free.section_expectations(rows, c) for c in (best, best[:, ::-1]))
    np.testing.assert_allclose(same.stay_seconds, again.stay_seconds, rtol=1e-6)
    np.testing.assert_allclose(same.like, again.like[:, ::-1], rtol=1e-6)


def test_the_previewed_comment_moves_the_open_rate_a_little() -> None:
    videos = np.tile(np.arange(SLOTS, dtype=np.int32), (N, 1))

    def spread(**changes: float) -> float:
        """Open rate with each one's favourite comment on show over that with the least liked."""
        g = people(**changes)
        match = g.people.comment_taste @ g.world.comments.style[:200].T
        rates = []
        for pick in (match.argmax(axis=1), match.argmin(axis=1)):
            preview = np.tile(pick[:, None], (1, SLOTS)).astype(np.int32)
            rates.append(float(g.expectations(ROWS, videos, preview).open.mean()))
        return rates[0] / rates[1] - 1.0

    assert 0.05 < spread() < 1.0
    assert abs(spread(open_preview=0.0)) < 1e-6
    assert abs(spread(comment_taste_strength=0.0, open_preview=0.0)) < 1e-6


def test_discussability_opens_comments_and_shows_in_their_number_only() -> None:
    videos = WORLD.videos
    counts = np.diff(WORLD.comments.offsets)

    def linked(other: np.ndarray) -> float:
        return float(np.corrcoef(videos.discussability, other)[0, 1])

    assert linked(np.log(counts)) > 0.3
    # Five standard errors of a correlation of 1,500.
    assert abs(linked(np.log(videos.duration_ms))) < 5 / np.sqrt(1_500)
    assert abs(linked(videos.quality)) < 5 / np.sqrt(1_500)
    order = np.argsort(videos.discussability).astype(np.int32)

    def open_rate(chosen: np.ndarray, **changes: float) -> float:
        shown = np.tile(chosen, (N, 1)).astype(np.int32)
        return float(
            people(**changes).expectations(ROWS, shown, np.full_like(shown, -1)).open.mean()
        )

    ends = order[:40], order[-40:]
    ratio = open_rate(ends[1]) / open_rate(ends[0])
    rest = open_rate(ends[1], open_discussability=0.0) / open_rate(ends[0], open_discussability=0.0)
    assert ratio > 2.0 * rest


def test_comments_under_longer_videos_take_longer() -> None:
    """By the stated power of the duration, of the time on comments; not at all without it."""
    comments = WORLD.comments.offsets[:N, None].astype(np.int32)
    duration = WORLD.videos.duration_ms[:N] / 30_000.0
    dwell = [
        people(dwell_duration=power).section_expectations(ROWS, comments).dwell_seconds[:, 0]
        for power in (0.0, 0.2)
    ]
    assert dwell[1] / dwell[0] == pytest.approx(duration**0.2, rel=1e-3)


def test_what_suits_is_written_about_more_often_once_its_comments_are_open() -> None:
    videos = np.tile(np.arange(12, dtype=np.int32), (N, 1))
    preview = np.full(videos.shape, -1, dtype=np.int32)
    written = []
    for strength in (0.0, 0.5):
        g = people(write_relevance=strength, write_rate=1e-4)
        expected = g.expectations(ROWS, videos, preview)
        written.append(expected.write / np.maximum(expected.open, 1e-30))
        relevance = g.page(ROWS, videos).relevance
    assert written[1] / written[0] == pytest.approx(np.exp(0.5 * relevance), rel=1e-3)
