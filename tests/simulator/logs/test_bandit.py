"""Import of tables of logged choices, and replay of what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.errors import DataError
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from simulator.logs.importers.bandit import import_bandit, parse_columns
from simulator.replay import replay, replay_given

OPEN_BANDIT = """,timestamp,item_id,position,click,propensity_score,user_feature_0
0,2019-11-24 00:00:01.250000+00:00,7,3,0,0.25,abc
1,2019-11-24 00:00:02+00:00,10,1,1,0.5,abd
2,2019-11-24 00:00:03+00:00,7,2,1,0.125,abc
"""


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_open_bandits_files_need_no_names(tmp_path: Path) -> None:
    report = import_bandit(_write(tmp_path / "men.csv", OPEN_BANDIT), tmp_path / "log")
    dataset = Dataset.open(tmp_path / "log")
    rows = dataset.scan("impressions").collect()
    assert rows["video_id"].to_list() == [0, 1, 0]
    assert dataset.scan("videos").collect()["caption"].to_list() == ["7", "10"]
    assert rows["propensity"].to_list() == [0.25, 0.5, 0.125]
    assert rows["is_click"].to_list() == rows["reward"].to_list() == [0, 1, 1]
    assert rows["time_ms"].to_list()[0] == 1_574_553_601_250
    assert rows["user_id"].n_unique() == 3
    assert not [f for f in check(dataset) if f.severity == "error"]
    assert "open-bandit" in report.render()
    declared = dataset.info.randomisation
    assert declared is not None
    assert declared["videos"]["pool"] == "all"


PLAIN = "who,what,got,chance,new,day\nb,x,2.5,0.5,0.2,3\na,y,0,0.25,0.1,1\nb,x,1,0.5,1,2\n"
NAMES = "action=what,reward=got,propensity=chance,user=who,target=new"


def test_a_plain_table_with_named_columns(tmp_path: Path) -> None:
    import_bandit(_write(tmp_path / "t.csv", PLAIN), tmp_path / "log", parse_columns(NAMES))
    rows = Dataset.open(tmp_path / "log").scan("impressions").collect()
    assert rows["user_id"].to_list() == [0, 1, 1]
    assert rows["reward"].to_list() == [0.0, 2.5, 1.0]
    assert rows["is_click"].to_list() == [0, 1, 1]
    assert rows["target_probability"].to_list() == [0.1, 0.2, 1.0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("b,x,2.5,0,0.2,3", "line 2: chance is '0.0', expected"),
        ("b,x,2.5,1.5,0.2,3", "line 2: chance is '1.5'"),
        ("b,x,much,0.5,0.2,3", "line 2: got is 'much', expected a number"),
        ("b,,2.5,0.5,0.2,3", "line 2: what is "),
        ("b,x,2.5,0.5,-0.2,3", "line 2: new is '-0.2'"),
    ],
)
def test_bad_cells_are_named_and_nothing_is_written(
    tmp_path: Path, line: str, expected: str
) -> None:
    text = PLAIN.replace("b,x,2.5,0.5,0.2,3", line)
    with pytest.raises(DataError) as raised:
        import_bandit(_write(tmp_path / "t.csv", text), tmp_path / "log", parse_columns(NAMES))
    assert expected in str(raised.value)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("action=a,reward=b", "no column is named for propensity"),
        ("acton=a,reward=b,propensity=c", "Did you mean 'action'?"),
        ("action=a,action=b,reward=b,propensity=c", "'action' is named twice"),
        ("action", "not NAME=COLUMN"),
    ],
)
def test_names_that_cannot_be(text: str, expected: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_columns(text)
    assert expected in str(raised.value)


def test_a_table_that_is_none_of_open_bandits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'item_id'.*--propensities"):
        import_bandit(_write(tmp_path / "t.csv", PLAIN), tmp_path / "log")


def _bandit(tmp_path: Path, rows: int = 4_000) -> tuple[Dataset, float, float]:
    """Three actions, propensities of two contexts; truth of another policy by enumeration."""
    random = np.random.default_rng(1)
    logging = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])
    target = np.array([[0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    mean = np.array([[0.1, 0.3, 0.5], [0.6, 0.2, 0.1]])
    context = random.integers(0, 2, rows)
    action = (random.random(rows)[:, None] > logging[context].cumsum(axis=1)).sum(axis=1)
    reward = (random.random(rows) < mean[context, action]).astype(int)
    lines = ["action,reward,p,target,user"] + [
        f"{a},{r},{logging[c, a]},{target[c, a]},{i // 2}"
        for i, (c, a, r) in enumerate(zip(context, action, reward, strict=True))
    ]
    names = parse_columns("action=action,reward=reward,propensity=p,target=target,user=user")
    import_bandit(_write(tmp_path / "b.csv", "\n".join(lines) + "\n"), tmp_path / "log", names)
    return (
        Dataset.open(tmp_path / "log"),
        float((target * mean).sum(axis=1).mean()),
        float((logging * mean).sum(axis=1).mean()),
    )


def test_a_policy_given_by_its_probabilities_is_valued_without_candidates(tmp_path: Path) -> None:
    dataset, truth, logged = _bandit(tmp_path)
    result = replay_given(dataset, ["target_probability"])
    metric = next(m for m in result.metrics if m.name == "reward")
    assert metric.role == "primary"
    for name in ("ips", "snips"):
        found = metric.estimates[name]
        for estimate, exact in ((found.treatment, truth), (found.control, logged)):
            assert estimate is not None
            assert abs(estimate.value - exact) < 4 * estimate.standard_error
    assert result.verdict == "caution"
    assert any("only as drawn" in r for r in metric.best.reasons)


def test_probabilities_that_are_none_are_refused_with_their_row(tmp_path: Path) -> None:
    dataset, _, _ = _bandit(tmp_path, rows=50)
    with pytest.raises(DataError, match="no column 'p2'"):
        replay_given(dataset, ["p2"])
    with pytest.raises(DataError, match=r"impressions row \d+: time_ms is .* up to 1"):
        replay_given(dataset, ["time_ms"])


def test_rankers_choose_among_all_actions_of_a_bandit_log(tmp_path: Path) -> None:
    dataset, _, _ = _bandit(tmp_path)

    def last(requests: object) -> np.ndarray:
        return requests.candidates.astype(np.float32)  # type: ignore[attr-defined]

    result = replay(dataset, {"last": last}, treatment="last", control="last", metrics=["reward"])
    assert result.eligible == "all videos"
    found = result.metrics[0].estimates["ips"].treatment
    assert found is not None
    assert abs(found.value - 0.3) < 4 * found.standard_error
