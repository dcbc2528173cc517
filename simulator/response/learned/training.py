"""Gradient training of the network, calibration, and the split of the log by time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit as logit_of
from torch import Tensor
from torch.nn import functional

from simulator.requests import Int64
from simulator.response.learned.carried import CarriedState, replay_states
from simulator.response.learned.chain import NEVER, Calibration, Chain, chain_mask, play_state
from simulator.response.learned.features import (
    Bool,
    Float64,
    Impressions,
    UserFeatures,
    context_features,
    duration_features,
    place_feature,
)
from simulator.response.learned.heads import (
    END,
    GAUSSIANS,
    HATE,
    LIKE,
    N_OUTCOMES,
    N_OUTPUTS,
    OPEN,
)
from simulator.response.learned.network import Predictor, ResponseNet, Sizes
from simulator.response.learned.playtime import PlayTime, duration_group
from simulator.response.learned.quantiles import QuantileTable

Progress = Callable[[str, float, str], None]

STAGE = "learning how people respond"
TRAIN, CALIBRATE, TEST = 0, 1, 2
_TRAIN_SHARE, _CALIBRATE_SHARE = 0.85, 0.925
_MINIMUM_EXAMPLES = 3
_PRIOR_SD = {
    **dict.fromkeys(("user", "level", "video", "author", "category"), 0.2),
    **dict.fromkeys(("hidden_context", "out_context"), 0.15),
    **dict.fromkeys(("hidden_user", "hidden_video", "hidden_pair", "out_hidden"), 0.5),
    **dict.fromkeys(("user_numbers", "duration", "out_user", "out_video"), 0.5),
    "chain": 4.0,
}
"""Standard deviations of the Gaussian priors of the weights: what little data must argue against.

