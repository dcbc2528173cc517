"""Read an experiment's configuration from flags, environment, a TOML file and defaults.

Precedence: flags, then environment (``ABTEST_SEED=3``), then the file, then defaults. A key that
nobody knows is an error with a suggestion, never ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abtest.config import RunConfig, make_config, out_of_range
from abtest.errors import UsageError

PROJECT_FILE = "abtest.toml"
ENVIRONMENT_PREFIX = "ABTEST_"

LARGEST_NUMBER = 1e30
"""Of an effect or a margin in a metric's unit; no table has larger values."""

_OTHER_VARIABLES = {"cache", "policies", "policy_seconds"}
"""Of the environment, without the prefix: read elsewhere, or never."""

_FIELDS = {f.name: f for f in dataclasses.fields(RunConfig)}


def parse_percent(text: str) -> float:
    """``"0.5%"`` or ``"0.005"`` as a fraction (both give 0.005).

    Raises:
        UsageError: not a number, or beyond any use.
    """
    cleaned = text.strip().replace(" ", "").replace("−", "-")
    percent = cleaned.endswith("%")
    try:
        value = float(cleaned.removesuffix("%")) / (100.0 if percent else 1.0)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError(f"'{text}' is not a number or a percentage.", "Example: 0.5%")
    if abs(value) > LARGEST_NUMBER:
        raise UsageError(f"{text} is too large: the most is {LARGEST_NUMBER:g}.", "Example: 0.5%")
    return value


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
    asked = {k: v for k, v in flags.items() if v is not None and v != ()}
    if isinstance(merged.get("interference"), dict) and asked.get("interference") is True:
        # The flag has no strengths: those of the file stay.
        del asked["interference"]
    merged.update(asked)
    return make_config(_with_numbers(merged))


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
            raise UsageError(problem, "Nothing was run")
    check_policy_settings(given.get("policies", {}))
    return make_config(_with_numbers(given))


def check_policy_settings(policies: Any) -> None:
    """Refuse settings per policy that are no table of tables of plain values.

    Raises:
        UsageError: names the policy and the setting.
    """
    if not isinstance(policies, Mapping):
        raise UsageError(f"settings are {policies!r}, expected a table per policy.")
    for name, settings in policies.items():
        problem = _policy_problem(str(name), settings)
        if problem:
            raise UsageError(problem, "Nothing was run")


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file
    if path is None:
        path = Path(PROJECT_FILE)
        if not path.is_file():
            return {}
    elif not path.is_file():
        raise UsageError(f"no configuration file at {path}.", "Nothing was run")
    text = _decoded(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}.", "Nothing was run") from None
    except RecursionError:
        raise UsageError(f"{path}: values are nested too deeply.", "Nothing was run") from None
    for key, value in table.items():
        if key not in _FIELDS:
            problem = f"unknown key '{key}'.{suggest(key, _FIELDS)}"
        elif key == "policies" and isinstance(value, dict):
            continue
        else:
            problem = _type_problem(key, value) or _value_problem(key, value)
        if problem:
            where = f"{path} line {_line_of(text, key)}"
            raise UsageError(f"{where}: {problem}", "Nothing was run")
    for name, settings in table.get("policies", {}).items():
        problem = _policy_problem(name, settings)
        if problem:
            line = max(_line_of(text, f"policies.{name}"), _line_of(text, name))
            raise UsageError(f"{path} line {line}: {problem}", "Nothing was run")
        _check_policy(path, text, name, settings)
    return table


def _check_policy(path: Path, text: str, name: str, settings: Mapping[str, Any]) -> None:
    """Refuse what no policy of ours takes as a setting; others check theirs when they are made.

    Raises:
        UsageError: naming file and line.
    """
    # Imported here: most configurations have no settings of policies.
    from policies.errors import UnknownPolicy
    from policies.registry import is_built_in, policy_class
    from policies.settings import Settings, make_settings

    if not is_built_in(name):
        return
    kind = policy_class(name).settings_class
    if kind is Settings:
        return
    try:
        make_settings(kind, settings, name)
    except UnknownPolicy as error:
        section = max(_line_of(text, f"policies.{name}"), _line_of(text, name))
        rest = "\n".join(text.splitlines()[section:])
        line = section
        if error.setting in settings and f"{error.setting}" in rest:
            line += _line_of(rest, error.setting)
        raise UsageError(
            f"{path} line {line}: {error.problem}", f"{error.hint}. Nothing was run"
        ) from None


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path} line {line}: a byte (0x{content[error.start]:02x}) that is not UTF-8.",
            "Save it as UTF-8. Nothing was run",
        ) from None


