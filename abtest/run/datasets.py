"""Open datasets by name: a directory, or the built-in world's log, made once and kept."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path

import numpy as np

from abtest.config import RunConfig
from abtest.console import Console, Stage
from abtest.files import locked, new_directory
from abtest.paths import cache_directory
from abtest.run.speeds import remember
from simulator.calendar import DAY_MS
from simulator.errors import DataError
from simulator.feed import Feed, FeedSettings
from simulator.logs.checks.sound import ensure_sound
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.mapped import LAYOUT, map_catalogue, write_catalogue
from simulator.logs.sample import sample_people
from simulator.logs.schema import FORMAT_VERSION
from simulator.loop import Report, drive
from simulator.recorder import Recorder
from simulator.requests import HistoryState
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world import World
from simulator.world.assumptions import Value, with_assumption
from simulator.world.config import WorldConfig

GROUP_SIZE = 3_072
"""People that are simulated together. Smaller groups keep more cores busy and cost more per person:
in the demo's world groups of 2,048 cost 16 % more, groups of 4,096 2 % less."""
LOG_GROUP_SIZE = 4_096
"""People whose events stand together in a log; another number makes another log."""
DEMO = "demo"


def open_dataset(spec: str, console: Console, *, sound: bool = True) -> Dataset:
    """A dataset directory, or ``demo`` for the default built-in world's log.

    Args:
        spec: The directory, or ``demo``.
        console: For progress.
        sound: Whether to refuse a directory with impossible values or changed files.

    Raises:
        DataError: no dataset, or an unsound one.
    """
    if spec == DEMO and not Path(spec).exists():
        return world_log(RunConfig(), console)
    return sound_dataset(Path(spec)) if sound else opened(Path(spec))


def world_log(config: RunConfig, console: Console) -> Dataset:
    """The built-in world's log that a configuration asks for."""
    return builtin_dataset(
        config.world,
        config.world_seed,
        config.log_users,
        config.burn_in_days,
        console,
        language=config.language,
    )


def opened(path: Path) -> Dataset:
    """A dataset directory.

    Raises:
        DataError: none; what is there instead, and the next command.
    """
    if path.is_file():
        raise DataError(
            f"{path} is a file, not a dataset.", f"Import it: abtest data import {path} logs/mine"
        )
    if not path.exists() and difflib.get_close_matches(str(path), [DEMO]):
        raise DataError(
            f"no dataset at {path}. Did you mean '{DEMO}', the built-in world?",
            "Without data: abtest demo",
        )
    if (path / "plan.json").is_file():
        kept = (path / "log").is_dir()
        raise DataError(
            f"{path} is a run, not a dataset.",
            f"Its log: --data {path / 'log'}" if kept else "A run keeps its log with --keep-log",
        )
    return Dataset.open(path)


def sound_dataset(path: Path, sample_users: int | None = None) -> Dataset:
    """A dataset whose values and files are what it says.

    Args:
        path: Its directory.
        sample_users: If given, the log of so many of its people: made once and kept, so that the
            whole log is read once.

    Raises:
        DataError: no dataset, an unsound one, or fewer people.
    """
    dataset = opened(path)
    ensure_sound(dataset, cache_directory() / "sound")
    if sample_users is None:
        return with_shared_catalogue(dataset)
    if dataset.info.world is not None:
        raise DataError(
            f"{path} is a log of the built-in world: people are drawn from the world itself.",
            "Use --users instead of --sample-users",
        )
    address = f"{dataset.info.content_hash} sample {sample_users}"
    digest = hashlib.blake2b(address.encode(), digest_size=10).hexdigest()
    target = cache_directory() / "samples" / digest
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        sample_people(dataset, target, sample_users)
    return with_shared_catalogue(Dataset.open(target))


def with_shared_catalogue(dataset: Dataset) -> Dataset:
    """The same log, with its catalogue as columns in the cache that all processes map.

    The first process that asks reads the tables and writes the columns. Where the cache cannot be
    written to, every process holds a catalogue of its own.

    Raises:
        DataError: the columns in the cache are damaged.
    """
    if dataset.info.world is not None:
        # A world makes its own.
        return dataset
    address = f"{dataset.info.content_hash} {LAYOUT}"
    digest = hashlib.blake2b(address.encode(), digest_size=10).hexdigest()
    target = cache_directory() / "catalogues" / digest
    try:
        with locked(target):
            if not target.is_dir():
                with new_directory(target) as folder:
                    write_catalogue(dataset.catalogue(), folder)
    except OSError:
        return dataset
    return dataset.with_catalogue(map_catalogue(target))


