"""The parts of training: rates, embedding rows, the loss, and the network that is exported."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import logit
from scipy.stats import bernoulli, norm

from simulator.logs.dataset import Dataset
from simulator.response.learned import optimisation, tensors, training
from simulator.response.learned.carried import replay_states
from simulator.response.learned.chain import NEVER, chain_mask
from simulator.response.learned.features import Impressions, UserFeatures, video_durations
from simulator.response.learned.heads import (
    END,
    GAUSSIANS,
    HATE,
    LIKE,
    N_OUTCOMES,
    N_OUTPUTS,
)
from simulator.response.learned.network import SIZE, ResponseNet
from simulator.response.learned.parts import split
from simulator.response.learned.parts.split import TEST, TRAIN, some_rows, split_by_time
from simulator.response.learned.tensors import Entities, Slots, TrainingTensors


def test_outcomes_that_never_or_always_happen_are_constants() -> None:
    outcomes = np.full((8, N_OUTCOMES), -1, dtype=np.int8)
    outcomes[:, 0] = [1, 1, 1, -1, 0, -1, 0, 0]
    outcomes[:, 1] = [1, 1, 1, -1, 1, -1, 1, 1]
    outcomes[:, 2] = [0, 0, 0, -1, 0, -1, 0, 0]
    rate, fixed = training._rates(outcomes, 0.2)
    assert rate[:4].tolist() == [0.5, 1.0, 0.0, 0.0]
    assert np.isnan(fixed[0]) and fixed[1:4].tolist() == [-NEVER, NEVER, NEVER]
    # No session was seen to end: sessions per impression stand in for the chance of it.
    assert rate[END] == 0.2 and fixed[END] == pytest.approx(logit(0.2))
    outcomes[:, END] = [0, 0, 1, 0, 0, 0, 0, 1]
    rate, fixed = training._rates(outcomes, 0.2)
    assert rate[END] == 0.25 and np.isnan(fixed[END])


def test_only_what_was_seen_often_enough_has_a_row_of_its_own() -> None:
    examples = np.bincount([7, 7, 7, 2, 2, 5, 5, 5, 5])
    assert tensors._slots(examples, np.array([2, 5, 7, 9, -1, 0]), 3).tolist() == [
        0, 1, 2, 0, 0, 0,
    ]  # fmt: skip
    assert tensors._slots(examples, np.array([2, 5, 7]), 2).tolist() == [1, 2, 3]
    assert tensors._slots(examples, np.array([2, 5, 7]), 9).tolist() == [0, 0, 0]


def test_people_have_a_row_from_one_impression_on_videos_and_their_groups_from_three() -> None:
    """Groups add up what their videos have; a video without a group is of none."""
    entities = Entities(
        author=np.array([0, 0, 1, 1, -1]),
        category=np.array([0, 1, 1, -1, 1]),
        duration_ms=np.zeros(5, np.int64),
        users=UserFeatures(np.zeros(3, np.int64), [], np.zeros((3, 3), np.float32)),
    )
    slots = Slots.of_counts(np.array([0, 1, 7]), np.array([3, 0, 2, 0, 4]), entities)
    assert slots.user.tolist() == [0, 1, 2]
    assert slots.video.tolist() == [1, 0, 0, 0, 2]
    assert slots.author.tolist() == [1, 1, 0, 0, 0]
    assert slots.category.tolist() == [1, 2, 2, 0, 2]


def test_rows_to_judge_by_are_spread_over_all_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(split, "_EVALUATION_ROWS", 10)
    mask = np.arange(60) % 2 == 0
    assert some_rows(mask[:20]).tolist() == list(range(0, 20, 2))
    assert some_rows(mask[:21]).tolist() == list(range(0, 21, 4))
    assert some_rows(mask).tolist() == list(range(0, 60, 6))
    assert len(some_rows(mask[:0])) == 0


def test_the_last_parts_of_each_person_are_kept_for_calibration_and_test() -> None:
    part = split_by_time(np.repeat([0, 1], [200, 40]).astype(np.int32))
    counts = [np.bincount(mine, minlength=3).tolist() for mine in (part[:200], part[200:])]
    assert counts == [[170, 15, 15], [34, 3, 3]]
    assert (np.diff(part[:200]) >= 0).all() and (np.diff(part[200:]) >= 0).all()
    assert (part[0], part[199]) == (TRAIN, TEST)


def test_the_loss_is_minus_the_log_likelihood_of_what_is_known() -> None:
    random = np.random.default_rng(0)
    n = 12
    labels = random.integers(0, 2, (n, N_OUTCOMES))
    learnable = random.integers(0, 2, (n, N_OUTCOMES))
    scores, timed = random.normal(size=(n, len(GAUSSIANS))), random.integers(0, 2, (n, 2))
    outputs = random.normal(size=(n, N_OUTPUTS))
    outputs[:4, [N_OUTCOMES + 1, N_OUTCOMES + 3]] = [-3.0, 4.0]
    data = SimpleNamespace(
        labels=torch.from_numpy(labels).float(),
        learnable=torch.from_numpy(learnable).float(),
        scores=torch.from_numpy(scores).float(),
        timed=torch.from_numpy(timed).float(),
    )
    rows = np.array([0, 3, 5, 6, 11])
    found = TrainingTensors.loss(
        data,  # type: ignore[arg-type]
        torch.from_numpy(outputs[rows]).float(),
        torch.from_numpy(rows),
    )
    chance = 1.0 / (1.0 + np.exp(-outputs[:, :N_OUTCOMES]))
    known = (bernoulli.logpmf(labels, chance) * learnable).sum(axis=1)
    for index in range(len(GAUSSIANS)):
        at = N_OUTCOMES + 2 * index
        scale = np.exp(np.clip(outputs[:, at + 1], -2.0, 1.0))
        density = norm.logpdf(scores[:, index], outputs[:, at], scale)
        # The constant of the density does not matter.
        known += (density + 0.5 * np.log(2.0 * np.pi)) * timed[:, index]
    assert float(found) == pytest.approx(-known[rows].mean(), rel=1e-5)


def test_every_seed_starts_from_weights_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[int] = []

    class Drawn(Exception):
        """The network would be made now."""

    def draw(sizes: object, base: object, generator: torch.Generator) -> None:
        first.append(int(torch.randint(2**62, (1,), generator=generator)))
        raise Drawn

    monkeypatch.setattr(optimisation, "ResponseNet", draw)
    for seed in (3, 4, 3, 2**31 + 4):
        with pytest.raises(Drawn):
            optimisation.optimise(
                SimpleNamespace(sizes=None),  # type: ignore[arg-type]
                np.zeros(0, dtype=np.int8),
                np.full(N_OUTCOMES, 0.5),
                seed,
                lambda *told: None,
            )
    assert first[0] == first[2] != first[1] == first[3]


Data = tuple[TrainingTensors, Impressions, object, ResponseNet]


@pytest.fixture(scope="module")
def data(toy: Dataset) -> Data:
    """The toy log as tensors, and a network of random weights."""
    log = Impressions.read(toy, seed=0)
    catalogue = toy.catalogue()
    entities = Entities(
        np.asarray(catalogue.author, dtype=np.int64),
        np.asarray(catalogue.category, dtype=np.int64),
        video_durations(toy),
        UserFeatures.read(toy),
    )
    like, hate = log.outcomes[:, LIKE] == 1, log.outcomes[:, HATE] == 1
    n_users = len(entities.users.level)
    before, _ = replay_states(log.user, log.video, like, hate, log.page_start, n_users)
    fixed = np.full(N_OUTCOMES, np.nan)
    # The first person is not among the rows that are learned from.
    learn = log.user > 0
    scores = np.zeros((len(log), 2))
    slots = Slots.of_counts(
        np.bincount(log.user[learn], minlength=n_users),
        np.bincount(log.video[learn], minlength=len(entities.author)),
        entities,
    )
    rows = TrainingTensors.build(log, entities, before, scores, fixed, slots)
    generator = torch.Generator().manual_seed(0)
    net = ResponseNet(rows.sizes, torch.zeros(N_OUTPUTS), generator)
    with torch.no_grad():
        net.chain += torch.randn(net.chain.shape, generator=generator)
        for table in (net.user, net.video):
            table[1:] += torch.randn(table[1:].shape, generator=generator)
    return rows, log, before, net


def test_the_exported_network_is_the_trained_one(data: Data) -> None:
    logged, log, before, net = data
    predictor, weights = training._export(net, logged)
    rows = np.arange(0, len(log), 7)
    with torch.no_grad():
        trained = logged.outputs(net, torch.from_numpy(rows), None).numpy()
    exported = training.row_outputs(predictor, log, before, rows)  # type: ignore[arg-type]
    labels = np.maximum(log.outcomes[rows], 0)
    np.testing.assert_allclose(exported + labels @ weights.T, trained, atol=1e-4)
    assert (weights[chain_mask() == 0.0] == 0.0).all()
    # People and videos that were not learned from have no embedding.
    assert logged.user_slot[0] == 0 and logged.sizes.users == len(logged.user_slot) - 1


def test_training_forgets_a_tenth_of_the_people_and_three_tenths_of_the_videos(data: Data) -> None:
    logged, log, *_ = data
    rows = torch.from_numpy(np.flatnonzero(log.user > 0).repeat(2))
    generator = torch.Generator().manual_seed(1)
    for table, out, dropped in (("user", "out_user", 0.1), ("video", "out_video", 0.3)):
        bare = ResponseNet(logged.sizes, torch.zeros(N_OUTPUTS), generator)
        with torch.no_grad():
            for weight in bare.parameters():
                weight.zero_()
            getattr(bare, table)[1:] = 1.0
            getattr(bare, out).fill_(1.0 / SIZE)
            kept = logged.outputs(bare, rows, generator)[:, 0].numpy()
            always = logged.outputs(bare, rows, None)[:, 0].numpy()
        known = always > 0.5
        share = 1.0 - kept[known].mean()
        error = np.sqrt(dropped * (1.0 - dropped) / known.sum())
        assert set(np.round(kept, 4)) == {0.0, 1.0}
        assert abs(share - dropped) < 5.0 * error
