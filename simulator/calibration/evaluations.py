"""Measure worlds one after the other, and remember in a file what was measured."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from simulator.calibration.experiments import CENTRAL
from simulator.calibration.sample import Sample
from simulator.errors import DataError
from simulator.logs.measures import Measures
from simulator.world.config import WorldConfig
from simulator.world.world import WORLD_VERSION

Map = Callable[[Callable[[WorldConfig], Measures], Iterable[WorldConfig]], Iterable[Measures]]
"""Like `map`; may evaluate in other processes."""


def effort(sample: Sample) -> float:
    """How much an evaluation of this sample takes, in days of people; contrasts half as much."""
    days = sample.ladder_days * len(CENTRAL) + 1
    log = sample.users * sample.days * (1.5 if sample.contrasts else 1.0)
    return float(sample.worlds * (log + sample.ladder_users * days))


class Evaluations:
    """Evidence of configurations; what the file holds already is not simulated again.

    Args:
        file: JSON Lines of what was measured before; is created and appended to. None keeps
            nothing.
        parallel: Evaluates independent configurations.
        told: Called after each evaluation with its effort and whether it was simulated now.

    Raises:
        DataError: the file is not one of evaluations.
    """

    def __init__(
        self,
        file: Path | None = None,
        *,
        parallel: Map = map,
        told: Callable[[float, bool], None] | None = None,
    ) -> None:
        self._file = file
        self._parallel = parallel
        self._told = told
        self._known = {} if file is None or not file.exists() else _read(file)

    def __call__(self, sample: Sample, configs: Sequence[WorldConfig]) -> list[Measures]:
        """The evidence of each configuration, in their order."""
        keys = [_key(sample, config) for config in configs]
        missing = [at for at, key in enumerate(keys) if key not in self._known]
        for _ in range(len(keys) - len(missing)):
            self._tell(sample, False)
        measured = self._parallel(sample.evidence, [configs[at] for at in missing])
        for at, found in zip(missing, measured, strict=True):
            self._known[keys[at]] = found
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({"key": keys[at], "found": found}) + "\n")
            self._tell(sample, True)
        return [self._known[key] for key in keys]

    def _tell(self, sample: Sample, simulated: bool) -> None:
        if self._told is not None:
            self._told(effort(sample), simulated)


def _key(sample: Sample, config: WorldConfig) -> str:
    """What an evaluation depends on, hashed."""
    parameters = {k: v for k, v in dataclasses.asdict(config).items() if k != "name"}
    text = json.dumps([WORLD_VERSION, dataclasses.asdict(sample), parameters], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _read(file: Path) -> dict[str, Measures]:
    """Evaluations by key; lines that were cut short are left out, and the last one is ended."""
    found: dict[str, Measures] = {}
    text = file.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        with file.open("a", encoding="utf-8") as lines:
            lines.write("\n")
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            row: Any = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict) or not {"key", "found"} <= row.keys():
            raise DataError(
                f"{file}, line {number}: not an evaluation of a world.",
                "Delete the file, or name another --out",
            )
        found[row["key"]] = row["found"]
    return found
