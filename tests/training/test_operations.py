from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training.operations import Returned, Timed, heavy_share, timed
from shoal.training.phases import phase

WEIGHT, INPUTS = torch.ones(3, 2), torch.ones(4, 2)


def step(weight: Tensor, inputs: Tensor) -> Tensor:
    with phase("forward"):
        outputs = inputs @ weight.t()
    first, _ = outputs.split([1, 2], dim=1)
    return torch.cond(first.sum() > 0, lambda x: x.sin().to(torch.float64), lambda x: x.to(torch.float64), (first,))


def listed() -> dict[str, Timed]:
    graph = make_fx(step)(WEIGHT, INPUTS)
    assert isinstance(graph, fx.GraphModule)
    found = timed(graph, [WEIGHT, INPUTS], state=1, names=["weight", "inputs"])
    return {operation.name: operation for operation in found}


def test_an_operation_says_what_it_is_given_and_what_it_returns() -> None:
    found = listed()
    assert list(found) == ["t", "mm", "split_with_sizes", "sum_1", "gt", "cond"]
    assert found["t"].inputs == ("weight",)
    assert found["mm"].inputs == ("inputs", "t")
    assert found["mm"].returns == (Returned("float32", (4, 3)),)
    assert found["split_with_sizes"].inputs == ("mm", "[1, 2]", "1")
    assert found["split_with_sizes"].returns == (Returned("float32", (4, 1)), Returned("float32", (4, 2)))
    assert found["sum_1"].operation == "sum"
    assert found["sum_1"].inputs == ("split_with_sizes[0]",)
    assert found["gt"].operation == "gt.Scalar"
    assert all(operation.seconds is not None and operation.seconds > 0 for operation in found.values())


def test_what_only_looks_at_the_state_is_not_replayed() -> None:
    assert [name for name, operation in listed().items() if not operation.replayed] == ["t"]


def test_a_branch_lists_its_operations_under_its_own_names() -> None:
    cond = listed()["cond"]
    where, where_not = cond.inside
    assert [operation.name for operation in where] == ["cond.sin", "cond._to_copy"]
    assert where[0].inputs == ("split_with_sizes[0]",)
    assert where[1].inputs == ("cond.sin", "dtype=float64")
    assert where[1].returns == cond.returns == (Returned("float64", (4, 1)),)
    assert [operation.operation for operation in where_not] == ["_to_copy"]
    assert all(operation.seconds is None for operation in where)
    assert cond.seconds


def test_the_share_of_what_is_heavy_is_of_what_is_replayed() -> None:
    small, heavy = Timed("a", "aten.add", (), (), 3e-6), Timed("b", "aten.mm", (), (), 1e-6)
    once = Timed("c", "aten.mm", (), (), 1.0, replayed=False)
    assert heavy_share([small, heavy, once]) == pytest.approx(0.25)


def test_matrix_products_are_heavy() -> None:
    assert [name for name, operation in listed().items() if operation.heavy] == ["mm"]
