"""The fitted reading of comments: its parameters by hand, and what it draws by closed forms."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from simulator.logs.dataset import Dataset
from simulator.randomness import mix, purpose_key
from simulator.response.learned import comments as learned_comments
from simulator.response.learned.comments import POSITIONS, CommentModel
from tests.simulator.conftest import ReadTables, tables

KEY = purpose_key(1, "test")
N = 40_000

MODEL = CommentModel(
    dwell_known=True,
    go_on=np.concatenate([[0.5, 0.9, 0.2], np.full(POSITIONS - 3, 0.7)]),
    dwell=np.array([7.5, 0.2, 0.4]),
    like=np.array([-1.2, 0.3]),
    reply=np.array([-2.0, -0.4]),
    overhead_ms=700.9,
    user_dwell=np.array([0.3, -0.5]),
    user_like=np.array([0.4, -0.6]),
    comment_dwell=np.array([0.1, -0.2, 0.5, 0.0]),
    comment_like=np.array([0.8, -0.3, 0.2, 0.1]),
    log_likes=np.array([2.4, 0.3, -0.9, -1.8]),
)


def sections(
    model: CommentModel, user: int, comments: list[int], *, stay_ms: int = 9_500, n: int = N
) -> ReadTables:
    """The same section, opened ``n`` times by one person."""
    order = np.tile(np.array(comments, dtype=np.int32), (n, 1))
    users, slot = np.full(n, user, np.int32), np.zeros(n, np.int64)
    read = model.read(users, mix(KEY, np.arange(n)), slot, order, np.full(n, stay_ms))
    return tables(read, len(comments))


def assert_share(happened: np.ndarray, chance: float) -> None:
    error = np.sqrt(chance * (1.0 - chance) / len(happened))
    assert abs(happened.mean() - chance) < 5.0 * error


@pytest.mark.parametrize("user", [0, 1])
def test_reading_follows_the_chances_and_times_of_the_model(user: int) -> None:
    comments = [2, 0, 3, 1]
    read = sections(MODEL, user, comments)
    assert read.shown[:, 0].all()
    for place, go_on in enumerate(MODEL.go_on[: len(comments) - 1]):
        assert_share(read.shown[read.shown[:, place], place + 1], go_on)
    for place, comment in enumerate(comments):
        seen = read.shown[:, place]
        x = MODEL.log_likes[comment]
        mean = 7.5 + 0.2 * x + MODEL.user_dwell[user] + MODEL.comment_dwell[comment]
        time = np.log(read.dwell_ms[seen, place])
        assert time.mean() == pytest.approx(mean, abs=5.0 * 0.4 / np.sqrt(seen.sum()))
        assert time.std() == pytest.approx(0.4, rel=0.05)
        like = expit(-1.2 + 0.3 * x + MODEL.user_like[user] + MODEL.comment_like[comment])
        assert_share(read.like[seen, place], like)
        assert_share(read.reply[seen, place], expit(-2.0 - 0.4 * x))
    # The stay is the reading and what the log spent on nothing listed, in whole milliseconds.
    np.testing.assert_array_equal(read.stay_ms, read.dwell_ms.sum(axis=1) + 700)


def test_a_comment_is_read_for_a_millisecond_at_least_and_some_minutes_at_most() -> None:
    flat = {
        "log_likes": np.zeros(4), "comment_dwell": np.zeros(4), "user_dwell": np.zeros(2),
        "go_on": np.ones(POSITIONS), "overhead_ms": 0.0,
    }  # fmt: skip
    for level, dwell in ((-2.0, 1), (30.0, 442_413)):  # exp(13)
        model = dataclasses.replace(MODEL, dwell=np.array([level, 0.0, 0.4]), **flat)
        read = sections(model, 0, [0, 1, -1], n=50)
        assert read.dwell_ms.tolist() == [[dwell, dwell, 0]] * 50
        assert (read.stay_ms == 2 * dwell).all()


def test_a_list_longer_than_the_fitted_depth_goes_on_at_its_last_chance() -> None:
    go_on = np.full(POSITIONS, 1.0)
    go_on[-1] = 0.25
    model = dataclasses.replace(MODEL, go_on=go_on)
    read = sections(model, 0, [0, 1, 2, 3] * (POSITIONS // 4 + 1), n=4_000)
    assert read.shown[:, :POSITIONS].all()
    assert_share(read.shown[:, POSITIONS], 0.25)
    assert_share(read.shown[read.shown[:, POSITIONS], POSITIONS + 1], 0.25)


def test_without_times_the_drawn_stay_is_divided_over_the_comments_that_fit() -> None:
    model = dataclasses.replace(MODEL, dwell_known=False)
    for stay, shown in ((2_900, 1), (3_000, 1), (9_500, 3), (100_000, 4)):
        read = sections(model, 0, [0, 1, 2, 3], stay_ms=stay, n=10)
        assert (read.shown.sum(axis=1) == shown).all()
        assert (read.dwell_ms[:, :shown] == stay // shown).all()
        assert (read.stay_ms == stay).all()


def test_nothing_listed_means_nothing_read_and_the_drawn_stay() -> None:
    read = sections(MODEL, 0, [-1, -1])
    assert not read.shown.any() and (read.stay_ms == 9_500).all()
    some = sections(MODEL, 0, [1, -1])
    assert (some.shown == [True, False]).all()


PEOPLE, PLACES = 3, 3
LIKES = np.array([300, 40, 6, 90, 2, 0])
"""Of three comments of video 1, then three of video 2; a catalogue lists the most liked first."""
STAY_MS, SECTIONS = 5_000.0, 200
WriteDataset = Callable[..., Dataset]


def events(seed: int) -> pl.DataFrame:
    """Visits of three people to two videos in turn; some comments were listed but not shown."""
    random = np.random.default_rng(seed)
    rows = []
    for visit in range(150):
        person, video = visit % PEOPLE, visit // PEOPLE % 2
        for place in range(int(random.integers(1, PLACES + 1))):
            seen = None if random.random() < 0.3 else int(random.random() < 0.8)
            dwell = int(random.lognormal(7.0 + 0.4 * person - 0.3 * place, 0.4))
            like = int(random.random() < (0.5 if place == 0 else 0.1))
            reply = int(random.random() < 0.1)
            comment, time = PLACES * video + place, 1_000_000 * visit + place
            rows.append((person, 1 + video, comment, time, seen, like, reply, dwell))
    names = ["user_id", "video_id", "comment_id", "time_ms"]
    names += ["is_shown", "is_like", "is_reply", "dwell_ms"]
    types = {"is_shown": pl.Int8, "is_like": pl.Int8, "is_reply": pl.Int8}
    return pl.DataFrame(rows, schema=names, orient="row").cast(types)  # type: ignore[arg-type]


def fit(
    write_dataset: WriteDataset,
    path: Path,
    people: list[int] | None = None,
    **more: pl.DataFrame,
) -> CommentModel:
    videos = [1 + i % 2 for i in range(PEOPLE)]
    impressions = pl.DataFrame({"user_id": range(PEOPLE), "video_id": videos}).with_columns(
        time_ms=pl.lit(1_650_000_000_000),
        is_click=pl.lit(1, pl.Int8),
        play_time_ms=pl.lit(9_000, pl.Int64),
    )
    of = np.repeat([1, 2], PLACES)
    comments = pl.DataFrame({"comment_id": range(len(of)), "video_id": of, "like_count": LIKES})
    dataset = write_dataset(path / "log", impressions, comments=comments, **more)
    return CommentModel.fit(
        dataset,
        opened_sections=SECTIONS,
        mean_stay_ms=STAY_MS,
        people=None if people is None else np.array(people, dtype=np.int32),
    )


def test_effects_are_shrunken_means_of_what_the_parts_before_leave_over(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    # Of some rows the time is not known: they count as likes and replies only.
    untimed = pl.when(pl.col("time_ms") % 7 == 0).then(0).otherwise(pl.col("dwell_ms"))
    frame = events(0).with_columns(dwell_ms=untimed)
    model = fit(write_dataset, tmp_path, comment_events=frame)
    assert model.dwell_known
    # A missing mark says nothing against it: such comments were shown.
    rows = [row for row in frame.iter_rows(named=True) if row["is_shown"] != 0]
    x = np.array([model.log_likes[row["comment_id"]] for row in rows])
    np.testing.assert_allclose(model.log_likes, np.log1p(LIKES) - np.log1p(LIKES).mean())
    timed = [row for row in rows if row["dwell_ms"] > 0]
    assert 20 < len(timed) < len(rows) - 20
    xt = np.array([model.log_likes[row["comment_id"]] for row in timed])
    time = np.log([row["dwell_ms"] for row in timed])
    (slope, mean), *_ = np.linalg.lstsq(np.stack([xt, np.ones_like(xt)], axis=1), time)
    rest = time - mean - slope * xt
    fitted = {}
    for name, n in (("user_id", PEOPLE), ("comment_id", len(LIKES))):
        sums: dict[int, list[float]] = defaultdict(list)
        for row, left in zip(timed, rest, strict=True):
            sums[row[name]].append(left)
        fitted[name] = [sum(sums[i]) / (len(sums[i]) + 10) for i in range(n)]
        rest = rest - [fitted[name][row[name]] for row in timed]
    np.testing.assert_allclose(model.user_dwell, fitted["user_id"])
    np.testing.assert_allclose(model.comment_dwell, fitted["comment_id"])
    np.testing.assert_allclose(model.dwell, [mean, slope, np.std(rest)])
    like = np.array([row["is_like"] for row in rows])
    np.testing.assert_allclose(model.like, penalised(x, like), atol=1e-4)
    reply = np.array([row["is_reply"] for row in rows])
    np.testing.assert_allclose(model.reply, penalised(x, reply), atol=1e-4)
    expected = expit(model.like[0] + model.like[1] * x)
    for name, found in (("user_id", model.user_like), ("comment_id", model.comment_like)):
        for i, effect in enumerate(found):
            mine = np.array([row[name] == i for row in rows])
            ratio = (like[mine].sum() + 2) / (expected[mine].sum() + 2)
            assert effect == pytest.approx(np.log(ratio))


def test_events_in_parts_of_people_teach_what_they_teach_at_once(
    write_dataset: WriteDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = events(0)
    whole = fit(write_dataset, tmp_path / "a", comment_events=frame)
    monkeypatch.setattr(learned_comments, "EVENTS_AT_ONCE", frame.height // 5)
    parts = fit(write_dataset, tmp_path / "b", comment_events=frame)
    for field in fields(CommentModel):
        before, after = getattr(whole, field.name), getattr(parts, field.name)
        np.testing.assert_allclose(after, before, rtol=1e-9, err_msg=field.name)


def test_rates_are_of_some_people_and_effects_of_everybody(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    frame = events(0)
    model = fit(write_dataset, tmp_path / "a", people=[0], comment_events=frame)
    own = fit(write_dataset, tmp_path / "b", comment_events=frame.filter(pl.col("user_id") == 0))
    for name in ("go_on", "like", "reply", "overhead_ms"):
        np.testing.assert_array_equal(getattr(model, name), getattr(own, name), err_msg=name)
    assert own.user_dwell[2] == 0.0
    # Person 2 reads for much longer than person 0.
    assert model.user_dwell[2] - model.user_dwell[0] > 0.5


def test_likes_of_some_people_are_held_against_their_own_sections(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    reactions = events(0).filter(pl.col("is_like") == 1).drop("dwell_ms", "is_shown")
    of_one = reactions.filter(pl.col("user_id") == 0)
    model = fit(write_dataset, tmp_path, people=[0], comment_events=reactions)
    assert expit(model.like[0]) == pytest.approx(of_one.height / (SECTIONS * STAY_MS / 3_000))


def penalised(x: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Intercept and slope that maximise the likelihood with a unit normal prior of the slope."""

    def loss(theta: np.ndarray) -> float:
        z = theta[0] + theta[1] * x
        return float((np.logaddexp(0.0, z) - label * z).sum() + 0.5 * theta[1] ** 2)

    return np.asarray(minimize(loss, np.zeros(2), tol=1e-10).x)