def _value_problem(key: str, value: Any) -> str:
    value = tuple(value) if isinstance(value, list) else value
    if key in _PERCENTAGES and isinstance(value, str):
        value = parse_percent(value)
    if _FIELDS[key].type == "tuple[str, ...]" and isinstance(value, str):
        value = (value,)
    problem = out_of_range(key, value)
    if key == "interference":
        return _strengths_problem(value)
    return f"{key} is {problem}." if problem else ""


def _strengths_problem(value: Any) -> str:
    try:
        make_config({"interference": value})
    except UsageError as error:
        return error.problem
    return ""


def _settings_problem(name: str, settings: Mapping[str, Any], depth: int = 0) -> str:
    """What no setting of a policy may be; its own range is checked when the policy is made."""
    for key, value in settings.items():
        where = f"[policies.{name}] {key}"
        if isinstance(value, dict):
            if depth >= _DEEPEST:
                return f"{where} is nested too deeply."
            problem = _settings_problem(f"{name}.{key}", value, depth + 1)
            if problem:
                return problem
        elif isinstance(value, float) and not math.isfinite(value):
            return f"{where} is {value}, expected a number."
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"{where} has more than 64 bits."
        elif not isinstance(value, (bool, int, float, str, list)):
            return f"{where} is {value!r}, expected a number, a text, true, false or a list."
    return ""


_DEEPEST = 3


def _policy_problem(name: str, settings: Any) -> str:
    """What is wrong with the settings under a policy's name; empty if nothing is."""
    # Imported here: most configurations have no settings of policies, and names may load plugins.
    from policies.registry import names, parts_of

    if not isinstance(settings, dict):
        return f"policies.{name} is {settings!r}, expected a table, [policies.{name}]."
    if parts_of(name) is not None:
        return f'[policies."{name}"] is never read: each part has settings under its own name.'
    if not (":" in name or name.endswith(".py") or name in names()):
        return f"[policies.{name}]: there is no policy of that name.{suggest(name, names())}"
    return _settings_problem(name, settings)


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
        if kind == "bool" or key == "interference":
            return {"1": True, "true": True, "0": False, "false": False}[text.strip().lower()]
    except KeyError:
        raise UsageError(f"{source} is '{text}', expected true or false.") from None
    except ValueError:
        raise UsageError(f"{source} is '{text}', expected a whole number.") from None
    return text


_PERCENTAGES = tuple(name for name, field in _FIELDS.items() if field.type == "float")


def _with_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Percentages that were given as text, as fractions."""
    return {
        key: parse_percent(value) if key in _PERCENTAGES and isinstance(value, str) else value
        for key, value in values.items()
    }


def _type_problem(key: str, value: Any) -> str:
    kind = str(_FIELDS[key].type)
    if kind.startswith("tuple"):
        words = value if isinstance(value, (list, tuple)) else [value]
        good = all(isinstance(word, str) for word in words)
        wanted = "a list of texts"
    elif kind == "bool":
        good, wanted = isinstance(value, bool), "true or false"
    elif "int" in kind:
        good = isinstance(value, int) and not isinstance(value, bool)
        wanted = "a whole number"
    elif kind == "float":
        good = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        wanted = "a number or a percentage"
    elif key == "interference":
        good, wanted = isinstance(value, (bool, dict)), "true, false or a table"
    elif "Mapping" in kind:
        good, wanted = isinstance(value, dict), "a table"
    else:
        good, wanted = isinstance(value, str), "a text"
    return "" if good else f"{key} is {value!r}, expected {wanted}."


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
