from __future__ import annotations

from reports.compare import render_comparison
from tests.reports.conftest import make_result

A = make_result(1, context={"seed": 1, "data": {"content_hash": "aaaa"}}, users=200)
B = make_result(2, context={"seed": 2, "data": {"content_hash": "aaaa"}}, users=200)
C = make_result(3, context={"seed": 2, "data": {"content_hash": "cccc"}}, users=200)


def test_one_row_per_run_with_its_lift_and_verdict() -> None:
    text = render_comparison([("runs/a", A), ("runs/b", B)], ascii_only=True, width=80)
    for name, result in (("runs/a", A), ("runs/b", B)):
        row = next(line for line in text.splitlines() if line.startswith(name))
        relative = result.comparisons[0].metrics[0].relative
        assert relative is not None
        assert f"{100 * relative.value:+.1f} %" in row
        assert row.endswith(result.comparisons[0].verdict.state)


def test_differences_between_the_runs_are_named() -> None:
    same = render_comparison([("a", A), ("b", B)], ascii_only=True, width=80)
    assert "The runs differ in: seed (1, 2)." in same
    assert "different data" not in same
    other = render_comparison([("a", A), ("c", C)], ascii_only=True, width=110)
    assert "data (aaaa, cccc)" in other
    assert "warning: the runs are on different data" in other


def test_several_treatments_are_several_rows_and_fit_any_width() -> None:
    many = make_result(arms={"sasrec": 1.0, "视频": 1.3, "z" * 60: 0.9}, users=200)
    for width in (40, 80, 110):
        text = render_comparison([("run" * 30, many), ("b", B)], ascii_only=False, width=width)
        assert text.count("sasrec") == 3
        assert max(len(line) for line in text.splitlines()) <= width
    assert render_comparison([("r", many), ("b", B)], ascii_only=True, width=80).isascii()


def test_runs_without_context_compare() -> None:
    bare = make_result(4, users=200)
    assert "differ" not in render_comparison([("a", bare), ("b", bare)], ascii_only=True, width=80)