Embeddings are shrunken hardest, and so is the hour of day, because nothing may be made of hours at
which a small log has few impressions. Biases have no prior."""
_DROP_USER, _DROP_VIDEO = 0.1, 0.3
_MIN_BATCH, _MAX_BATCH, _BATCHES = 64, 1024, 48
_LEARNING_RATE = 0.01
_CHAIN_RATE = 0.05
_MAX_STEPS = 4_000
_MAX_EPOCHS = 40
_PATIENCE = 4
_EVALUATION_ROWS = 20_000


@dataclass(frozen=True)
class Entities:
    """Catalogue facts the network sees; int64 arrays, -1 unknown.

    Attributes:
        author, category: int64[V].
        duration_ms: int64[V], 0 unknown.
        users: The users table.
    """

    author: Int64
    category: Int64
    duration_ms: Int64
    users: UserFeatures


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


def split_by_time(user: NDArray[np.int32]) -> NDArray[np.int8]:
    """int8[N]: each user's last 7.5 % for the test, the 7.5 % before that for calibration.

    ``user`` is sorted; inside a user rows are in time order.
    """
    first = np.searchsorted(user, user, side="left")
    count = np.searchsorted(user, user, side="right") - first
    share = (np.arange(len(user)) - first + 0.5) / count
    return np.where(share < _TRAIN_SHARE, TRAIN, np.where(share < _CALIBRATE_SHARE, 1, 2)).astype(
        np.int8
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of one thread: the same weights whatever the machine's core count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(log: Impressions, entities: Entities, *, seed: int, progress: Progress) -> Fitted:
    """Fit network, time distributions and calibration; deterministic given log and seed."""
    part = split_by_time(log.user)
    learn = part == TRAIN
    n_users = len(entities.users.level)
    sessions_per_row = float(np.clip(len(np.unique(log.session)) / len(log), 0.001, 0.999))
    base_rate, fixed = _rates(log.outcomes[learn], sessions_per_row)
    like, hate = log.outcomes[:, LIKE] == 1, log.outcomes[:, HATE] == 1
    before, final = replay_states(log.user, log.video, like, hate, log.page_start, n_users)

    duration = entities.duration_ms[log.video]
    state = play_state(log.outcomes)
    group = duration_group(duration)
    has_play, opened = log.play_ms >= 0, log.stay_ms > 0
    use = learn & has_play
    play = PlayTime.fit(log.play_ms[use], state[use], duration[use])
    use = learn & opened
    groups = int(duration_group(np.array([2**40]))[0]) + 1
    stay = QuantileTable.fit(
        log.stay_ms[use].astype(float), group[use], groups, np.zeros(groups, dtype=np.int64)
    )
    scores = np.zeros((len(log), len(GAUSSIANS)))
    scores[has_play, 0] = play.table.score(
        log.play_ms[has_play].astype(float), play.cell(state, duration)[has_play]
    )
    scores[opened, 1] = stay.score(log.stay_ms[opened].astype(float), group[opened])

    with _one_thread():
        data = _Tensors.build(log, entities, before, scores, fixed, learn)
        net, epochs, best = _optimise(data, part, base_rate, seed, progress)
        predictor, chain_weights = _export(net, data)
    chain = Chain(chain_weights, Calibration.none(fixed))
    chain = replace(chain, calibration=_calibrate(predictor, chain, log, before, scores, part))
    return Fitted(predictor, chain, play, stay, final, before, part, epochs, best)


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


@dataclass(frozen=True)
class _Tensors:
    """Training data as tensors; index 0 of every entity is the unknown."""

    user: Tensor
    level_of_user: Tensor
    numbers_of_user: Tensor
    user_slot: Tensor
    video: Tensor
    video_slot: Tensor
    author_slot: Tensor
    category_slot: Tensor
    duration_of_video: Tensor
    liked: Tensor
    hated: Tensor
    context: Tensor
    labels: Tensor
    learnable: Tensor
    scores: Tensor
    timed: Tensor
    sizes: Sizes

    @classmethod
    def build(
        cls,
        log: Impressions,
        entities: Entities,
        before: CarriedState,
        scores: Float64,
        fixed: Float64,
        learn: Bool,
    ) -> _Tensors:
        context = np.concatenate(
            [context_features(log.time_ms), place_feature(log.place)[:, None]], axis=1
        )
        user_slot = _slots(log.user[learn], np.arange(len(entities.users.level)), 1)
        video_slot = _slots(log.video[learn], np.arange(len(entities.author)), _MINIMUM_EXAMPLES)
        video = log.video[learn]
        author_slot = _slots(entities.author[video], entities.author, _MINIMUM_EXAMPLES)
        category_slot = _slots(entities.category[video], entities.category, _MINIMUM_EXAMPLES)
        learnable = (log.outcomes >= 0) & np.isnan(fixed)
        return cls(
            user=torch.from_numpy(log.user.astype(np.int64)),
            level_of_user=torch.from_numpy(entities.users.level),
            numbers_of_user=torch.from_numpy(entities.users.numbers),
            user_slot=torch.from_numpy(user_slot),
            video=torch.from_numpy(log.video.astype(np.int64)),
            video_slot=torch.from_numpy(video_slot),
            author_slot=torch.from_numpy(author_slot),
            category_slot=torch.from_numpy(category_slot),
            duration_of_video=torch.from_numpy(duration_features(entities.duration_ms)),
            liked=torch.from_numpy(before.liked.astype(np.int64)),
            hated=torch.from_numpy(before.hated.astype(np.int64)),
            context=torch.from_numpy(context.astype(np.float32)),
            labels=torch.from_numpy(np.maximum(log.outcomes, 0).astype(np.float32)),
            learnable=torch.from_numpy(learnable.astype(np.float32)),
            scores=torch.from_numpy(scores.astype(np.float32)),
            timed=torch.from_numpy(
                np.stack([log.play_ms >= 0, log.stay_ms > 0], axis=1).astype(np.float32)
            ),
            sizes=Sizes(
                users=int(user_slot.max()),
                levels=len(entities.users.level_names),
                videos=int(video_slot.max()),
                authors=int(author_slot.max()),
                categories=int(category_slot.max()),
            ),
        )

    def all_videos(self, net: ResponseNet, videos: Tensor, keep: Tensor | float) -> Tensor:
        """Vectors of these videos; ``keep`` 0 drops their own embedding (not their features)."""
        slot = self.video_slot[videos]
        if isinstance(keep, Tensor):
            slot = slot * keep
        return net.videos(
            slot,
            self.author_slot[videos],
            self.category_slot[videos],
            self.duration_of_video[videos],
        )

    def outputs(self, net: ResponseNet, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """Outputs with chain terms, given the outcomes that really happened."""
        user = self.user[rows]
        user_slot = self.user_slot[user]
        keep_video: Tensor | float = 1.0
        if generator is not None:
            draw = torch.rand(2, len(rows), generator=generator)
            user_slot = user_slot * (draw[0] >= _DROP_USER)
            keep_video = (draw[1] >= _DROP_VIDEO).long()
        p = net.people(user_slot, self.level_of_user[user], self.numbers_of_user[user])
        q = self.all_videos(net, self.video[rows], keep_video)
        base = net(
            p, q, self._taste(net, self.liked[rows]), self._taste(net, self.hated[rows]),
            self.context[rows],
        )  # fmt: skip
        mask = torch.from_numpy(chain_mask()).float()
        return torch.as_tensor(base + self.labels[rows] @ (net.chain * mask).T)

    def _taste(self, net: ResponseNet, ring: Tensor) -> Tensor:
        known = (ring >= 0).float()
        vectors = self.all_videos(net, ring.clamp(min=0), 1.0) * known[..., None]
        return vectors.sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1.0)

    def loss(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Mean negative log likelihood per impression."""
        binary = functional.binary_cross_entropy_with_logits(
            outputs[:, :N_OUTCOMES], self.labels[rows], reduction="none"
        )
        total = (binary * self.learnable[rows]).sum()
        for index in range(len(GAUSSIANS)):
            at = N_OUTCOMES + 2 * index
            log_scale = outputs[:, at + 1].clamp(-2.0, 1.0)
            z = (self.scores[rows, index] - outputs[:, at]) * torch.exp(-log_scale)
            total = total + ((log_scale + 0.5 * z * z) * self.timed[rows, index]).sum()
        return torch.as_tensor(total / len(rows))


