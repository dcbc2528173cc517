"""Fit the network, the time distributions and the calibration of the response model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit as logit_of

from simulator.devices import CPU, as_array
from simulator.requests import Int64
from simulator.response.learned.carried import CarriedState, replay_states
from simulator.response.learned.chain import NEVER, Calibration, Chain, chain_mask, play_state
from simulator.response.learned.features import (
    Float64,
    Impressions,
    context_features,
    place_feature,
)
from simulator.response.learned.heads import END, GAUSSIANS, HATE, LIKE, N_OUTCOMES, OPEN
from simulator.response.learned.network import Predictor, ResponseNet
from simulator.response.learned.optimisation import Pool, Progress, one_thread, optimise
from simulator.response.learned.parts.split import CALIBRATE, TRAIN, some_rows, split_by_time
from simulator.response.learned.playtime import PlayTime, duration_group
from simulator.response.learned.quantiles import QuantileTable
from simulator.response.learned.tensors import Entities, Slots, TrainingTensors


@dataclass(frozen=True)
class Fitted:
    """What training returns.

    Attributes:
        predictor: The network.
        chain: Chain weights with their calibration.
        play: Play times; stay: comment stays (one cell per duration group).
        final: What every user carries at the end of the log.
        before: The state before each impression (for evaluation).
        part: int8[N], TRAIN, CALIBRATE or TEST per impression.
        epochs: Epochs run; best_epoch: the one kept.
    """

    predictor: Predictor
    chain: Chain
    play: PlayTime
    stay: QuantileTable
    final: CarriedState
    before: CarriedState
    part: NDArray[np.int8]
    epochs: int
    best_epoch: int


def train(
    log: Impressions,
    entities: Entities,
    *,
    seed: int,
    progress: Progress,
    device: torch.device = CPU,
    others: Sequence[Callable[[], Impressions]] = (),
) -> Fitted:
    """Fit network, time distributions and calibration; deterministic given log, seed and device.

    Args:
        log: The first pool of people, or everyone.
        entities: Catalogue facts.
        seed: Of weights and batches.
        progress: Told how far it has come.
        device: Where the network trains.
        others: Read the other pools, one at a time. The network learns from all; the distributions
            of times, rates and the calibration are those of the first pool, a random sample.
    """
    part = split_by_time(log.user)
    learn = part == TRAIN
    n_users, n_videos = len(entities.users.level), len(entities.duration_ms)
    sessions_per_row = float(np.clip(len(np.unique(log.session)) / len(log), 0.001, 0.999))
    base_rate, fixed = _rates(log.outcomes[learn], sessions_per_row)
    before, final = _replayed(log, n_users)

    duration = entities.duration_ms[log.video]
    state = play_state(log.outcomes)
    group = duration_group(duration)
    use = learn & (log.play_ms >= 0)
    play = PlayTime.fit(log.play_ms[use], state[use], duration[use])
    use = learn & (log.stay_ms > 0)
    groups = int(duration_group(np.array([2**40]))[0]) + 1
    stay = QuantileTable.fit(
        log.stay_ms[use].astype(float), group[use], groups, np.zeros(groups, dtype=np.int64)
    )
    users, videos = _training_rows(log, part, n_users, n_videos)
    counts = []
    for read in others:
        pool = read()
        pool_part = split_by_time(pool.user)
        own_users, own_videos = _training_rows(pool, pool_part, n_users, n_videos)
        users, videos = users + own_users, videos + own_videos
        counts.append(int(own_users.sum()))
        final.put(np.unique(pool.user), _replayed(pool, n_users)[1])
    slots = Slots.of_counts(users, videos, entities)
    scores = _scores(log, play, stay, entities)

    def loaded(read: Callable[[], Impressions]) -> tuple[TrainingTensors, NDArray[np.int8]]:
        pool = read()
        states, _ = _replayed(pool, n_users)
        own = _scores(pool, play, stay, entities)
        tensors = TrainingTensors.build(pool, entities, states, own, fixed, slots, device)
        return tensors, split_by_time(pool.user)

    pools = [Pool(n, partial(loaded, read)) for n, read in zip(counts, others, strict=True)]
    with one_thread():
        data = TrainingTensors.build(log, entities, before, scores, fixed, slots, device)
        net, epochs, best = optimise(data, part, base_rate, seed, progress, device, pools)
        predictor, chain_weights = _export(net, data)
    chain = Chain(chain_weights, Calibration.none(fixed))
    chain = replace(chain, calibration=_calibrate(predictor, chain, log, before, scores, part))
    return Fitted(predictor, chain, play, stay, final, before, part, epochs, best)


def _replayed(log: Impressions, n_users: int) -> tuple[CarriedState, CarriedState]:
    like, hate = log.outcomes[:, LIKE] == 1, log.outcomes[:, HATE] == 1
    return replay_states(log.user, log.video, like, hate, log.page_start, n_users)


def _training_rows(
    log: Impressions, part: NDArray[np.int8], n_users: int, n_videos: int
) -> tuple[Int64, Int64]:
    """Training rows per user int64[N] and per video int64[V]."""
    learn = part == TRAIN
    return (
        np.bincount(log.user[learn], minlength=n_users).astype(np.int64),
        np.bincount(log.video[learn], minlength=n_videos).astype(np.int64),
    )


def _scores(log: Impressions, play: PlayTime, stay: QuantileTable, entities: Entities) -> Float64:
    """float64[N, 2]: normal scores of play time and comment stay; 0 where unknown."""
    duration = entities.duration_ms[log.video]
    has_play, opened = log.play_ms >= 0, log.stay_ms > 0
    scores = np.zeros((len(log), len(GAUSSIANS)))
    scores[has_play, 0] = play.table.score(
        log.play_ms[has_play].astype(float),
        play.cell(play_state(log.outcomes), duration)[has_play],
    )
    group = duration_group(duration)[opened]
    scores[opened, 1] = stay.score(log.stay_ms[opened].astype(float), group)
    return scores


def _rates(outcomes: NDArray[np.int8], sessions_per_row: float) -> tuple[Float64, Float64]:
    """(base rate, fixed logit or NaN) per outcome from training rows.

    Where no session was seen to end, sessions per impression stand in for the chance of an end.
    """
    rate, fixed = np.zeros(N_OUTCOMES), np.full(N_OUTCOMES, np.nan)
    for head in range(N_OUTCOMES):
        label = outcomes[:, head]
        label = label[label >= 0]
        if len(label) == 0 or label.max() == 0:
            rate[head] = sessions_per_row if head == END else 0.0
            fixed[head] = logit_of(sessions_per_row) if head == END else NEVER
        elif label.min() == 1:
            fixed[head], rate[head] = -NEVER, 1.0
        else:
            rate[head] = label.mean()
    return rate, fixed


def _export(net: ResponseNet, data: TrainingTensors) -> tuple[Predictor, Float64]:
    """Numpy form of a trained network, and its chain weights.

    Weights pass through float32, as they do when stored: a reloaded model is the same model.
    """
    with torch.no_grad():
        p = net.people(data.user_slot, data.level_of_user, data.numbers_of_user)
        q = data.all_videos(net, torch.arange(len(data.video_slot), device=data.video.device), 1.0)
        arrays = {"p": as_array(p), "q": as_array(q)}
        for name in (
            "hidden_user", "hidden_video", "hidden_context", "hidden_pair", "hidden_bias",
            "out_user", "out_video", "out_context", "out_hidden", "out_bias",
        ):  # fmt: skip
            arrays[name] = as_array(getattr(net, name))
        chain = as_array(net.chain).astype(np.float64) * chain_mask()
    return Predictor.from_arrays(arrays), chain


def row_outputs(
    predictor: Predictor, log: Impressions, before: CarriedState, rows: Int64
) -> Float64:
    """float64[R, N_OUTPUTS]: outputs for logged impressions, chain terms left out."""
    return predictor.outputs(
        log.user[rows],
        log.video[rows][:, None],
        predictor.taste(before.liked[rows]),
        predictor.taste(before.hated[rows]),
        context_features(log.time_ms[rows]),
        place_feature(log.place[rows])[:, None],
    )[:, 0]


def _calibrate(
    predictor: Predictor,
    chain: Chain,
    log: Impressions,
    before: CarriedState,
    scores: Float64,
    part: NDArray[np.int8],
) -> Calibration:
    rows = some_rows(part == CALIBRATE)
    outputs = row_outputs(predictor, log, before, rows)
    outcomes = log.outcomes[rows]
    logits = outputs[:, :N_OUTCOMES] + np.maximum(outcomes, 0) @ chain.weights[:N_OUTCOMES].T
    residuals = []
    for index, known in enumerate([log.play_ms[rows] >= 0, outcomes[:, OPEN] == 1]):
        mean, scale = chain.location(outputs, outcomes, index)
        residuals.append(((scores[rows, index] - mean) / scale)[known])
    return Calibration.fit(logits, outcomes, residuals, chain.calibration.fixed)