def test_chances_of_a_next_comment_and_the_time_beside_them(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    frame = events(1).with_columns(is_shown=pl.lit(1, pl.Int8))
    model = fit(write_dataset, tmp_path, comment_events=frame)
    depths = [len(visit) for _, visit in frame.group_by(frame["time_ms"] // 1_000_000)]
    reached = [sum(depth > r for depth in depths) for r in range(POSITIONS)] + [0]
    common = sum(reached[1:]) / sum(reached[:-1])
    for place in range(POSITIONS):
        chance = (reached[place + 1] + 20 * common) / (reached[place] + 20)
        assert model.go_on[place] == pytest.approx(chance), place
    listed = frame["dwell_ms"].sum() / SECTIONS
    assert model.overhead_ms == pytest.approx(max(STAY_MS - listed, 0.0))


def test_without_sections_and_visits_all_of_the_stay_is_beside_the_comments() -> None:
    nothing = events(1).clear()
    assert learned_comments._overhead(nothing, np.zeros(0, dtype=np.bool_), 700.5, 0) == 700.5


@pytest.mark.parametrize("seed", range(5))
def test_few_comments_give_the_maximum_of_the_penalised_likelihood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=12)
    label = rng.random(12) < expit(0.5 + x)
    label[:2] = True, False

    def loss(theta: np.ndarray) -> float:
        logit = theta[0] + theta[1] * x
        return float(np.logaddexp(0.0, np.where(label, -logit, logit)).sum() + theta[1] ** 2 / 2)

    best = minimize(loss, np.zeros(2), tol=1e-12).x
    found = learned_comments._logistic(x, label)
    np.testing.assert_allclose(found, best, atol=1e-5)


def test_likes_without_times_occur_at_the_logged_rate_of_a_section(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    frame = events(2).filter(pl.col("is_like") == 1).drop("is_shown", "dwell_ms")
    model = fit(write_dataset, tmp_path, comment_events=frame)
    assert not model.dwell_known
    shown = SECTIONS * STAY_MS / 3_000.0
    assert expit(model.like[0]) == pytest.approx(len(frame) / shown)
    assert expit(model.reply[0]) == pytest.approx(frame["is_reply"].sum() / shown)
    assert model.like[1] == model.reply[1] == 0.0


def test_a_log_without_comment_events_has_no_likes(
    write_dataset: WriteDataset, tmp_path: Path
) -> None:
    read = sections(fit(write_dataset, tmp_path), 0, [0, 1, 2])
    assert read.shown.any() and not read.like.any() and not read.reply.any()
