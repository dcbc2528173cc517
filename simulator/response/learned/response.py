"""Learn a response model from an imported log, measure its quality, store it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from simulator import behaviours
from simulator.devices import CPU
from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.mapped import file_hash
from simulator.logs.mapped_arrays import map_arrays
from simulator.requests import Int32, Int64
from simulator.response.base import Response
from simulator.response.learned.carried import CarriedState
from simulator.response.learned.chain import Calibration, Chain
from simulator.response.learned.comments import CommentModel
from simulator.response.learned.features import (
    MAX_ROWS,
    Impressions,
    UserFeatures,
    video_durations,
)
from simulator.response.learned.network import Predictor
from simulator.response.learned.optimisation import STAGE
from simulator.response.learned.parts.pools import Pools
from simulator.response.learned.playtime import PlayTime
from simulator.response.learned.population import LearnedBehaviour, LearnedPopulation
from simulator.response.learned.quality import evaluate
from simulator.response.learned.quantiles import QuantileTable
from simulator.response.learned.sessions import SESSION_GAP_MS, ReturnModel
from simulator.response.learned.tensors import Entities
from simulator.response.learned.training import train
from simulator.response.learned.two_sample.sessions import compare_sessions

FORMAT_VERSION = 2
_ARRAYS, _FACTS = "response.safetensors", "response.json"
_LONGEST_OVERHEAD_MS = 600_000.0


_BYTES = {"videos": 250, "comments": 100, "users": 300}
"""Of one, in training; videos as measured by `benchmarks.scale`, the others by their arrays."""
_POOLS_BYTES = 800_000_000


def memory_to_learn(dataset: Dataset) -> int:
    """Bytes that `LearnedResponse.fit` takes, about; impressions do not count beyond two pools."""
    rows = dataset.info.rows
    pools = min(1.0, rows.get("impressions", 0) / (2 * MAX_ROWS))
    return round(_POOLS_BYTES * pools) + sum(
        size * rows.get(table, 0) for table, size in _BYTES.items()
    )


def _silent(stage: str, fraction: float, detail: str) -> None:
    """Show nothing."""


def code_version() -> str:
    """Hash of this package's source: a cached model belongs to the code that learned it."""
    digest = hashlib.blake2b(digest_size=10)
    for file in (*sorted(Path(__file__).parent.rglob("*.py")), Path(behaviours.__file__)):
        digest.update(file.name.encode() + b"\x00" + file.read_bytes() + b"\x00")
    return digest.hexdigest()


