"""Define an experiment: one typed record, from flags, environment, a TOML file and defaults.

Precedence: flags, then environment (``ABTEST_SEED=3``), then the file, then defaults. A key that
nobody knows is an error with a suggestion, never ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w

from abtest.errors import UsageError

Design = Literal["online", "twin"]
DEMO_DATA = "demo"
PROJECT_FILE = "abtest.toml"
ENVIRONMENT_PREFIX = "ABTEST_"


@dataclass(frozen=True)
class RunConfig:
    """One experiment. Everything that can change its result is here.

    Attributes:
        treatment: Policies compared with the control, by name or ``file.py:Class``.
        control: The policy in force.
        candidates: The policy that proposes what both arms rank, or None for the built-in sources.
        data: A dataset directory, or ``demo`` for the built-in world.
        world: Preset of the built-in world (only with ``data = "demo"``).
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
        policies: Settings per policy name, passed to its constructor.
    """

    treatment: tuple[str, ...] = ("lsvcr",)
    control: str = "sasrec"
    candidates: str | None = None
    data: str = DEMO_DATA
    world: str = "default"
    design: Design = "online"
    users: int | None = None
    max_users: int = 48_000
    days: int = 1
    burn_in_days: int = 2
    log_users: int = 4_000
    sample_users: int | None = None
    seed: int = 1
    training_seed: int = 1
    world_seed: int = 1
    primary: str = "comment_watch_time"
    guardrail: tuple[str, ...] = ()
    min_effect: float = 0.005
    rule: tuple[str, ...] = ()
    detect: float = 0.04
    explore_share: float = 0.0
    explore_comments: float = 0.0
    keep_log: bool = False
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def command(self) -> str:
        """The shortest command that repeats this experiment, whatever produced it.

        Settings per policy have no flag; with them the command names the configuration file.
        """
        words = ["abtest", "run"]
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            required = item.name in ("treatment", "control")
            if item.name == "policies" or (value == item.default and not required):
                continue
            flag = f"--{item.name.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(flag)
                continue
            for single in value if isinstance(value, tuple) else (value,):
                words += [flag, str(single)]
        if self.policies:
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
        values["policies"] = {name: dict(s) for name, s in self.policies.items()}
        return tomli_w.dumps(values)


_OTHER_VARIABLES = {"cache", "policies", "policy_seconds"}
"""Of the environment, without the prefix: read elsewhere, or never."""

_FIELDS = {f.name: f for f in dataclasses.fields(RunConfig)}


def parse_percent(text: str) -> float:
    """``"0.5%"`` or ``"0.005"`` as a fraction (both give 0.005).

    Raises:
        UsageError: not a number.
    """
    cleaned = text.strip().replace(" ", "").replace("−", "-")
    try:
        if cleaned.endswith("%"):
            return float(cleaned[:-1]) / 100.0
        return float(cleaned)
    except ValueError:
        raise UsageError(f"'{text}' is not a number or a percentage.", "Example: 0.5%") from None


def load_config(
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> RunConfig:
    """Merge the four sources into one record.

    Args:
        flags: Values given on the command line; None means "not given".
        file: A TOML file; None looks for ``abtest.toml`` in the working directory.
        defaults: Defaults of the command, over those of `RunConfig`.
        environment: ``os.environ`` unless given.

    Raises:
        UsageError: unknown key, wrong type, value out of range; names file and line.
    """
    merged: dict[str, Any] = dict(defaults or {})
    merged.update(_from_file(file))
    merged.update(_from_environment(os.environ if environment is None else environment))
    merged.update({k: v for k, v in flags.items() if v is not None and v != ()})
    return _checked(merged)


def config_of(values: Mapping[str, Any]) -> RunConfig:
    """A record from values given in Python; None stands for "not given".

    Raises:
        UsageError: unknown name, wrong type, value out of range.
    """
    given = {k: v for k, v in values.items() if v is not None}
    for key, value in given.items():
        if key not in _FIELDS:
            raise UsageError(f"there is no setting '{key}'.{suggest(key, _FIELDS)}")
        if isinstance(value, Path):
            given[key] = str(value)
        elif isinstance(value, tuple):
            given[key] = list(value)
        problem = _type_problem(key, given[key])
        if problem:
            raise UsageError(f"{problem}.", "Nothing was run")
    return _checked(given)


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file
    if path is None:
        path = Path(PROJECT_FILE)
        if not path.is_file():
            return {}
    elif not path.is_file():
        raise UsageError(f"no configuration file at {path}.", "Nothing was run")
    text = path.read_text(encoding="utf-8")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name}: {error}.", "Nothing was run") from None
    for key in table:
        if key not in _FIELDS:
            raise UsageError(
                f"{path.name} line {_line_of(text, key)}: unknown key '{key}'."
                f"{suggest(key, _FIELDS)}",
                "Nothing was run",
            )
    for key, value in table.items():
        problem = _type_problem(key, value)
        if problem:
            raise UsageError(
                f"{path.name} line {_line_of(text, key)}: {problem}.", "Nothing was run"
            )
    for name, settings in table.get("policies", {}).items():
        problem = _policy_problem(name, settings)
        if problem:
            line = max(_line_of(text, f"policies.{name}"), _line_of(text, name))
            raise UsageError(f"{path.name} line {line}: {problem}", "Nothing was run")
    return table


def _policy_problem(name: str, settings: Any) -> str | None:
    # Imported here: most configurations have no settings of policies, and names may load plugins.
    from policies.registry import names, parts_of

    if not isinstance(settings, dict):
        return f"policies.{name} is {settings!r}, expected a table, [policies.{name}]."
    if parts_of(name) is not None:
        return f'[policies."{name}"] is never read: each part has settings under its own name.'
    if ":" in name or name.endswith(".py") or name in names():
        return None
    return f"[policies.{name}]: there is no policy of that name.{suggest(name, names())}"


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in environment.items():
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not name.startswith(ENVIRONMENT_PREFIX) or key in _OTHER_VARIABLES:
            continue
        if key not in _FIELDS:
            raise UsageError(f"environment variable {name} is unknown.{suggest(key, _FIELDS)}")
        values[key] = _parse_text(name, key, text)
    return values


def _parse_text(source: str, key: str, text: str) -> Any:
    kind = str(_FIELDS[key].type)
    try:
        if kind.startswith("tuple"):
            return [part.strip() for part in text.split(",") if part.strip()]
        if "int" in kind:
            return int(text)
        if kind == "float":
            return parse_percent(text)
        if kind == "bool":
            return {"1": True, "true": True, "0": False, "false": False}[text.strip().lower()]
    except KeyError:
        raise UsageError(f"{source} is '{text}', expected true or false.") from None
    except ValueError:
        raise UsageError(f"{source} is '{text}', expected a whole number.") from None
    return text


def _type_problem(key: str, value: Any) -> str | None:
    kind = str(_FIELDS[key].type)
    if kind.startswith("tuple"):
        good = isinstance(value, (list, str))
        wanted = "a list of texts"
    elif kind == "bool":
        good, wanted = isinstance(value, bool), "true or false"
    elif "int" in kind:
        good = isinstance(value, int) and not isinstance(value, bool)
        wanted = "a whole number"
    elif kind == "float":
        good = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        wanted = "a number or a percentage"
    elif "Mapping" in kind:
        good, wanted = isinstance(value, dict), "a table"
    else:
        good, wanted = isinstance(value, str), "a text"
    return None if good else f"{key} is {value!r}, expected {wanted}"


def _line_of(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        head = line.split("=", 1)[0].strip().strip("[]").strip("\"'")
        if head == key or head.startswith(f"{key}."):
            return number
    return 1


def suggest(word: str, known: Any) -> str:
    """`` Did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def _checked(values: dict[str, Any]) -> RunConfig:
    for key in ("treatment", "guardrail", "rule"):
        if key in values:
            given = values[key]
            values[key] = (given,) if isinstance(given, str) else tuple(given)
    for key in ("min_effect", "detect", "explore_share", "explore_comments"):
        if isinstance(values.get(key), str):
            values[key] = parse_percent(values[key])
    config = RunConfig(**values)
    limits = {
        "days": (config.days, 1, 365),
        "burn_in_days": (config.burn_in_days, 0, 60),
        "log_users": (config.log_users, 1, 10_000_000),
        "max_users": (config.max_users, 2, 100_000_000),
    }
    if config.sample_users is not None:
        limits["sample_users"] = (config.sample_users, 2, 1_000_000_000)
    if config.users is not None:
        limits["users"] = (config.users, 2, 100_000_000)
    for key, (value, low, high) in limits.items():
        if not low <= value <= high:
            flag = key.replace("_", "-")
            raise UsageError(f"--{flag} is {value}, expected {low} to {high:,}.", "Nothing was run")
    if config.design not in get_args(Design):
        raise UsageError(f"--design is '{config.design}', expected online or twin.")
    for flag, share in (
        ("explore-share", config.explore_share),
        ("explore-comments", config.explore_comments),
    ):
        if not 0.0 <= share < 1.0:
            raise UsageError(f"--{flag} is {share}, expected 0 to below 100 %.", "Nothing was run")
    if config.keep_log and config.design == "twin":
        raise UsageError(
            "--keep-log needs --design online: in a twin design everyone lives several lives.",
            "Nothing was run",
        )
    if not 0.0 <= config.min_effect < 1.0 or not 0.0 < config.detect < 1.0:
        raise UsageError("--min-effect and --detect are relative effects between 0 and 100 %.")
    if not config.treatment:
        raise UsageError("no treatment given.", "Example: abtest run --treatment lsvcr")
    if len(set(config.treatment)) != len(config.treatment):
        raise UsageError(f"a treatment is named twice: {', '.join(config.treatment)}.")
    return config
