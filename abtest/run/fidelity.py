"""Say how far the simulated people can be believed: facts for the report's trust panel."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from abtest.console import Console
from abtest.errors import RunDataError
from abtest.files import locked, new_directory, write_text
from abtest.paths import cache_directory
from abtest.results.world_evidence import remembered
from abtest.run.arms.training import fix_threads
from abtest.run.environments import EnvironmentSpec
from abtest.run.speeds import remember
from simulator.devices import devices
from simulator.logs.checks.needs import LEARNED, refuse_placeholders, selection
from simulator.logs.dataset import Dataset
from simulator.logs.describe import compare
from simulator.memory import require_room
from simulator.response.learned import LearnedResponse, code_version, memory_to_learn


def response_directory(dataset: Dataset, seed: int) -> Path:
    """Where the response model learned from this log is or would be kept."""
    address = f"{dataset.info.content_hash} {code_version()} {seed} {devices()[0]}"
    digest = hashlib.blake2b(address.encode(), digest_size=10).hexdigest()
    return cache_directory() / "responses" / f"response-{digest}"


def check_room(dataset: Dataset, seed: int) -> None:
    """Refuse a log whose people this machine cannot learn, unless they are learned already.

    Raises:
        TooLarge: this machine has too little memory for as many videos, comments and people.
    """
    if dataset.info.world is not None or response_directory(dataset, seed).is_dir():
        return
    rows = dataset.info.rows
    require_room(
        memory_to_learn(dataset),
        f"learning how people respond, with {rows.get('videos', 0):,} videos and "
        f"{rows.get('users', 0):,} users,",
        "Import fewer days, and of the videos those that were shown",
    )


def fit_response(dataset: Dataset, *, seed: int, console: Console) -> Path:
    """Directory of the response model learned from this log, from the cache or trained now.

    Raises:
        TooLarge: see `check_room`.
        DataError: the log does not say what people clicked on, or how long they watched.
    """
    refuse_placeholders(dataset, *LEARNED)
    directory = response_directory(dataset, seed)

    def waiting() -> None:
        console.note("another process is learning how people respond; waiting for it")

    with locked(directory, waiting):
        if not (directory / "quality.json").is_file():
            check_room(dataset, seed)
            shutil.rmtree(directory, ignore_errors=True)
            fix_threads()
            with console.stage("response", "learning how people respond, from the log") as stage:
                response = LearnedResponse.fit(
                    dataset,
                    seed=seed,
                    progress=stage.update,
                    device=torch.device(devices()[0]),
                )
            remember(
                "response", dataset.info.rows.get("impressions", 0), console.durations["response"]
            )
            with new_directory(directory) as temporary:
                response.save(temporary)
                quality = json.dumps(response.quality(), sort_keys=True)
                write_text(temporary / "quality.json", quality)
    return directory


def quality_of(model: Path) -> dict[str, Any]:
    """Held-out quality of the response model in a directory.

    Raises:
        RunDataError: the file is damaged.
    """
    file = model / "quality.json"
    try:
        quality = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(quality, dict):
            raise ValueError("it holds no table")
    except (ValueError, OSError, RecursionError) as error:
        raise RunDataError(
            f"{file} is damaged: {error}.",
            f"Remove it and give the command again: rm -r {model}",
        ) from None
    return quality


def environment_facts(dataset: Dataset, spec: EnvironmentSpec) -> dict[str, Any]:
    """World: simulated beside published statistics. Learned: held-out quality of the model."""
    if spec.kind == "learned":
        quality = quality_of(Path(spec.model))
        lacks = selection(dataset)
        return {
            "kind": "learned from the log",
            "quality": quality,
            **({"selection": lacks} if lacks else {}),
        }
    return {
        "kind": "built-in world",
        "world": dataset.info.world,
        "reactions": remembered(dataset.info.world or {}),
        "fidelity": [
            {
                "label": c.published.label,
                "role": c.published.role,
                "simulated": c.simulated,
                "published": c.published.value,
                "ratio": c.ratio,
                "verdict": c.verdict,
            }
            for c in compare(dataset, "kuaishou")
        ],
    }
