"""The classifier two-sample test: its classifier, its area and interval, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from simulator.response.learned.two_sample import boosting, discriminate
from simulator.response.learned.two_sample.boosting import BoostedTrees
from simulator.response.learned.two_sample.discriminate import clustered_auc

NAMES = ("a", "b", "c")


def pairs_won(label: np.ndarray, score: np.ndarray) -> tuple[float, int]:
    """Brute force: positives above negatives, ties by half; and the number of pairs."""
    up, down = score[label][:, None], score[~label][None]
    return float((up > down).sum() + 0.5 * (up == down).sum()), up.size * down.size


def clustered(seed: int, users: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and users; scores of a user are alike and say nothing about the label."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), random.integers(1, 9, users))
    score = random.normal(size=users)[user] + random.normal(size=len(user))
    label = random.random(len(user)) < random.beta(1.0, 1.0, users)[user]
    return label, np.round(score, 1), user


def test_the_area_counts_pairs_within_strata() -> None:
    label, score, user = clustered(1)
    stratum = user % 3
    won = [pairs_won(label[stratum == s], score[stratum == s]) for s in range(3)]
    area, _ = clustered_auc(label, score, user, stratum)
    assert area == pytest.approx(sum(w for w, _ in won) / sum(p for _, p in won))


def test_the_interval_counts_users_not_sessions() -> None:
    errors, spread, alone = [], [], []
    for seed in range(150):
        label, score, user = clustered(seed)
        area, error = clustered_auc(label, score, user, np.zeros(len(user), dtype=np.int64))
        errors.append(error)
        spread.append(area)
        nobody = np.arange(len(user))
        alone.append(clustered_auc(label, score, nobody, np.zeros_like(nobody))[1])
    assert np.mean(errors) == pytest.approx(np.std(spread), rel=0.12)
    covered = np.abs(np.array(spread) - 0.5) < 1.96 * np.array(errors)
    assert 0.89 <= covered.mean() <= 0.99
    # Sessions taken for people would make it too narrow.
    assert np.mean(alone) < 0.85 * np.mean(errors)


def sample(seed: int, users: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users) * 7 + 5, 3)
    x = random.normal(size=(len(user), 3))
    x[:, 2] = x[:, 0] * x[:, 1] + 0.5 * x[:, 2] if shift else 0.5 * x[:, 2]
    return x, user


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick classifiers, where it does not matter how good they are."""
    monkeypatch.setattr(boosting, "_TREES", 15)


@pytest.mark.usefixtures("few_trees")
def test_the_same_distribution_is_not_told_apart() -> None:
    found = []
    for seed in range(6):
        (real, user), (fake, other) = sample(2 * seed, 80), sample(2 * seed + 1, 80)
        found.append(discriminate.discriminate(real, fake, user, other, NAMES, seed=seed))
    assert np.mean([f["auc"] for f in found]) == pytest.approx(0.5, abs=0.035)
    assert sum(f["low"] <= 0.5 <= f["high"] for f in found) >= 5
    assert found[0]["sessions"] == {"real": 240, "simulated": 240} and found[0]["users"] == 80


def test_a_difference_that_no_feature_shows_alone_is_found() -> None:
    (real, user), (fake, other) = sample(1, 150), sample(2, 150, shift=1.0)
    fake[:, 2] *= real[:, 2].std() / fake[:, 2].std()
    found = discriminate.discriminate(real, fake, user, other, NAMES, seed=1)
    assert found["low"] > 0.6
    assert max(row["auc"] for row in found["features"]) < 0.6


@pytest.mark.usefixtures("few_trees")
def test_what_differs_alone_is_named_with_its_means() -> None:
    (real, user), (fake, other) = sample(1, 60), sample(2, 60)
    fake[:, 1] += 1.5
    found = discriminate.discriminate(real, fake, user, other, NAMES, seed=1)
    told = found["features"][0]
    assert told["name"] == "b" and told["auc"] > 0.8
    assert told["simulated"] - told["real"] == pytest.approx(1.5, abs=0.3)
    assert found["low"] > 0.75


@pytest.mark.usefixtures("few_trees")
def test_the_order_of_the_rows_does_not_matter_and_the_seed_decides() -> None:
    (real, user), (fake, other) = sample(1, 40), sample(2, 40, shift=1.0)
    once = discriminate.discriminate(real, fake, user, other, NAMES, seed=1)
    one, two = (np.random.default_rng(s).permutation(120) for s in (3, 4))
    again = discriminate.discriminate(real[one], fake[two], user[one], other[two], NAMES, seed=1)
    assert once == again
    other_folds = discriminate.discriminate(real, fake, user, other, NAMES, seed=2)
    assert other_folds["auc"] != once["auc"]


def test_no_classifier_has_seen_the_user_that_it_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first feature names the user: only a fold that held the user back can score it blindly.
    seen: list[tuple[set[float], set[float]]] = []

    class Spy(BoostedTrees):
        def fit(self, x: np.ndarray, label: np.ndarray) -> BoostedTrees:
            self.trained = set(x[:, 0])
            return self

        def score(self, x: np.ndarray) -> np.ndarray:
            seen.append((self.trained, set(x[:, 0])))
            return np.zeros(len(x))

    monkeypatch.setattr(discriminate, "BoostedTrees", Spy)
    user = np.repeat(np.arange(30), 2)
    x = np.stack([user, user, user], axis=1).astype(float)
    found = discriminate.discriminate(x, x, user, user, NAMES, seed=1)
    assert found["auc"] == 0.5
    assert len(seen) == 5 and all(not trained & scored for trained, scored in seen)
    assert set().union(*(scored for _, scored in seen)) == set(range(30))


def test_a_handful_of_people_is_too_few() -> None:
    (real, user), (fake, other) = sample(1, 19), sample(2, 19)
    found = discriminate.discriminate(real, fake, user, other, NAMES, seed=1)
    assert found == {"problem": "19 people: too few to tell (20 are needed)"}


def test_boosting_learns_an_interaction() -> None:
    random = np.random.default_rng(5)
    x = random.normal(size=(1_000, 4))
    label = random.random(1_000) < expit(2.0 * x[:, 0] * x[:, 1] + x[:, 2])
    score = BoostedTrees().fit(x[:500], label[:500]).score(x[500:])
    won, pairs = pairs_won(label[500:], score)
    assert won / pairs > 0.75


def test_constant_features_teach_nothing() -> None:
    x, label = np.ones((40, 2)), np.arange(40) < 10
    scores = BoostedTrees().fit(x, label).score(np.zeros((3, 2)))
    assert scores == pytest.approx(np.full(3, np.log(0.25 / 0.75)))