def _slots(examples: NDArray[np.integer], of_entity: NDArray[np.integer], least: int) -> Int64:
    """Embedding row per entity: 1, 2, ... for values seen at least ``least`` times, else 0."""
    values, counts = np.unique(examples[examples >= 0], return_counts=True)
    values = values[counts >= least]
    if len(values) == 0:
        return np.zeros(len(of_entity), dtype=np.int64)
    place = np.clip(np.searchsorted(values, of_entity), 0, len(values) - 1)
    return np.where(values[place] == of_entity, place + 1, 0).astype(np.int64)


def _optimise(
    data: _Tensors, part: NDArray[np.int8], base_rate: Float64, seed: int, progress: Progress
) -> tuple[ResponseNet, int, int]:
    generator = torch.Generator().manual_seed(seed & 0x7FFFFFFF)
    base = np.zeros(N_OUTPUTS)
    base[:N_OUTCOMES] = logit_of(np.clip(base_rate, 1e-4, 1.0 - 1e-4))
    net = ResponseNet(data.sizes, torch.from_numpy(base), generator)
    tables = [net.user, net.level, net.video, net.author, net.category]
    others = [w for w in net.parameters() if w is not net.chain]
    # Some outcomes exclude each other: chain weights have a long way to go from 0.
    groups: list[dict[str, Any]] = [
        {"params": others},
        {"params": [net.chain], "lr": _CHAIN_RATE},
    ]
    optimiser = torch.optim.Adam(groups, lr=_LEARNING_RATE)
    learn = torch.from_numpy(np.flatnonzero(part == TRAIN))
    held = torch.from_numpy(some_rows(part == CALIBRATE))
    batch = int(np.clip(len(learn) // _BATCHES, _MIN_BATCH, _MAX_BATCH))
    per_epoch = -(-len(learn) // batch)
    epochs = max(1, min(_MAX_EPOCHS, _MAX_STEPS // per_epoch))
    weights = dict(net.named_parameters())
    best, best_epoch, kept = np.inf, 0, _weights(net)
    epoch = 0
    for epoch in range(1, epochs + 1):
        order = learn[torch.randperm(len(learn), generator=generator)]
        for step, rows in enumerate(torch.split(order, batch)):
            if (epoch - 1) * per_epoch + step >= _MAX_STEPS:
                break
            optimiser.zero_grad()
            prior = sum((weights[name] ** 2).sum() / sd**2 for name, sd in _PRIOR_SD.items())
            loss = data.loss(data.outputs(net, rows, generator), rows)
            loss = loss + 0.5 / len(learn) * prior
            loss.backward()  # type: ignore[no-untyped-call]
            for t in tables:
                assert t.grad is not None
                t.grad[0] = 0.0
            optimiser.step()
            if step % 50 == 0:
                progress(STAGE, (epoch - 1 + step / per_epoch) / epochs, f"epoch {epoch}")
        with torch.no_grad():
            score = float(data.loss(data.outputs(net, held, None), held)) if len(held) else -epoch
        if score < best - 1e-4:
            best, best_epoch, kept = score, epoch, _weights(net)
        elif epoch - best_epoch >= _PATIENCE:
            break
    net.load_state_dict(kept)
    progress(STAGE, 1.0, f"kept epoch {best_epoch} of {epoch}")
    return net, epoch, best_epoch


def _weights(net: ResponseNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _export(net: ResponseNet, data: _Tensors) -> tuple[Predictor, Float64]:
    """Numpy form of a trained network, and its chain weights.

    Weights pass through float32, as they do when stored: a reloaded model is the same model.
    """
    with torch.no_grad():
        everyone = torch.arange(len(data.user_slot))
        p = net.people(data.user_slot, data.level_of_user, data.numbers_of_user)[everyone]
        q = data.all_videos(net, torch.arange(len(data.video_slot)), 1.0)
        arrays = {"p": p.numpy(), "q": q.numpy()}
        for name in (
            "hidden_user", "hidden_video", "hidden_context", "hidden_pair", "hidden_bias",
            "out_user", "out_video", "out_context", "out_hidden", "out_bias",
        ):  # fmt: skip
            arrays[name] = getattr(net, name).detach().numpy()
        chain = net.chain.detach().numpy().astype(np.float64) * chain_mask()
    return Predictor.from_arrays(arrays), chain


def some_rows(mask: Bool) -> Int64:
    """int64: at most 20,000 rows of a mask, evenly spread over people."""
    rows = np.flatnonzero(mask)
    return rows[:: -(-len(rows) // _EVALUATION_ROWS) or 1].astype(np.int64)


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
