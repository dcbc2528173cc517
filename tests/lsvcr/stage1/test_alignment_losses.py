from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lsvcr.stage1.losses import (
    alignment_loss,
    behaviour_loss,
    gather,
    info_nce,
    language_model_loss,
)

TAU = 0.07


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def brute_info_nce(
    anchors: np.ndarray, targets: np.ndarray, same: list[int] | None = None
) -> float:
    total = 0.0
    for i, anchor in enumerate(anchors):
        own = math.exp(cosine(anchor, targets[i]) / TAU)
        others = [
            math.exp(cosine(anchor, targets[j]) / TAU)
            for j in range(len(targets))
            if j != i and (same is None or same[i] != same[j])
        ]
        total -= math.log(own / (own + sum(others)))
    return total / len(anchors)


def two(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, 5, generator=random, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("same", [None, [4, 1, 4, 4, 2, 1]])
def test_info_nce_is_what_loops_compute(same: list[int] | None) -> None:
    a, b = two(6)
    found = info_nce(a, b, same=None if same is None else torch.tensor(same))
    assert float(found) == pytest.approx(brute_info_nce(a.numpy(), b.numpy(), same))
    # Lengths do not matter.
    found = info_nce(3.0 * a, 0.2 * b, same=None if same is None else torch.tensor(same))
    assert float(found) == pytest.approx(brute_info_nce(a.numpy(), b.numpy(), same))


def test_groups_and_negatives_are_what_loops_compute() -> None:
    a, b = two(6)
    group, same = [0, 1, 0, 0, 1, 1], [4, 1, 4, 0, 2, 1]
    negatives = torch.randn(
        6, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    known = torch.tensor([[True, False, True]] * 3 + [[False] * 3] * 3)
    total = 0.0
    for i in range(6):
        own = math.exp(cosine(a[i].numpy(), b[i].numpy()) / TAU)
        others = [
            math.exp(cosine(a[i].numpy(), b[j].numpy()) / TAU)
            for j in range(6)
            if group[i] == group[j] and same[i] != same[j]
        ]
        others += [
            math.exp(cosine(a[i].numpy(), negatives[i, k].numpy()) / TAU)
            for k in range(3)
            if known[i, k]
        ]
        total -= math.log(own / (own + sum(others)))
    found = info_nce(
        a, b, same=torch.tensor(same), group=torch.tensor(group), negatives=negatives, known=known
    )
    assert float(found) == pytest.approx(total / 6)


def test_nobody_is_a_negative_of_themselves() -> None:
    a, b = two(4)
    who = torch.tensor([7, 3, 7, 5])
    expected = brute_info_nce(a.numpy(), b.numpy(), [7, 3, 7, 5]) / 2
    expected += brute_info_nce(b.numpy(), a.numpy(), [7, 3, 7, 5]) / 2
    assert float(alignment_loss(a, b, same=who)) == pytest.approx(expected)


def test_a_popular_target_does_not_hold_the_loss_up() -> None:
    """Everybody wants the same and says so: nothing is left to learn."""
    a = torch.ones(4, 3)
    assert float(info_nce(a, a, same=torch.zeros(4, dtype=torch.long))) == 0.0
    assert float(info_nce(a, a)) == pytest.approx(math.log(4))


def test_alignment_is_info_nce_both_ways() -> None:
    a, b = two(5)
    expected = (brute_info_nce(a.numpy(), b.numpy()) + brute_info_nce(b.numpy(), a.numpy())) / 2
    assert float(alignment_loss(a, b)) == pytest.approx(expected)
    assert float(alignment_loss(b, a)) == pytest.approx(expected)


def test_behaviour_is_a_choice_between_two_histories() -> None:
    a, b = two(6)
    person = two(6, seed=1)[0]
    known = torch.tensor([True, False, True, True, False, True])
    expected = []
    for i in np.flatnonzero(known.numpy()):
        own, other = (math.exp(cosine(person[i].numpy(), side[i].numpy()) / TAU) for side in (a, b))
        expected.append(-math.log(own / (own + other)))
    assert float(behaviour_loss(person, a, b, known)) == pytest.approx(np.mean(expected))


def test_behaviour_of_people_with_one_history_is_nothing() -> None:
    a, b = two(3)
    person = a.clone().requires_grad_()
    loss = behaviour_loss(person, a, b, torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0.0 and float(person.grad.abs().sum()) == 0.0  # type: ignore[union-attr]


def test_only_answers_are_predicted() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 7, generator=random)
    labels = torch.tensor([[3, 0, -100, -100], [6, 5, 2, -100]])
    losses = []
    for row in range(2):
        for place in range(4):
            if labels[row, place] >= 0:
                chances = logits[row, place].double().exp()
                losses.append(-math.log(float(chances[labels[row, place]] / chances.sum())))
    assert float(language_model_loss(logits, labels)) == pytest.approx(np.mean(losses), rel=1e-5)
    changed = logits.clone()
    changed[0, 2:] += 9.0
    assert language_model_loss(changed, labels) == language_model_loss(logits, labels)
    assert float(language_model_loss(logits, torch.full_like(labels, -100))) == 0.0


def test_one_device_needs_no_process_group() -> None:
    rows = torch.randn(3, 2)
    assert gather(rows) is rows


def test_two_processes_learn_what_one_would(tmp_path: Path) -> None:
    """Losses and gradients of halves, with negatives gathered, against the whole batch at once."""
    script = textwrap.dedent(
        """
        import sys
        import torch, torch.distributed as dist
        from policies.distributed import mean_gradients
        from lsvcr.stage1.losses import alignment_loss, info_nce
        number, store = int(sys.argv[1]), sys.argv[2]
        dist.init_process_group("gloo", f"file://{store}/group", rank=number, world_size=2)
        given = torch.load(f"{store}/given.pt", weights_only=True)
        weight = torch.nn.Parameter(given["weight"])
        mine = slice(3 * number, 3 * number + 3)
        a, b = given["a"][mine] @ weight, given["b"][mine] @ weight
        loss = info_nce(a, b, same=given["same"][mine]) + alignment_loss(a, b.tanh())
        loss.backward()
        mean_gradients([weight])
        torch.save({"loss": loss.detach(), "gradient": weight.grad}, f"{store}/{number}.pt")
        dist.destroy_process_group()
        """
    )
    a, b = two(6)
    weight = two(5, seed=2)[0].requires_grad_()
    same = torch.tensor([0, 1, 2, 1, 3, 0])
    given = {"a": a, "b": b, "weight": weight.detach(), "same": same}
    torch.save(given, tmp_path / "given.pt")
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number), str(tmp_path)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    told = [torch.load(tmp_path / f"{number}.pt", weights_only=True) for number in range(2)]
    x, y = a @ weight, b @ weight
    loss = info_nce(x, y, same=same) + alignment_loss(x, y.tanh())
    loss.backward()
    torch.testing.assert_close((told[0]["loss"] + told[1]["loss"]) / 2, loss.detach())
    for process_told in told:
        torch.testing.assert_close(process_told["gradient"], weight.grad)
    assert F.cosine_similarity(told[0]["gradient"].flatten(), weight.grad.flatten(), 0) > 0.999  # type: ignore[union-attr]
