"""Installed packages add policies, importers, metrics, report sections; a broken one harms none."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from abtest import plugins
from abtest.results.metrics import BUILT_IN_METRICS, platform_metrics
from policies.base import Policy, Scores
from reports.plan import Metric
from reports.render.sections import Section
from simulator.logs.importers.fields import Constant, Field
from simulator.logs.importers.formats import Format, Role
from simulator.requests import VideoRequests
from tests.abtest.conftest import Result

Run = Callable[..., Result]


@dataclass(frozen=True)
class Dist:
    """A package."""

    name: str


@dataclass(frozen=True)
class Point:
    """An entry point whose object is at hand; None for one that cannot be imported."""

    group: str
    name: str
    thing: Any
    dist: Dist = Dist("acme")

    def load(self) -> Any:
        if self.thing is None:
            raise ModuleNotFoundError("No module named 'faiss'")
        return self.thing


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that packages with these entry points are installed."""
    real = importlib.metadata.entry_points

    def install(*points: Point) -> None:
        def entry_points(**asked: Any) -> Any:
            if "group" not in asked:
                return real(**asked)
            return [p for p in points if p.group == asked["group"]] or real(**asked)

        monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)

    return install


class Latest(Policy):
    """Videos with a large number first."""

    def score_videos(self, requests: VideoRequests) -> Scores:
        return requests.candidates.astype("float32")


def test_a_name_that_is_taken_is_told_apart_by_its_package(
    abtest: Run, install: Callable[..., None]
) -> None:
    install(
        Point("abtest.policies", "sasrec", Latest),
        Point("abtest.policies", "latest", Latest),
        Point("abtest.policies", "latest", Latest, Dist("other")),
        Point("abtest.policies", "broken", None),
        Point("abtest.policies", "mine", Latest),
    )
    listed = abtest("policy", "list", "--json")
    names = {row["name"] for row in json.loads(listed.out)["policies"]}
    assert {"sasrec", "acme/sasrec", "acme/latest", "other/latest", "mine"} <= names
    assert not {"latest", "broken"} & names
    for told in (listed.err, abtest("doctor").out.replace("\n              ", " ")):
        assert "'sasrec' of acme is built in: write 'acme/sasrec'" in told
        assert "'latest' of other is of another package too: write 'other/latest'" in told
        assert "plugin 'broken' skipped: no module 'faiss'" in told
    assert "test_plugins.Latest" in abtest("policy", "show", "acme/sasrec").out
    assert "policies.videos.sasrec.SASRec" in abtest("policy", "show", "sasrec").out


class Silent(Policy):
    def score_videos(self, requests: VideoRequests) -> Scores:
        return requests.candidates.astype("float32")


def test_a_policy_that_says_nothing_of_itself_is_not_described_as_its_base_class(
    abtest: Run, install: Callable[..., None]
) -> None:
    install(Point("abtest.policies", "silent", Silent))
    rows = json.loads(abtest("policy", "list", "--json").out)["policies"]
    assert {row["name"]: row["summary"] for row in rows}["silent"] == "no description"
    shown = abtest("policy", "show", "silent").out
    assert "no description" in shown and "Base class" not in shown


def test_a_percentage_is_not_multiplied_by_100_twice() -> None:
    with pytest.raises(ValueError, match="'deep': percent=True already multiplies by 100"):
        Metric("deep", "Deep", "%", ("comment_opens",), ("impressions",), scale=100.0, percent=True)
    page = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text(encoding="utf-8")
    block = next(b for b in page.split("```python\n")[1:] if "DEEP_SHARE" in b).split("```")[0]
    made: dict[str, Any] = {}
    exec(block, made)
    assert made["DEEP_SHARE"].percent and made["DEEP_SHARE"].scale == 1.0


PLAYS = Format(
    "plays",
    "Plays",
    "ours",
    (
        Role(
            "impressions",
            r"plays\.csv",
            (
                Field("user_id", ("who",), "id", pl.Int64(), required=True),
                Field("video_id", ("what",), "id", pl.Int64(), required=True),
                Field("time_ms", ("at",), "number", pl.Int64(), required=True),
                Field("is_click", ("played",), "label", pl.Int8(), required=True),
                Constant("play_time_ms", 0, pl.Int64(), stands_for_unknown=True),
            ),
        ),
    ),
    recognise=("who", "what"),
)


