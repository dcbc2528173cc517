"""List hostile configurations: types, ranges, nesting, encodings, sizes, names and paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.hostile.cases import Case

_RUN = ("run", "--config", "c.toml", "--out", "out", "--quiet")
_BASE = 'treatment = ["popular"]\ncontrol = "random"\nworld = "small"\nlog_users = 60\nusers = 64\n'

_WRONG_VALUES = {
    "days": ("0", "-1", "1.5", "true", '"x"', "[1]", "{a=1}", "nan", "400", "2020-01-01", "1e30"),
    "users": ("0", "1", "-3", "1.0", "true", "[5]", "100000000000", '""'),
    "max_users": ("1", "-1", "2.5", "false", "999999999999999999999"),
    "log_users": ("0", "-7", '"many"', "inf", "10000000000"),
    "burn_in_days": ("-1", "61", "0.5", '"one"'),
    "sample_users": ("1", "-2", '"x"', "5"),
    "seed": ("-1", "18446744073709551616", "1.5", "true", '"1"', "nan", "[1]"),
    "training_seed": ("-1", "99999999999999999999999", "0.1", '"a"'),
    "world_seed": ("-1", "18446744073709551616", "false", "{}"),
    "min_effect": ("-0.1", "1", "nan", "inf", '"x%"', "true", "[0.1]"),
    "detect": ("0", "-1", "1.0", "nan", '"%"', "{}"),
    "explore_share": ("-0.1", "1", "nan", '"all"', "[]"),
    "explore_comments": ("-0.1", "1.5", "-inf", "true"),
    "keep_log": ('"yes"', "1", "[]"),
    "design": ('"offline"', '""', "1", "[]"),
    "primary": ('"watch"', '""', "1", '"a\\u0000"', '["clicks"]'),
    "guardrail": ("[1]", '["clicks"]', '["clicks=x%"]', '["nothing=-1%"]', '"clicks=nan"', "[[]]"),
    "rule": ('["effect"]', '["effect=x"]', "[1]", '["a=b"]', "{a=1}"),
    "data": ('""', "1", '"/nonexistent"', '"a\\u0000b"', '"."', '"/proc/self"', '"/dev/null"'),
    "world": ('"smal"', '""', "[1]", '"/etc/passwd"', '"../x"', '"a\\nb"'),
    "treatment": ("[]", "[1]", '[["a"]]', '[""]', '["sasrc"]', '["x.py:A"]',
                  '["popular", "popular"]', '["popular+"]', '["+likes"]', '["a+b+c"]',
                  '["popular:"]', '["popular:x=1"]'),
    "control": ('"ranom"', "1", '[""]', '"x.py"', '"likes"', '"\\u001b[31m"'),
    "candidates": ('"x"', '"likes"', "1", "[]"),
    "policies": ("1", "[]", '"x"'),
    "treatmnt": ('["popular"]',),
    "": ("1",),
}  # fmt: skip

_WRONG_SETTINGS = (
    "[policies.popular]\nhalf_life_days = 0",
    "[policies.popular]\nhalf_life_days = nan",
    "[policies.popular]\nhalf_life_days = -inf",
    "[policies.popular]\nhalf_life_days = true",
    '[policies.popular]\nhalf_life_days = "7"',
    "[policies.popular]\nhalf_life_days = [7]",
    "[policies.popular]\nhalf_life_days = {a = 1}",
    '[policies.popular]\nsignal = "x"',
    "[policies.popular]\nhalf_lif_days = 7",
    "[policies.popular.more.and.more.of]\nit = 1",
    "[policies.populr]\nhalf_life_days = 7",
    "[[policies.popular]]\nhalf_life_days = 7",
    "[policies]\npopular = 3",
)

_WRONG_SIZES = (
    "dim = 1000000000", "dim = 0", "dim = -4", "dim = 1e9", "dim = 8193", "length = 0",
    "length = 100000000", "layers = 100000", "layers = 0", "layers = 257", "heads = 7",
    "heads = 0", "heads = 1000000", "dropout = 1.0", "dropout = -0.1", "dropout = nan",
    "epochs = 0", "epochs = 1000000000000", "patience = 0", "tokens = 0",
    "tokens = 100000000000", "negatives = 0", "negatives = 99999999999", "learning_rate = 0",
    "learning_rate = -1", "learning_rate = inf", "learning_rate = 1000", "epoch_steps = 0",
    "dim = 99999999999999999999", "dim = 2020-01-01", "epochs = 1.5", 'signal = "hated"',
)  # fmt: skip

_WRONG_FILES = {
    "no TOML": b"days == 1\n",
    "twice": b"days = 1\ndays = 2\n",
    "open table": b"[policies.popular\n",
    "latin-1": b"control = 'caf\xe9'\n",
    "utf-16": "days = 1\n".encode("utf-16"),
    "zeros": b"\0" * 100,
    "deep lists": b"treatment = " + b"[" * 5_000 + b"]" * 5_000 + b"\n",
    "deep tables": b"[policies." + b".".join([b"a"] * 5_000) + b"]\n",
    "binary": bytes(range(256)),
    "control characters": b"control = 'a\x1b[31m'\n",
}


_HARMLESS = (("control", '"likes"'),)
"""A ranker of comments alone is a control: the platform ranks its videos."""
_NO_NAME = '""'


def configuration_cases() -> Iterator[Case]:
    """Every key with values that it cannot have, files that are none, and flags."""
    for key, values in _WRONG_VALUES.items():
        for value in values:
            kept = "\n".join(
                line for line in _BASE.splitlines() if line.split(" = ")[0] != key or not key
            )
            text = f"{key or _NO_NAME} = {value}\n{kept}\n"
            yield Case(
                "configuration", f"{key} = {value}", _RUN, _writes(text.encode()),
                harmless=(key, value) in _HARMLESS,
            )  # fmt: skip
    for settings in _WRONG_SETTINGS:
        name = settings.replace("\n", " ")
        yield Case("settings", name, _RUN, _writes(f"{_BASE}\n{settings}\n".encode()))
    for setting in _WRONG_SIZES:
        text = _BASE.replace('"popular"', '"sasrec"') + f"\n[policies.sasrec]\n{setting}\n"
        yield Case("sizes", setting, _RUN, _writes(text.encode()))
    for name, content in _WRONG_FILES.items():
        yield Case("configuration file", name, _RUN, _writes(content))
    yield from _flag_cases()


def _flag_cases() -> Iterator[Case]:
    base = ("run", "-t", "popular", "-c", "random", "--world", "small", "--log-users", "60")
    for words in (
        ("--users", "abc"), ("--users", "0"), ("--users", "1e3"), ("--seed", "-1"),
        ("--seed", "9" * 40), ("--days", "0"), ("--world", "smal"), ("--world", "/etc/passwd"),
        ("--data", "demoo"), ("--data", "/nonexistent"), ("--data", "/dev/zero"),
        ("--data", "\x1b[31mred"), ("--data", "x" * 5_000), ("--config", "/nonexistent"),
        ("--config", "/dev/null/x"), ("--config", "."), ("--primary", "x"),
        ("--guardrail", "clicks"), ("--guardrail", "clicks=-x%"), ("--rule", "x"),
        ("--min-effect", "nan"), ("--min-effect", "200%"), ("--detect", "0"),
        ("--workers", "0"), ("--workers", "-2"), ("--workers", "x"), ("--fail-on", "x"),
        ("--out", "/proc/x"), ("--out", "/dev/null"), ("--out", "/dev/null/x"),
        ("--out", "x" * 300), ("--out", "\udc80bad"), ("--resume", "/nonexistent"),
        ("--resume", "."), ("--resume", "/dev/null"), ("--design", "x"),
        ("--explore-share", "2"), ("--candidates", "x"), ("--no-such-flag",), ("extra",),
    ):  # fmt: skip
        command = (*base, *words) if "--out" in words else (*base, *words, "--out", "out")
        yield Case("flags", " ".join(words)[:60], command, _nothing)


def _writes(content: bytes) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "c.toml").write_bytes(content)

    return prepare


def _nothing(folder: Path) -> None:
    """Prepare nothing."""