class LearnedResponse(Response):
    """People as a log shows them. Make one with `fit` or `load`.

    Args:
        behaviour: The fitted parts.
        final: What each user carries at the end of the log.
        quality: Held-out quality.
        content_hash: Of the dataset it was learned from.
        seed: Of the training.
    """

    def __init__(
        self,
        behaviour: LearnedBehaviour,
        final: CarriedState,
        quality: dict[str, Any],
        content_hash: str,
        seed: int,
    ) -> None:
        self._behaviour = behaviour
        self._final = final
        self._quality = quality
        self.content_hash = content_hash
        self.seed = seed

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        seed: int,
        progress: Callable[[str, float, str], None] = _silent,
        device: torch.device = CPU,
    ) -> LearnedResponse:
        """Learn from a log; deterministic given the dataset, the seed and the device.

        Args:
            dataset: A dataset with impressions.
            seed: Of initial weights, batches and evaluation draws.
            progress: ``progress(stage, fraction, detail)``.
            device: Where the network trains; its predictions are numpy's, on the CPU.

        Raises:
            DataError: the log has nothing to learn from.
        """
        progress(STAGE, 0.0, "reading the log")
        with tempfile.TemporaryDirectory(prefix="abtest-") as folder:
            return cls._fit(
                dataset, Pools(dataset, seed=seed, folder=Path(folder)), seed, progress, device
            )

    @classmethod
    def _fit(
        cls,
        dataset: Dataset,
        pools: Pools,
        seed: int,
        progress: Callable[[str, float, str], None],
        device: torch.device,
    ) -> LearnedResponse:
        log = pools.read(0)
        others = [partial(pools.read, number) for number in range(1, pools.count)]
        catalogue = dataset.catalogue()
        entities = Entities(
            author=np.asarray(catalogue.author, dtype=np.int64),
            category=np.asarray(catalogue.category, dtype=np.int64),
            duration_ms=video_durations(dataset),
            users=UserFeatures.read(dataset),
        )
        fitted = train(log, entities, seed=seed, progress=progress, device=device, others=others)
        opened = log.stay_ms[log.stay_ms > 0]
        profile = log.profile_stay_ms[log.profile_stay_ms > 0].astype(np.float64)
        one_cell = np.zeros(1, dtype=np.int64)
        behaviour = LearnedBehaviour(
            predictor=fitted.predictor,
            chain=fitted.chain,
            play=fitted.play,
            stay=fitted.stay,
            profile_stay=QuantileTable.fit(
                profile, np.zeros(len(profile), dtype=np.int64), 1, one_cell
            ),
            returns=_returns(log, len(entities.users.level), others),
            comments=CommentModel.fit(
                dataset,
                opened_sections=len(opened),
                mean_stay_ms=float(opened.mean()) if len(opened) else 0.0,
                people=np.unique(log.user) if others else None,
            ),
            duration_ms=entities.duration_ms,
            overhead_ms=_overhead(log),
        )
        quality = evaluate(fitted, log, entities, seed=seed)
        if others:
            # What was measured is about the first pool; the network learned from all.
            quality["pools"] = pools.count
        quality["sessions_per_day"] = _sessions_per_day(behaviour.returns)
        quality["two_sample"] = compare_sessions(
            log, fitted.before, fitted.part, behaviour, catalogue, seed=seed
        )
        return cls(behaviour, fitted.final, quality, dataset.info.content_hash, seed)

    def population(self, users: Int32) -> LearnedPopulation:
        """See the base class; ``users`` index ``dataset.user_ids()`` and may repeat."""
        users = np.asarray(users, dtype=np.int32)
        known = len(self._final)
        if len(users) and (users.min() < 0 or users.max() >= known):
            raise DataError(
                f"the learned response knows {known} people; user {int(users.max())} is not one.",
                "Use --users up to that number.",
            )
        return LearnedPopulation(self._behaviour, users, self._final.take(users))

    def quality(self) -> dict[str, Any]:
        """Held-out quality, JSON-serialisable; see `simulator.response.learned.quality`."""
        return self._quality

    def save(self, directory: Path) -> None:
        """Write ``response.safetensors`` and ``response.json`` (each renamed into place)."""
        directory.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: np.ascontiguousarray(value)
            for name, value in _to_arrays(self._behaviour, self._final).items()
        }
        facts: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "content_hash": self.content_hash,
            "seed": self.seed,
            "quality": self._quality,
        }
        temporary = directory / f".{_ARRAYS}.tmp"
        save_file(arrays, temporary)
        facts["arrays"] = file_hash(temporary)
        temporary.replace(directory / _ARRAYS)
        temporary = directory / f".{_FACTS}.tmp"
        temporary.write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(directory / _FACTS)

    @classmethod
    def load(cls, directory: Path, dataset: Dataset | None = None) -> LearnedResponse:
        """Restore what `save` wrote; arrays are mapped, so that processes share them.

        Args:
            directory: Where it was saved.
            dataset: If given, it must be the one that the model was learned from.

        Raises:
            DataError: missing or damaged files, another format version, another dataset.
        """
        again = f"Learn it again: remove it and give the command again: rm -r {directory}"
        try:
            facts = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
            found = file_hash(directory / _ARRAYS)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"no usable response model in {directory}: {error}.", again) from error
        if not isinstance(facts, dict):
            raise DataError(f"{directory / _FACTS} is damaged: it holds no table.", again)
        if facts.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"{directory / _FACTS} has format version {facts.get('format_version')}, "
                f"this program writes {FORMAT_VERSION}.",
                again,
            )
        if facts.get("arrays") != found:
            raise DataError(f"{directory / _ARRAYS} is not what was written.", again)
        if dataset is not None and facts.get("content_hash") != dataset.info.content_hash:
            other, wanted = str(facts.get("content_hash")), dataset.info.content_hash
            raise DataError(
                f"the response model in {directory} was learned from another dataset "
                f"({other[:8]}... is not {wanted[:8]}...).",
                again,
            )
        try:
            behaviour, final = _from_arrays(map_arrays(directory / _ARRAYS))
            return cls(behaviour, final, facts["quality"], facts["content_hash"], facts["seed"])
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{directory} is damaged: {error}.", again) from error


def _sessions_of(log: Impressions) -> tuple[Int32, Int64, Int64, Int64]:
    """(user, start ms, end ms, last impression's start ms) per session."""
    first = np.flatnonzero(np.append(True, log.session[1:] != log.session[:-1]))
    last = np.append(first[1:], len(log)) - 1
    busy = np.maximum(log.play_ms, 0) + np.maximum(log.stay_ms, 0)
    end = np.maximum.reduceat(log.time_ms + busy, first)
    return log.user[first], log.time_ms[first], end, log.time_ms[last]