def small_dataset(console: Console) -> Dataset:
    """The log of a small built-in world, for contract checks."""
    return builtin_dataset("small", 1, 300, 2, console)


def builtin_path(world: World, preset: str, seed: int, users: int, days: int) -> Path:
    """Where the log of a built-in world is or would be kept."""
    address = json.dumps([FORMAT_VERSION, world.spec(), users, days], sort_keys=True)
    digest = hashlib.blake2b(address.encode(), digest_size=8).hexdigest()
    return cache_directory() / "worlds" / f"{Path(preset).name}-{seed}-{digest}"


def builtin_dataset(
    preset: str,
    seed: int,
    users: int,
    days: int,
    console: Console,
    assume: tuple[str, Value] | None = None,
    *,
    language: str | None = None,
) -> Dataset:
    """The built-in world's log, from the cache or made now.

    Args:
        preset: Of the world.
        seed: Which of the worlds with these parameters.
        users: People in the log.
        days: Of the log.
        console: For progress.
        assume: A parameter of the world and its value, in place of the preset's.
        language: Of the texts; None for the preset's own.
    """
    world = World.create(preset, seed, language)
    if assume is not None:
        world = World(with_assumption(world.config, *assume), seed)
    path = builtin_path(world, preset, seed, users, days)

    def waiting() -> None:
        console.note("another process is writing the same log; waiting for it")

    with locked(path, waiting):
        if not path.is_dir():
            synthesise(
                path,
                preset=preset if assume is None else f"{preset} with {assume[0]} = {assume[1]:g}",
                seed=seed,
                users=users,
                days=days,
                console=console,
                world=world,
                source="" if assume is None else "abtest run --assume-retrain",
            )
            remember("world", users * days, console.durations["world"])
    return Dataset.open(path)


def synthesise(
    target: Path,
    *,
    preset: str,
    seed: int,
    users: int,
    days: int,
    console: Console,
    overwrite: bool = False,
    world: World | None = None,
    source: str = "",
) -> None:
    """Simulate the platform's own ranker and write what it would have logged.

    People are simulated in groups; a group's rows are written before the next one starts, so
    memory does not grow with the number of people.
    """
    world = world or World.create(preset, seed)
    language = world.config.language
    spoken = "" if language == WorldConfig.language else f" --language {language}"
    catalogue = world.catalogue()
    response = WorldResponse(world)
    retrieval = Retrieval(catalogue, world.popularity())
    start_ms = world.config.start_ms
    with (
        console.stage("world", f"writing the log of {users:,} people, {days} days") as stage,
        DatasetWriter(
            target,
            name=f"built-in world '{preset}', seed {seed}",
            source=source or f"abtest data synth --world {preset} --seed {seed}{spoken}",
            licence="generated; no rights reserved",
            language=language,
            world=world.spec(),
            overwrite=overwrite,
        ) as writer,
    ):
        writer.append("videos", world.videos_frame())
        writer.append("comments", world.comments_frame())
        for first in range(0, users, LOG_GROUP_SIZE):
            group = np.arange(first, min(first + LOG_GROUP_SIZE, users), dtype=np.int32)
            recorder = Recorder(catalogue)
            feed = Feed(
                catalogue,
                response.population(group),
                group,
                seed=seed,
                start_ms=start_ms,
                end_ms=start_ms + days * DAY_MS,
                history=HistoryState(len(group)),
                retrieval=retrieval,
                settings=FeedSettings(),
                recorder=recorder,
            )
            feed.set_policy_label("platform")
            drive(feed, PlatformRanker(world, group), _part(stage, first, len(group), users))
            writer.append("users", world.users_frame(group))
            for table, frame in recorder.drain():
                writer.append(table, frame)


def _part(stage: Stage, first: int, size: int, users: int) -> Report:
    """Progress of one group of people, as progress of the whole log."""
    return lambda fraction: stage.update("", (first + size * fraction) / users)
