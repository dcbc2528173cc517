"""Turn scores into pages and comment orders: check, sort, break ties, explore."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.base import Policy, Scores
from policies.errors import PolicyContractError
from policies.exploration import explore
from simulator.randomness import mix
from simulator.requests import CommentOrders, CommentRequests, Int32, Slates, VideoRequests

_TIE = 501


def rank(scores: Scores, candidates: Int32, key: NDArray[np.uint64], size: int) -> Int32:
    """The best candidates, best first.

    Ties are broken by a hash of (request, candidate), so that no candidate order and no
    identifier is favoured; padding comes last.

    Args:
        scores: float32[B, C].
        candidates: int32[B, C], -1 padded.
        key: uint64[B], request keys.
        size: How many to keep.

    Returns:
        int32[B, size], -1 padded.
    """
    width = candidates.shape[1]
    kept = min(size, width)
    if scores.dtype == np.float32:
        best = _rank_float32(scores, candidates, key, kept)
    else:
        best = _rank_exactly(scores, candidates, key, kept)
    if kept < size:
        padding = np.full((len(best), size - kept), -1, dtype=np.int32)
        best = np.concatenate([best, padding], axis=1)
    return best.astype(np.int32)


def _rank_float32(scores: Scores, candidates: Int32, key: NDArray[np.uint64], kept: int) -> Int32:
    """One sort of whole numbers: the score's bits in order, then the place; ties done again."""
    width = candidates.shape[1]
    # Adding 0 makes -0 and 0 equal; then flipping negative numbers' bits orders them.
    bits = (scores + np.float32(0.0)).view(np.int32)
    ordered = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    # The smallest number for padding, whose sign bit selects it: cheaper than a branch for each.
    least = np.int32(np.iinfo(np.int32).min)
    ordered ^= (ordered ^ least) & (candidates >> 31)
    packed = (ordered.astype(np.int64) << 32) | np.arange(width)
    packed.sort(axis=1)
    top = packed[:, ::-1]
    place = top[:, :kept] & 0xFFFFFFFF
    best: Int32 = candidates.ravel().take(place + (np.arange(len(candidates)) * width)[:, None])
    value = top[:, : kept + 1] >> 32
    tied = np.flatnonzero(((value[:, 1:] == value[:, :-1]) & (value[:, 1:] > least)).any(axis=1))
    if len(tied):
        best[tied] = _rank_exactly(scores[tied], candidates[tied], key[tied], kept)
    return np.asarray(best)


def _rank_exactly(scores: Scores, candidates: Int32, key: NDArray[np.uint64], kept: int) -> Int32:
    """Sort by score, then by a hash of (request, candidate)."""
    width = candidates.shape[1]
    keyed = np.where(candidates >= 0, scores, -np.inf)
    if kept < width:
        # Everything that could be among the best, with its ties; sorted exactly afterwards.
        part = np.partition(keyed, width - kept, axis=1)[:, width - kept]
        contenders = (keyed >= part[:, None]).sum(axis=1).max(initial=kept)
        at = np.argpartition(-keyed, min(int(contenders), width - 1), axis=1)[:, : int(contenders)]
        keyed = np.take_along_axis(keyed, at, axis=1)
        candidates = np.take_along_axis(candidates, at, axis=1)
    tie = mix(key[:, None], _TIE, candidates)
    order = np.lexsort((tie, -keyed), axis=1)[:, :kept]
    return np.take_along_axis(candidates, order, axis=1)


def rank_videos(
    policy: Policy,
    requests: VideoRequests,
    page_size: int,
    explore_share: float = 0.0,
    *,
    keep_probabilities: bool = False,
) -> Slates:
    """A page per request: the policy's best, with a share of slots filled at random.

    Propensities are exact, see `policies.exploration`.

    Args:
        policy: Scores the candidates.
        requests: B requests.
        page_size: S.
        explore_share: Share of slots filled at random, from 0 to below 1.
        keep_probabilities: Whether the slates carry the probability of every candidate.
    """
    scores = checked_video_scores(policy, requests)
    videos = rank(scores, requests.candidates, requests.key, page_size)
    found = explore(
        videos,
        requests.candidates,
        requests.key,
        explore_share,
        keep_probabilities=keep_probabilities,
    )
    return Slates(
        videos=found.shown,
        propensity=found.propensity,
        is_rand=found.is_rand,
        probabilities=found.probabilities,
    )


def rank_comments(policy: Policy, requests: CommentRequests) -> Int32:
    """Comments of each section in the policy's order, or in the platform's if it has none."""
    scores = checked_comment_scores(policy, requests)
    if scores is None:
        return requests.candidates
    return rank(scores, requests.candidates, requests.key, requests.candidates.shape[1])


def order_comments(
    policy: Policy,
    requests: CommentRequests,
    explore_share: float = 0.0,
    *,
    keep_probabilities: bool = False,
) -> CommentOrders:
    """`rank_comments` with a share of ranks filled at random, and propensities.

    Arguments as for `rank_videos`.
    """
    found = explore(
        rank_comments(policy, requests),
        requests.candidates,
        requests.key,
        explore_share,
        keep_probabilities=keep_probabilities,
    )
    return CommentOrders(found.shown, found.propensity, found.probabilities)


def checked_video_scores(policy: Policy, requests: VideoRequests) -> Scores:
    """The policy's scores, refused if they break the contract.

    Raises:
        PolicyContractError: wrong shape or type, or a non-finite score of a real candidate.
    """
    scores = policy.score_videos(requests)
    _check(policy, scores, requests.candidates, requests.user, "video")
    return scores


def checked_comment_scores(policy: Policy, requests: CommentRequests) -> Scores | None:
    """The same for comments; None if the policy keeps the platform's order."""
    scores = policy.score_comments(requests)
    if scores is not None:
        _check(policy, scores, requests.candidates, requests.user, "comment")
    return scores


def _check(policy: Policy, scores: object, candidates: Int32, users: Int32, what: str) -> None:
    name = type(policy).__name__
    remedy = f"Reproduce: abtest policy check {policy.name or name}"
    if not isinstance(scores, np.ndarray) or isinstance(scores, np.ma.MaskedArray):
        raise PolicyContractError(
            f"{name} returned {what} scores of type {type(scores).__name__}, expected a NumPy "
            f"array of shape {candidates.shape}.",
            remedy,
        )
    if scores.shape != candidates.shape:
        raise PolicyContractError(
            f"{name} returned {what} scores of shape {scores.shape}, expected {candidates.shape}.",
            remedy,
        )
    if not np.issubdtype(scores.dtype, np.floating):
        raise PolicyContractError(
            f"{name} returned {what} scores of type {scores.dtype}, expected float32.", remedy
        )
    # One pass in the common case: a finite sum proves that every term is finite.
    if np.isfinite(np.sum(scores, dtype=np.float64)):
        return
    bad = ~np.isfinite(scores) & (candidates >= 0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        place = (what, int(candidates[row, column]), int(users[row]))
        raise PolicyContractError(
            f"{name} returned a non-finite score for the {what} with index {place[1]} in the "
            f"catalogue (user index {place[2]}).",
            remedy,
            place=place,
        )
