"""Let simulated people live the sessions that the log ends with, and compare the two.

A simulated session starts at the moment of a real one, with the same person, who carries what they
had liked and hated until then. It is shown the same videos in the same order; whoever stays longer
is shown the videos that the log shows them next, at the end of their log those at its beginning.
So what is judged is how people respond and when they leave, not who ranks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.logs.catalogue import Catalogue
from simulator.randomness import mix, purpose_key, uniform
from simulator.response.learned.carried import CarriedState
from simulator.response.learned.features import Impressions
from simulator.response.learned.heads import COLUMNS, OPEN, OUTCOMES, PROFILE
from simulator.response.learned.parts.split import TRAIN
from simulator.response.learned.population import LearnedBehaviour, LearnedPopulation
from simulator.response.learned.sessions import SESSION_GAP_MS
from simulator.response.learned.two_sample.describe import PAUSES, Lived, session_features
from simulator.response.learned.two_sample.discriminate import discriminate

Int64 = NDArray[np.int64]

SESSIONS = 4_000
_PER_PERSON = 5
_PAGE = 6
_PAGES = 100
_COMMENTS = 20


def chosen_sessions(log: Impressions, *, seed: int) -> tuple[Int64, Int64]:
    """(first row, row after the last) of at most `SESSIONS` sessions, int64[S] each, ascending.

    The last five sessions of each person, of people drawn by hash where there are too many. A
    session that was under way when the log ended is left out: nobody saw where it ended.
    """
    first = np.flatnonzero(np.append(True, log.session[1:] != log.session[:-1]))
    end = np.append(first[1:], len(log))
    user = log.user[first]
    after = np.searchsorted(user, user, side="right") - np.arange(len(user))
    cut = (after == 1) & (log.time_ms[end - 1] > int(log.time_ms.max()) - SESSION_GAP_MS)
    kept = np.flatnonzero((after <= _PER_PERSON) & ~cut)
    people, counts = np.unique(user[kept], return_counts=True)
    draw = np.argsort(uniform(purpose_key(seed, "response.learned.judged"), people), kind="stable")
    allowed = people[draw][np.cumsum(counts[draw]) <= SESSIONS]
    kept = kept[np.isin(user[kept], allowed)]
    return first[kept].astype(np.int64), end[kept].astype(np.int64)


def compare_sessions(
    log: Impressions,
    before: CarriedState,
    part: NDArray[np.int8],
    behaviour: LearnedBehaviour,
    catalogue: Catalogue,
    *,
    seed: int,
) -> dict[str, Any]:
    """The classifier two-sample test of the log's last sessions; see `discriminate`.

    Args:
        log: The log that the model was learned from.
        before: The state before each impression.
        part: int8[N], which impressions were trained on.
        behaviour: The fitted model.
        catalogue: Of the log.
        seed: Of the simulated sessions and the folds.

    Returns:
        As `discriminate` of what people do; ``with_pauses``, the same where the classifier also
        sees how long a session was, which tells the pauses between impressions: the model holds
        those constant; and ``unseen``, the share of the real impressions that the network was not
        trained on.
    """
    first, end = chosen_sessions(log, seed=seed)
    if len(first) == 0:
        return {"problem": "the log has no whole session"}
    real = real_sessions(log, first, end, behaviour.duration_ms)
    simulated = simulate_sessions(log, first, before, behaviour, catalogue, seed=seed)
    described = [session_features(lived) for lived in _comparable(real, simulated)]
    names = list(described[0])
    x, y = (np.stack(list(values.values()), axis=1) for values in described)
    done = [number for number, name in enumerate(names) if name not in PAUSES]
    told = [names[number] for number in done]
    found = discriminate(x[:, done], y[:, done], real.user, simulated.user, told, seed=seed)
    if "problem" in found:
        return found
    paused = discriminate(x, y, real.user, simulated.user, names, seed=seed)
    judged = np.concatenate([part[a:b] for a, b in zip(first, end, strict=True)])
    return {
        **found,
        "with_pauses": {limit: paused[limit] for limit in ("auc", "low", "high")},
        "unseen": round(float((judged != TRAIN).mean()), 4),
    }


def real_sessions(log: Impressions, first: Int64, end: Int64, duration_ms: Int64) -> Lived:
    """What the log says of these sessions; -1 is an unknown time.

    Outcomes that the log does not know of every impression are left out.

    Args:
        log: The log.
        first: int64[S], first rows, from `chosen_sessions`.
        end: int64[S], the rows after the last ones.
        duration_ms: int64[V].
    """
    size = end - first
    rows = np.repeat(first - np.cumsum(size) + size, size) + np.arange(int(size.sum()))
    last = end - 1
    busy = np.maximum(log.play_ms[last], 0) + np.maximum(log.stay_ms[last], 0)
    outcomes = log.outcomes[rows]
    return Lived(
        session=np.repeat(np.arange(len(first)), size),
        user=log.user[first].astype(np.int64),
        seconds=(log.time_ms[last] + busy - log.time_ms[first]) / 1e3,
        play_ms=log.play_ms[rows],
        stay_ms=log.stay_ms[rows],
        duration_ms=duration_ms[log.video[rows]],
        flags={
            name: outcomes[:, head] == 1
            for name, head in _drawn().items()
            if (outcomes[:, head] >= 0).all()
        },
    )


def simulate_sessions(
    log: Impressions,
    first: Int64,
    before: CarriedState,
    behaviour: LearnedBehaviour,
    catalogue: Catalogue,
    *,
    seed: int,
) -> Lived:
    """The same people at the same moments, simulated; arguments as of `compare_sessions`."""
    users = log.user[first]
    own_first = np.searchsorted(log.user, users, side="left")
    own_size = np.searchsorted(log.user, users, side="right") - own_first
    population = LearnedPopulation(behaviour, users, before.take(first))
    key = mix(purpose_key(seed, "response.learned.relived"), first)
    rows = np.arange(len(first))
    population.begin_session(rows, log.time_ms[first], key)
    elapsed = np.zeros(len(first), dtype=np.int64)
    shown = np.zeros(len(first), dtype=np.int64)
    pages: list[dict[str, NDArray[Any]]] = []
    width = int(min(max(np.diff(catalogue.comment_offsets).max(initial=1), 1), _COMMENTS))
    for number in range(_PAGES):
        if len(rows) == 0:
            break
        at = first[rows] + shown[rows]
        place = (at[:, None] + np.arange(_PAGE) - own_first[rows, None]) % own_size[rows, None]
        videos = log.video[own_first[rows, None] + place].astype(np.int32)
        own = mix(key[rows], number)
        time = log.time_ms[first[rows]] + elapsed[rows]
        watched = population.watch(rows, time, own, videos, np.full_like(videos, -1))
        stay = np.zeros(videos.shape, dtype=np.int64)
        who, slot = np.nonzero(watched.opened)
        if len(who):
            section = videos[who, slot]
            comments = (
                catalogue.comments_of(section, width)
                if catalogue.n_comments
                else np.full((len(who), 1), -1, dtype=np.int32)
            )
            stay[who, slot] = population.read(rows[who], own[who], slot, section, comments).stay_ms
        finished = population.finish(rows, own, videos, watched, stay)
        reached = finished.reached
        flags = {**watched.flags, "open": watched.opened, "profile": watched.profile_stay_ms > 0}
        pages.append(
            {
                "session": np.repeat(rows, reached.sum(axis=1)),
                "play": watched.play_ms[reached],
                "stay": stay[reached],
                "duration": behaviour.duration_ms[videos][reached],
                **{f"is {name}": flags[name][reached] for name in _drawn()},
            }
        )
        elapsed[rows] += finished.elapsed_ms
        shown[rows] += reached.sum(axis=1)
        rows = rows[~finished.left]
    columns = {name: np.concatenate([page[name] for page in pages]) for name in pages[0]}
    order = np.argsort(columns["session"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    # The time after the last impression belongs to no session.
    seconds = np.maximum(elapsed - round(behaviour.overhead_ms), 0) / 1e3
    return Lived(
        session=columns["session"],
        user=users.astype(np.int64),
        seconds=seconds,
        play_ms=columns["play"],
        stay_ms=columns["stay"],
        duration_ms=columns["duration"],
        flags={name: columns[f"is {name}"] for name in _drawn()},
    )


def _drawn() -> dict[str, int]:
    """Outcomes of an impression, and their place in `OUTCOMES`."""
    return {**{name: OUTCOMES.index(name) for name in COLUMNS}, "open": OPEN, "profile": PROFILE}


def _comparable(real: Lived, simulated: Lived) -> tuple[Lived, Lived]:
    """Both without what the log does not know of every one of these impressions."""
    flags = {name: flag for name, flag in simulated.flags.items() if name in real.flags}
    simulated = replace(simulated, flags=flags)
    if (real.play_ms < 0).any():
        real = replace(real, play_ms=np.zeros_like(real.play_ms))
        simulated = replace(simulated, play_ms=np.zeros_like(simulated.play_ms))
    if (real.stay_ms < 0).any():
        real = replace(real, stay_ms=np.zeros_like(real.stay_ms))
        simulated = replace(simulated, stay_ms=np.zeros_like(simulated.stay_ms))
    return real, simulated
