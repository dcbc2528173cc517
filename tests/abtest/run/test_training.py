"""`abtest train`, and what training means to the other commands: settings, caches, Ctrl-C."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abtest.console import Console
from abtest.run.arms.training import train
from policies.videos.popular import PopularPolicy
from simulator.logs.dataset import Dataset
from tests.abtest.conftest import Result

Run = Callable[..., Result]


@pytest.fixture
def alone(abtest: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """With a cache of one's own, which may be damaged."""
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))
    return abtest


def folder(result: Result) -> Path:
    assert result.code == 0, result.err
    found = re.search(r": (\S+)", result.out)
    assert found
    return Path(found.group(1))


def test_the_projects_file_says_how_to_train(alone: Run, small_log: Path, tmp_path: Path) -> None:
    plain = folder(alone("train", "popular", "--data", small_log))
    file = tmp_path / "abtest.toml"
    own = f'data = "{small_log}"\ntraining_seed = 3\n[policies.popular]\nhalf_life_days = 2.0\n'
    file.write_text(own, encoding="utf-8")
    told = folder(alone("train", "popular"))
    assert told != plain
    assert '"half_life_days": 2.0' in (told / "weights.json").read_text(encoding="utf-8")
    assert folder(alone("train", "popular", "--training-seed", 1)) != told
    other = tmp_path / "other.toml"
    other.write_text(own, encoding="utf-8")
    file.unlink()
    assert folder(alone("train", "popular", "--config", other)) == told
    result = alone("evaluate", "popular", "--task", "videos", "--config", other, "--json")
    assert result.code == 0, result.err
    assert '"training_seeds": [\n    3\n   ]' in result.out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n[policies.sasrek]\ndim = 8\n", "line 2: [policies.sasrek]: there is no policy"),
        ("[policies]\nsasrec = 3\n", "line 2: policies.sasrec is 3, expected a table"),
        ('[policies."sasrec+likes"]\ndim = 8\n', "is never read"),
        ("[policies.sasrec]\nheads = 3\n", "line 2: sasrec: heads is 3, expected a divisor of dim"),
        ('[policies.itemknn]\n\nsignal = "loved"\n', "line 3: itemknn: signal is 'loved'"),
        ("[policies]\nsasrec = {heads = 3}\n", "line 2: sasrec: heads is 3"),
        ("[policies.popular]\nheads = 1\n[policies.sasrec]\nheads = 3\n", "line 2: popular has no"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    abtest: Run, small_log: Path, tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "abtest.toml").write_text(text, encoding="utf-8")
    for name in ("sasrec", "itemknn"):
        result = abtest("train", name, "--data", small_log)
        if result.code:
            assert result.code == 2
            assert expected in result.err
            return
    pytest.fail("neither policy was refused")


@pytest.mark.parametrize("file", ["weights.safetensors", "summary.json"])
def test_damaged_weights_say_what_to_remove(alone: Run, small_log: Path, file: str) -> None:
    command = ("evaluate", "popular", "--data", small_log, "--task", "videos")
    first = alone(*command)
    assert first.code == 0, first.err
    (weights,) = (Path("cache") / "policies").glob("popular-*")
    (weights / file).write_bytes(b"")
    damaged = alone(*command)
    assert damaged.code == 3
    remedy = re.search(r"rm -r (\S+)", damaged.err)
    assert remedy and Path(remedy.group(1)).samefile(weights)
    for part in weights.iterdir():
        part.unlink()
    weights.rmdir()
    assert alone(*command).out == first.out


def test_a_damaged_training_part_is_made_again(alone: Run, small_log: Path) -> None:
    command = ("evaluate", "popular", "--data", small_log, "--task", "videos")
    first = alone(*command)
    (part,) = (path for path in (Path("cache") / "heldout").iterdir() if path.is_dir())
    for table in part.glob("*.parquet"):
        table.write_bytes(b"")
    (part / "dataset.json").unlink()
    again = alone(*command)
    assert again.code == 0 and again.out == first.out
    assert "is made again" in again.err