def test_an_importer_of_a_package_reads_its_files(
    abtest: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    install(
        Point("abtest.importers", "plays", PLAYS),
        Point("abtest.importers", "kuairand", Format("kuairand", "K", "k", (), ("x",))),
        Point("abtest.importers", "odd", "no format"),
    )
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "plays.csv").write_text(
        "who,what,at,played\n1,10,1600000000000,1\n2,11,1600000001000,0\n", encoding="utf-8"
    )
    result = abtest("data", "import", "raw", "log")
    assert result.code == 0, result.err
    rows = pl.read_parquet(tmp_path / "log" / "impressions" / "*.parquet")
    assert rows["is_click"].to_list() == [1, 0]
    assert "plugin 'acme/kuairand' skipped: 'kuairand' is built in" in result.err
    assert "plugin 'acme/odd' skipped: it is no simulator.logs.importers.formats" in result.err


def test_a_metric_of_a_package_can_be_named(abtest: Run, install: Callable[..., None]) -> None:
    deep = Metric("deep_share", "Deep share", "%", ("comment_opens",), ("impressions",))
    install(
        Point("abtest.metrics", "deep_share", deep),
        Point("abtest.metrics", "likes", BUILT_IN_METRICS["likes"]),
        Point("abtest.metrics", "gone", None),
    )
    assert set(platform_metrics()) - set(BUILT_IN_METRICS) == {"deep_share"}
    assert platform_metrics()["deep_share"] is deep
    skipped = plugins.metrics(BUILT_IN_METRICS)[1]
    assert any("'acme/likes' skipped: 'likes' is built in" in one for one in skipped)
    told = abtest("run", "--primary", "deep_shar", "--dry-run")
    assert told.code == 2 and "Did you mean 'deep_share'?" in told.err


def test_a_metric_of_what_is_not_simulated_is_told_before_anything_is_trained(
    abtest: Run, install: Callable[..., None]
) -> None:
    revenue = Metric("revenue_share", "Revenue", "", ("clicks",), ("revenue",))
    install(Point("abtest.metrics", "revenue_share", revenue))
    command = ("run", "-t", "popular", "-c", "random", "--world", "small")
    for asked in (("--primary", "revenue_share"), ("--guardrail", "revenue_share=-1%")):
        for further in ((), ("--dry-run",)):
            told = abtest(*command, *asked, *further)
            assert told.code == 2, told.err
            assert "'revenue_share' adds up 'revenue', which is no outcome of" in told.err
            assert "training" not in told.err


def test_columns_of_a_metric_are_a_tuple() -> None:
    with pytest.raises(ValueError, match=r"numerator is a text, expected a tuple: \(\"clicks\",\)"):
        Metric("clicks", "Clicks", "", ("clicks"))  # type: ignore[arg-type]


def test_a_section_stands_in_the_report_and_cannot_break_it(
    abtest: Run, install: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(
        "user_id,arm,v\n" + "".join(f"{i},{'ab'[i % 2]},{i % 5}\n" for i in range(200))
    )

    def cost(result: Any) -> Section:
        names = [c.treatment for c in result.comparisons]
        return Section(
            "Cost <b>", ("Two GPUs & more.",), ("Arm", "Cost"), [(n, "1") for n in names]
        )

    def fails(result: Any) -> Section:
        raise ValueError("no price list")

    install(
        Point("abtest.report_sections", "cost", cost),
        Point("abtest.report_sections", "fails", fails),
        Point("abtest.report_sections", "html", lambda result: "<script>"),
        Point("abtest.report_sections", "silent", lambda result: None),
    )
    assert abtest("analyze", "t.csv", "-m", "v", "-c", "a", "--out", "out").code == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Cost &lt;b&gt;" in page and "Two GPUs &amp; more." in page and "<script" not in page
    shown = abtest("report", "out", "--format", "md")
    assert "### Cost &lt;b&gt;" in shown.out and "| b | 1 |" in shown.out
    assert "plugin 'acme/fails' skipped: ValueError: no price list" in shown.err
    assert "plugin 'acme/html' skipped: it gives a str, expected a Section or None" in shown.err
    assert "silent" not in shown.err
    with pytest.raises(ValueError, match="row 1: 1 cells, expected 2"):
        Section("x", (), ("a", "b"), [("1",)])


def test_a_policy_without_settings_of_a_class_is_not_described_by_the_base(
    abtest: Run, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "from policies.base import Policy\n\n\nclass Mine(Policy):\n"
        "    def __init__(self, power=2):\n        self.power = power\n"
        "    def settings(self):\n        return {'power': self.power}\n"
        "    def score_videos(self, requests): ...\n"
    )
    shown = abtest("policy", "show", tmp_path / "mine.py")
    assert "power = 2" in shown.out and "Base of every policy" not in shown.out
