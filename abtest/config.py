"""Define an experiment: one typed record whose fields carry their ranges."""

from __future__ import annotations

import dataclasses
import math
import shlex
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import tomli_w

from abtest.errors import UsageError
from policies.settings import range_of, setting

Design = Literal["online", "twin"]
Language = Literal["zh", "en"]
DEMO_DATA = "demo"
LARGEST_SEED = 2**64 - 1
"""Random keys are words of 64 bits (`simulator.randomness`)."""


@dataclass(frozen=True)
class RunConfig:
    """One experiment. Everything that can change its result is here, each value with its range.

    Attributes:
        treatment: Policies compared with the control, by name or ``file.py:Class``.
        control: The policy in force.
        candidates: The policy that proposes what both arms rank, or None for the built-in sources.
        data: A dataset directory, or ``demo`` for the built-in world.
        world: Preset of the built-in world (only with ``data = "demo"``).
        language: Of the built-in world's texts (``zh`` or ``en``); None for the preset's own.
        design: ``online`` (each person in one arm) or ``twin`` (everyone lives through both).
        users: Number of people, or None to size the experiment by its own power analysis.
        max_users: Upper limit when sized automatically.
        days: Experiment days.
        burn_in_days: Days under the platform's own ranker before the experiment (built-in world).
        log_users: People in the log that policies are trained on (built-in world).
        sample_users: People of ``data`` that are drawn and used; None uses all of them.
        seed: Randomises people's noise and the split into arms.
        training_seed: Randomises training.
        world_seed: Which built-in world (only with ``data = "demo"``).
        primary: Name of the primary metric.
        guardrail: ``METRIC=-1%`` entries, added to the default guardrails.
        min_effect: Smallest relative effect worth shipping, as a fraction.
        rule: ``NAME=CHOICE`` entries of the decision rule (`reports.verdict.rule.DecisionRule`).
        detect: Relative effect that an automatically sized experiment must detect with 80 % power.
        explore_share: Share of slots that the platform fills uniformly at random in all arms.
        explore_comments: Share of ranks of comment sections that it fills at random in all arms.
        keep_log: Whether the run keeps the log of the experiment, with propensities.
        assume: ``NAME=VALUE,VALUE`` or ``uncertain``: the twin is also run in worlds with another
            value of one parameter (`abtest.run.assumptions`; built-in world).
        assume_retrain: Whether policies are trained anew on the log of each assumed world.
        interference: Strengths by which people change the platform for each other, by name
            (`simulator.interference.settings`); True for the defaults, None for no interference.
        policies: Settings per policy name, passed to its constructor.
    """

    treatment: tuple[str, ...] = ("lsvcr",)
    control: str = "sasrec"
    candidates: str | None = None
    data: str = DEMO_DATA
    world: str = "default"
    language: Language | None = setting(None, one_of=get_args(Language))  # noqa: RUF009
    design: Design = setting("online", one_of=get_args(Design))  # noqa: RUF009
    users: int | None = setting(None, at_least=2, at_most=100_000_000)
    max_users: int = setting(48_000, at_least=2, at_most=100_000_000)
    days: int = setting(1, at_least=1, at_most=365)
    burn_in_days: int = setting(2, at_least=0, at_most=60)
    log_users: int = setting(4_000, at_least=1, at_most=10_000_000)
    sample_users: int | None = setting(None, at_least=2, at_most=1_000_000_000)
    seed: int = setting(1, at_least=0, at_most=LARGEST_SEED)
    training_seed: int = setting(1, at_least=0, at_most=LARGEST_SEED)
    world_seed: int = setting(1, at_least=0, at_most=LARGEST_SEED)
    primary: str = "comment_watch_time"
    guardrail: tuple[str, ...] = ()
    min_effect: float = setting(0.005, at_least=0, below=1)
    rule: tuple[str, ...] = ()
    detect: float = setting(0.04, above=0, below=1)
    explore_share: float = setting(0.0, at_least=0, below=1)
    explore_comments: float = setting(0.0, at_least=0, below=1)
    keep_log: bool = False
    assume: tuple[str, ...] = ()
    assume_retrain: bool = False
    interference: Mapping[str, float] | None = None
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def command(self) -> str:
        """The shortest command that repeats this experiment, whatever produced it.

        Settings per policy and strengths of interference have no flags; with them the command
        names the configuration file.
        """
        words = ["abtest", "run"]
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            required = item.name in ("treatment", "control")
            if item.name == "policies" or (value == item.default and not required):
                continue
            flag = f"--{item.name.replace('_', '-')}"
            if isinstance(value, (bool, Mapping)):
                words.append(flag)
                continue
            for single in value if isinstance(value, tuple) else (value,):
                words += [flag, str(single)]
        own = self.interference is not None and self.interference != _strengths(True)
        if self.policies or own:
            words += ["--config", "config.toml"]
        return shlex.join(words)

    def with_policies(self, settings: Mapping[str, Mapping[str, Any]]) -> RunConfig:
        """With settings per policy put over those that it has."""
        merged = {**self.policies}
        for name, own in settings.items():
            merged[name] = {**merged.get(name, {}), **own}
        return dataclasses.replace(self, policies=merged)

    def to_toml(self) -> str:
        """The resolved configuration, readable by ``--config``."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        values["treatment"] = list(self.treatment)
        values["guardrail"] = list(self.guardrail)
        values["rule"] = list(self.rule)
        values["assume"] = list(self.assume)
        values["policies"] = {name: dict(s) for name, s in self.policies.items()}
        return tomli_w.dumps(values)


_FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}
_WORDS = ("control", "data", "world", "primary", "treatment", "guardrail", "rule", "candidates")
"""Fields of text, which may neither be empty nor hold what no name or path can."""


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """A record of some values; the others have their defaults.

    Raises:
        UsageError: a value is out of range, or does not go with another one.
    """
    given = dict(values)
    for key in ("treatment", "guardrail", "rule", "assume"):
        if key in given:
            given[key] = (given[key],) if isinstance(given[key], str) else tuple(given[key])
    if "interference" in given:
        given["interference"] = _strengths(given["interference"])
    config = RunConfig(**given)
    for name in _FIELDS:
        problem = out_of_range(name, getattr(config, name))
        if problem:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} is {problem}.", "Nothing was run")
    if config.keep_log and config.design == "twin":
        raise UsageError(
            "--keep-log needs --design online: in a twin design everyone lives several lives.",
            "Nothing was run",
        )
    if config.keep_log and config.interference is not None:
        raise UsageError(
            "--keep-log does not go with --interference: a log has one number of likes per comment "
            "and cannot tell how they changed.",
            "Nothing was run",
        )
    if config.sample_users is not None and config.data == DEMO_DATA:
        raise UsageError(
            "--sample-users draws people of a log of yours: it needs --data.",
            "For a smaller built-in log: --log-users. Nothing was run",
        )
    _check_assumptions(config)
    if not config.treatment:
        raise UsageError("no treatment given.", "Example: abtest run --treatment lsvcr")
    if len(set(config.treatment)) != len(config.treatment):
        raise UsageError(f"a treatment is named twice: {', '.join(config.treatment)}.")
    return config


def out_of_range(name: str, value: Any) -> str:
    """``VALUE, expected ...`` for a value that the field may not have; empty if it may."""
    if value is None:
        return ""
    if name in _WORDS:
        words = value if isinstance(value, tuple) else (value,)
        return next(filter(None, map(_word_problem, words)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, expected a number"
    wanted = range_of(_FIELDS[name]).wanted(value)
    return f"{_shortened(value)}, expected {wanted}" if wanted else ""


def _word_problem(word: str) -> str:
    if not word.strip():
        return "empty"
    odd = any(unicodedata.category(letter) in ("Cc", "Cs") for letter in word)
    if odd or len(word) > _LONGEST_WORD:
        return f"{_shortened(word)}, which is no name and no path"
    return ""


_LONGEST_WORD = 4096
"""Characters of the longest path on Linux."""


def _shortened(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text):,} characters)"


def _strengths(asked: bool | Mapping[str, Any] | None) -> dict[str, float] | None:
    """All strengths of the interference that is asked for; None for none.

    Raises:
        UsageError: an unknown strength, or one out of range.
    """
    if asked is None or asked is False:
        return None
    # Imported here, as in `_check_assumptions`.
    from simulator.errors import DataError
    from simulator.interference.settings import InterferenceSettings

    try:
        return InterferenceSettings.of({} if asked is True else asked).values()
    except DataError as error:
        raise UsageError(error.problem, error.hint or "Nothing was run") from None


def _check_assumptions(config: RunConfig) -> None:
    if config.assume_retrain and not config.assume:
        raise UsageError("--assume-retrain needs --assume.", "Example: --assume uncertain")
    if not config.assume:
        return
    # Imported here: most configurations assume nothing, and the world loads numpy.
    from simulator.errors import DataError
    from simulator.world.assumptions import parse_assumptions

    try:
        parse_assumptions(config.assume)
    except DataError as error:
        raise UsageError(error.problem, error.hint) from None
    if config.assume_retrain and config.data != DEMO_DATA:
        raise UsageError(
            f"--assume-retrain needs --data {DEMO_DATA}: it writes the log of every assumed world.",
            "Nothing was run",
        )
