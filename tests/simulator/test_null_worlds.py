"""Worlds without one mechanism: what lives on it must lose its advantage there, and only there.

Advantages are differences of exact expectations of the same people and the same candidates under
two rankers that read the truth, so the only chance is in who and what was drawn. Where an advantage
is not exactly zero, its interval over people is at 5 standard errors: one failure in 1.7 million
seeds per comparison.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from policies.ranking import rank
from simulator.comment_sections import CommentSections
from simulator.feed import Feed
from simulator.requests import HistoryState, Int32, VideoRequests
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldPopulation, WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.world import World
from tests.simulator.conftest import tables

NULLS = (
    "no-comment-taste", "no-comment-order", "no-sequence", "no-fresh", "no-taste-link", "no-drift",
    "no-return-link",
)  # fmt: skip
DAY_MS = 86_400_000
PEOPLE = 600
PAGE = 6
Z = 5.0


def small(preset: str, **changes: float) -> World:
    """A null world in the small world's size, with reading as it is before any calibration."""
    size = dataclasses.asdict(WorldConfig.preset("small"))
    apart = dataclasses.asdict(WorldConfig.preset("default"))
    null = dataclasses.asdict(WorldConfig.preset(preset))
    off = {k: v for k, v in null.items() if v != apart[k]} if preset != "default" else {}
    values = {**size, "read_base": 1.5, "dwell_base": 0.3, **off, **changes}
    return World.create(WorldConfig.from_dict(values), 7)


def crowd(world: World) -> WorldPopulation:
    return WorldResponse(world).population(np.arange(PEOPLE, dtype=np.int32))


def interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Relative advantage of the first over the second: mean over people, 5 standard errors."""
    gain = (first - second).astype(np.float64) / second.mean()
    error = Z * gain.std() / np.sqrt(len(gain))
    return float(gain.mean() - error), float(gain.mean() + error)


def assert_only_in(
    advantage: Callable[[World], tuple[float, float]], null: str, least: float, most: float
) -> None:
    low, _ = advantage(small("default"))
    assert low > least, f"no advantage in the ordinary world: from {low:.2%}"
    low, high = advantage(small(null))
    assert -most <= low, f"a loss in {null}: {low:.2%}"
    assert high <= most, f"an advantage in {null}: up to {high:.2%}"


def test_null_worlds_differ_from_the_default_in_one_parameter() -> None:
    default = dataclasses.asdict(WorldConfig.preset("default"))
    for name in NULLS:
        null = dataclasses.asdict(WorldConfig.preset(name))
        assert [k for k in default if k != "name" and null[k] != default[k]] != []
        assert sum(null[k] != default[k] for k in default if k != "name") == 1, name


# Comments.


def sections(world: World, width: int = 12) -> tuple[np.ndarray, Int32]:
    """One section of at least so many comments per person."""
    offsets = world.comments.offsets
    wide = np.flatnonzero(np.diff(offsets) >= width)
    start = offsets[wide[np.arange(PEOPLE) % len(wide)]]
    return np.arange(PEOPLE), (start[:, None] + np.arange(width)).astype(np.int32)


def ordered(comments: Int32, index: np.ndarray) -> Int32:
    return np.take_along_axis(comments, np.argsort(-index, axis=1, kind="stable"), axis=1)


def someone_else(people: WorldPopulation, **traits: np.ndarray) -> WorldPopulation:
    """The population with other traits, for rankers that do not know the true ones."""
    other = people.copy()
    other.people = dataclasses.replace(people.people, **traits)
    return other


def stay_of(people: WorldPopulation, judge: WorldPopulation) -> np.ndarray:
    """Expected stay of the people in the order that the judge thinks best."""
    rows, comments = sections(people.world)
    return people.expected_stay_seconds(
        rows, ordered(comments, judge.comment_index(rows, comments))
    )


def personal_comments(world: World) -> tuple[float, float]:
    """Best order for each person against the best order for the average person."""
    people = crowd(world)
    plain = {k: np.zeros_like(getattr(people.people, k)) for k in ("comment_taste", "read", "pace")}
    average = someone_else(people, **plain)
    return interval(stay_of(people, people), stay_of(people, average))


def comments_by_video_taste(world: World) -> tuple[float, float]:
    """Order by the comment taste that video taste suggests, against that of the average person.

    The link is learned from 20,000 other people.
    """
    people = crowd(world)
    others = world.people(np.arange(PEOPLE, PEOPLE + 20_000, dtype=np.int32))
    centre = others.taste.mean(axis=0)
    fit, *_ = np.linalg.lstsq(others.taste - centre, others.comment_taste, rcond=None)
    mean = np.broadcast_to(others.comment_taste.mean(axis=0), (PEOPLE, len(fit[0])))
    guessed = someone_else(people, comment_taste=mean + (people.people.taste - centre) @ fit)
    average = someone_else(people, comment_taste=mean)
    return interval(stay_of(people, guessed), stay_of(people, average))


def test_without_comment_taste_a_personal_order_is_no_better_than_a_common_one() -> None:
    """What little remains is patience: how long people read differs even where tastes do not."""
    assert_only_in(personal_comments, "no-comment-taste", least=0.02, most=0.003)


def test_without_the_link_video_taste_says_nothing_about_comments() -> None:
    assert_only_in(comments_by_video_taste, "no-taste-link", least=0.001, most=0.008)


def test_without_an_effect_of_order_every_order_is_the_same_to_the_byte() -> None:
    world = small("no-comment-order")
    people = crowd(world)
    rows, comments = sections(world)
    key = np.arange(PEOPLE).astype(np.uint64)
    slot = np.zeros(PEOPLE, dtype=np.int64)
    videos = np.zeros(PEOPLE, dtype=np.int32)
    best = ordered(comments, people.comment_index(rows, comments))
    drawn = [
        tables(people.read(rows, key, slot, videos, c), c.shape[1])
        for c in (comments, best, best[:, ::-1])
    ]
    assert len({d.stay_ms.tobytes() for d in drawn}) == 1
    assert len({np.sort(d.dwell_ms, axis=1).tobytes() for d in drawn}) == 1
    assert len({d.like.sum(axis=1).tobytes() for d in drawn}) == 1
    low, high = interval(stay_of(people, people), people.expected_stay_seconds(rows, comments))
    assert abs(low) < 1e-6
    assert abs(high) < 1e-6
    ordinary = crowd(small("default"))
    low, _ = interval(stay_of(ordinary, ordinary), ordinary.expected_stay_seconds(rows, comments))
    assert low > 0.02


# Videos.


class Moment:
    """People in the middle of their sessions, six days after the log began, and their requests."""

    def __init__(self, world: World, days: float = 6.0) -> None:
        group = np.arange(PEOPLE, dtype=np.int32)
        catalogue = world.catalogue()
        self.start_ms = world.config.start_ms + round(days * DAY_MS)
        feed = Feed(
            catalogue,
            WorldResponse(world).population(group),
            group,
            seed=5,
            start_ms=self.start_ms,
            end_ms=self.start_ms + DAY_MS,
            history=HistoryState(PEOPLE),
            retrieval=Retrieval(catalogue, world.popularity()),
        )
        self.world = world
        self.people = feed.population
        self.sections = CommentSections(catalogue, 64)
        platform = PlatformRanker(world, group)
        for _ in range(12):
            requests = feed.video_requests()
            assert requests is not None
            comments = feed.show(platform.slates(requests, PAGE))
            if comments is not None:
                feed.show_comments(platform.comments(comments))
        found = feed.video_requests()
        assert found is not None
        self.requests: VideoRequests = found

    def clicks(self, judge: WorldPopulation, known: np.ndarray | None = None) -> np.ndarray:
        """Expected clicks on the page that the judge thinks best.

        ``known`` bool[V] marks the videos that the judge can tell apart; the others are to it
        what the known ones are on average.
        """
        rows = self.requests.row.astype(np.int64)
        videos = self.requests.candidates
        score = judge.page(rows, videos).click
        if known is not None:
            seen = known[videos] & (videos >= 0)
            mean = (score * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
            score = np.where(seen, score, mean[:, None]).astype(np.float32)
        page = rank(score, videos, self.requests.key, PAGE)
        return self.people.expectations(rows, page, np.full_like(page, -1)).click.sum(axis=1)


def knowing_the_session(world: World) -> tuple[float, float]:
    moment = Moment(world)
    blind = moment.people.seen_without(sequence=True)
    return interval(moment.clicks(moment.people), moment.clicks(blind))


def knowing_the_date(world: World) -> tuple[float, float]:
    moment = Moment(world)
    return interval(
        moment.clicks(moment.people), moment.clicks(moment.people.seen_without(drift=True))
    )


def reading_the_captions(world: World) -> tuple[float, float]:
    """Telling all videos apart against telling apart those that the log of five days has shown."""
    moment = Moment(world)
    old = world.videos.upload_ms < moment.start_ms - DAY_MS
    return interval(moment.clicks(moment.people), moment.clicks(moment.people, known=old))


@pytest.mark.parametrize(
    ("advantage", "null", "least"),
    [
        (knowing_the_session, "no-sequence", 0.002),
        (knowing_the_date, "no-drift", 0.0002),
        (reading_the_captions, "no-fresh", 0.005),
    ],
)
def test_without_its_mechanism_knowledge_of_it_is_worth_exactly_nothing(
    advantage: Callable[[World], tuple[float, float]], null: str, least: float
) -> None:
    assert_only_in(advantage, null, least=least, most=0.0)


def opened(moment: Moment, judge: WorldPopulation) -> np.ndarray:
    """Expected sections opened on the page whose openings the judge expects most."""
    rows, videos = moment.requests.row.astype(np.int64), moment.requests.candidates
    nothing = np.full(videos.shape, -1, dtype=np.int32)
    score = judge.expectations(rows, videos, nothing).open
    page = rank(score, videos, moment.requests.key, PAGE)
    return moment.people.expectations(rows, page, np.full_like(page, -1)).open.sum(axis=1)


def knowing_what_is_discussed(world: World) -> tuple[float, float]:
    """Seeing how much there is to say about each video against seeing only its other qualities."""
    moment = Moment(world)
    flat = World.create(dataclasses.replace(world.config, open_discussability=0.0), world.seed)
    blind = moment.people.copy()
    blind.world = flat
    return interval(opened(moment, moment.people), opened(moment, blind))


def test_without_discussability_knowing_it_opens_no_comments() -> None:
    # Everyone is as ready as everyone else, so that the interval is of videos, not of people, and
    # opening is as it was before any calibration: this test is about a cause, not about rates.
    alike = {"open_person_sigma": 0.0, "open_relevance": 0.8, "open_base": -4.0}
    low, _ = knowing_what_is_discussed(small("default", **alike))
    assert low > 0.003
    assert knowing_what_is_discussed(small("no-discussability", **alike)) == (0.0, 0.0)


def test_without_the_opening_link_the_right_video_opens_no_more_comments_than_any_other() -> None:
    def ratio(preset: str) -> float:
        """Open rate of the people whom each video suits best over that of those it suits least."""
        # Everyone alike, but for taste.
        people = crowd(small(preset, open_person_sigma=0.0, open_preview=0.0))
        videos = np.tile(np.arange(40, dtype=np.int32), (PEOPLE, 1))
        rows = np.arange(PEOPLE)
        page = people.page(rows, videos)
        stated = people.expectations(rows, videos, np.full_like(videos, -1)).open
        order = np.argsort(page.relevance, axis=0)
        ordered_open = np.take_along_axis(stated, order, axis=0)
        return float(ordered_open[-60:].mean() / ordered_open[:60].mean())

    assert ratio("default") > 3.0
    assert ratio("no-opening-link") == pytest.approx(1.0, abs=1e-5)


DEEDS = ("like", "follow", "forward", "profile", "hate")


def test_without_the_feedback_link_deeds_depend_on_clicks_alone() -> None:
    def slopes(preset: str) -> dict[str, float]:
        """Log rate of each deed per unit of relevance, everyone alike and clicking alike."""
        world = small(
            preset, click_person_sigma=0.0, click_volume=0.0, like_person_sigma=0.0,
            like_duration=0.0, click_base=-30.0,
        )  # fmt: skip
        people = crowd(world)
        rows = np.arange(PEOPLE)
        videos = np.tile(np.arange(30, dtype=np.int32), (PEOPLE, 1))
        relevance = people.page(rows, videos).relevance.ravel()
        stated = people.expectations(rows, videos, np.full_like(videos, -1))
        return {
            deed: float(np.polyfit(relevance, np.log(getattr(stated, deed).ravel()), 1)[0])
            for deed in DEEDS
        }

    config = WorldConfig.preset("small")
    found = slopes("default")
    assert found["forward"] == pytest.approx(config.forward_relevance, abs=0.01)
    assert found["hate"] == pytest.approx(-config.hate_relevance, abs=0.01)
    # A like raises a follow, and a follow is a visit: both add to their own slopes.
    assert found["follow"] > config.follow_relevance - 0.01
    assert found["profile"] > config.profile_relevance - 0.01
    assert min(found["like"], found["follow"], found["forward"], found["profile"]) > 0.1
    assert found["hate"] < -0.1
    for slope in slopes("no-feedback-link").values():
        assert slope == pytest.approx(0.0, abs=1e-3)


def test_an_advantage_stays_in_the_null_worlds_of_other_mechanisms() -> None:
    assert knowing_the_session(small("no-drift"))[0] > 0.001
    assert reading_the_captions(small("no-sequence"))[0] > 0.001
    assert personal_comments(small("no-fresh"))[0] > 0.02