def _returns(
    log: Impressions, n_users: int, others: Sequence[Callable[[], Impressions]]
) -> ReturnModel:
    user, start, end, _ = _sessions_of(log)
    return ReturnModel.fit(
        user,
        start,
        end,
        log_end_ms=int(log.time_ms.max()),
        n_users=n_users,
        minimum_gap_ms=0 if log.sessions_given else SESSION_GAP_MS,
        others=(_sessions_of(read())[:3] for read in others),
    )


def _overhead(log: Impressions) -> float:
    """Mean time per impression inside a session that is neither play nor comments, in ms.

    Time from a session's first to its last impression, less what was played before the last one.
    """
    _, start, _, last_start = _sessions_of(log)
    first = np.flatnonzero(np.append(True, log.session[1:] != log.session[:-1]))
    size = np.diff(np.append(first, len(log)))
    busy = np.maximum(log.play_ms, 0) + np.maximum(log.stay_ms, 0)
    before_last = np.add.reduceat(busy, first) - busy[first + size - 1]
    idle = np.maximum(last_start - start - before_last, 0)
    steps = int((size - 1).sum())
    return min(float(idle.sum()) / steps, _LONGEST_OVERHEAD_MS) if steps else 0.0


def _sessions_per_day(returns: ReturnModel) -> dict[str, float]:
    per_day = 24.0 * returns.rate
    low, middle, high = np.quantile(per_day, [0.1, 0.5, 0.9])
    return {
        "p10": round(float(low), 3),
        "p50": round(float(middle), 3),
        "p90": round(float(high), 3),
    }


def _to_arrays(behaviour: LearnedBehaviour, final: CarriedState) -> dict[str, NDArray[Any]]:
    calibration, comments = behaviour.chain.calibration, behaviour.comments
    arrays: dict[str, NDArray[Any]] = {
        **{f"net.{k}": v for k, v in behaviour.predictor.arrays().items()},
        **{f"calibration.{f.name}": getattr(calibration, f.name) for f in fields(Calibration)},
        **{f"comments.{f.name}": np.asarray(getattr(comments, f.name)) for f in fields(comments)},
        **{f"final.{name}": getattr(final, name) for name in _CARRIED},
        "chain": behaviour.chain.weights,
        "play": behaviour.play.table.values,
        "play_rules": np.array([behaviour.play.rules_hold, behaviour.play.conformity]),
        "stay": behaviour.stay.values,
        "profile_stay": behaviour.profile_stay.values,
        "returns.rate": behaviour.returns.rate,
        "returns.profile": behaviour.returns.profile,
        "returns.quantiles": behaviour.returns.quantiles,
        "returns.minimum_gap_ms": np.array(behaviour.returns.minimum_gap_ms),
        "duration_ms": behaviour.duration_ms,
        "overhead_ms": np.array(behaviour.overhead_ms),
    }
    return arrays


_CARRIED = ("liked", "hated", "liked_count", "hated_count")


def _from_arrays(arrays: dict[str, NDArray[Any]]) -> tuple[LearnedBehaviour, CarriedState]:
    def part(prefix: str) -> dict[str, NDArray[Any]]:
        return {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}

    comments: dict[str, Any] = part("comments.")
    comments["dwell_known"] = bool(comments["dwell_known"].item())
    comments["overhead_ms"] = float(comments["overhead_ms"].item())
    final = CarriedState(0)
    for name in _CARRIED:
        setattr(final, name, arrays[f"final.{name}"])
    behaviour = LearnedBehaviour(
        predictor=Predictor.from_arrays(part("net.")),
        chain=Chain(arrays["chain"], Calibration(**part("calibration."))),
        play=PlayTime(
            QuantileTable(arrays["play"]),
            bool(arrays["play_rules"][0]),
            float(arrays["play_rules"][1]),
        ),
        stay=QuantileTable(arrays["stay"]),
        profile_stay=QuantileTable(arrays["profile_stay"]),
        returns=ReturnModel(
            arrays["returns.rate"],
            arrays["returns.profile"],
            arrays["returns.quantiles"],
            int(arrays["returns.minimum_gap_ms"].item()),
        ),
        comments=CommentModel(**comments),
        duration_ms=arrays["duration_ms"],
        overhead_ms=float(arrays["overhead_ms"].item()),
    )
    return behaviour, final