def test_refresh_reaches_the_parts_of_a_joined_name(
    alone: Run, small_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[str] = []
    plain = PopularPolicy.fit

    def counted(self: PopularPolicy, *arguments: Any, **named: Any) -> None:
        fits.append(self.name)
        plain(self, *arguments, **named)

    monkeypatch.setattr(PopularPolicy, "fit", counted)
    assert alone("train", "popular+likes", "--data", small_log).code == 0
    before = len(fits)
    assert alone("train", "popular+likes", "--data", small_log).code == 0
    assert len(fits) == before
    assert alone("train", "popular+likes", "--data", small_log, "--refresh").code == 0
    assert len(fits) == 2 * before


def test_ctrl_c_says_that_nothing_is_lost(
    alone: Run, small_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PopularPolicy, "fit", stopped)
    for command in ("train", "evaluate"):
        result = alone(command, "popular", "--data", small_log)
        assert result.code == 130
        assert "stopped. The same command starts again with what it has kept" in result.err


def test_a_policy_of_ones_own_that_fails_is_told_in_a_line(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "from policies.base import Policy\n\n\nclass Mine(Policy):\n"
        '    """Fails."""\n\n    def fit(self, dataset, *, seed, progress=None):\n'
        "        return [][seed]\n\n    def save(self, directory):\n        pass\n\n"
        "    def load(self, directory, dataset):\n        pass\n\n"
        "    def score_videos(self, requests):\n        pass\n",
        encoding="utf-8",
    )
    result = abtest("train", "mine.py:Mine", "--data", small_log)
    assert result.code == 5
    assert "mine.py:Mine raised IndexError: list index out of range in fit" in result.err
    assert "mine.py line 8" in result.err
    assert "Traceback" not in result.err


def test_a_file_is_not_a_dataset(abtest: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id\n1\n", encoding="utf-8")
    result = abtest("train", "popular", "--data", "log.csv")
    assert result.code == 3
    assert "abtest data import log.csv" in result.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--seed", "-1"), "--seed"),
        (("--split", "time", "--test-days", "inf"), "--test-days is inf"),
        (("--split", "time", "--test-days", "100"), "Choose another --test-days"),
        (("--output", "there.csv"), "which is a folder"),
    ],
)
def test_flags_that_cannot_be_are_usage(
    abtest: Run, small_log: Path, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "there.csv").mkdir()
    result = abtest("evaluate", "popular", "--data", small_log, *arguments)
    assert result.code == 2, result.err
    assert expected in result.err


def test_a_sample_of_more_than_there_is_is_no_sample(abtest: Run, small_log: Path) -> None:
    command = ("evaluate", "popular", "--data", small_log, "--task", "videos")
    plain, sampled = abtest(*command), abtest(*command, "--candidates", 100_000)
    assert sampled.code == 0
    assert sampled.out == plain.out
    assert "none is sampled" in sampled.err


def test_files_of_the_same_name_have_rows_of_their_own(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    specs = []
    for name in ("first", "second"):
        (tmp_path / name / "policies").mkdir(parents=True)
        path = tmp_path / name / "policies" / "ranker.py"
        path.write_text(
            "from policies.videos.random import RandomPolicy\n\n\nclass Fresh(RandomPolicy):\n"
            '    """Random."""\n',
            encoding="utf-8",
        )
        specs.append(f"{name}/policies/ranker.py:Fresh")
    result = abtest("evaluate", *specs, "--data", small_log, "--task", "videos")
    assert result.code == 0, result.err
    for number, spec in enumerate(specs, start=1):
        assert re.search(rf"^{number}: \S+  {re.escape(spec)}$", result.out, re.MULTILINE)


def test_a_policy_is_not_told_which_world_wrote_its_log(
    abtest: Run, small_log: Path, tmp_path: Path
) -> None:
    (tmp_path / "asks.py").write_text(
        "from policies.base import Policy\n\n\nclass Asks(Policy):\n"
        "    def fit(self, dataset, *, seed, progress=None):\n"
        "        self.seen = [dataset.info.world, dataset.info.name, dataset.info.source]\n"
        "    def save(self, directory):\n        pass\n"
        "    def load(self, directory, dataset):\n        pass\n"
        "    def training_summary(self):\n        return {'seen': self.seen}\n"
        "    def score_videos(self, requests):\n        return 0.0 * requests.candidates\n"
    )
    dataset = Dataset.open(small_log)
    assert dataset.info.world is not None
    trained = train("asks.py:Asks", {}, dataset, seed=1, console=Console(quiet=True))
    assert trained.summary["seen"] == [None, "log", ""]
    # The log itself still knows, and so does whoever simulates people.
    assert dataset.info.world is not None and "built-in world" in dataset.info.name
