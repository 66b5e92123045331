"""What a recording must not hold: rows as the values say, values that Python took, memory that is another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.trainings import network
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training.recordable import NoAsking, check_graph, check_memory, draws
from shoal.training.trial import NotRecordableError


def traced(step: Callable[..., Any], *tensors: Tensor) -> fx.GraphModule:
    with NoAsking():
        return make_fx(step)(*tensors)


ROWS: dict[str, Callable[[Tensor], object]] = {
    "nonzero": lambda x: len((x > 3).nonzero()),
    "where": lambda x: len(torch.where(x > 3)[0]),
    "masked_select": lambda x: x.masked_select(x > 3).sum(),
    "a mask as an index": lambda x: x[x > 3].numel(),
    "a mask beside a slice": lambda x: x.view(2, 2)[:, x[:2] > 3].sum(),
    "unique": lambda x: x.unique().numel(),
    "unique of dim": lambda x: torch.unique(x, return_counts=True, dim=0)[0].numel(),
    "by name": lambda x: torch.ops.aten.nonzero.default(x).sum(),
}


@pytest.mark.parametrize("name", ROWS)
def test_as_many_rows_as_the_values_say_are_refused(name: str) -> None:
    with pytest.raises(NotRecordableError, match="returns as many rows as the values of a tensor say"):
        check_graph(traced(ROWS[name], torch.arange(4.0)), copy=network(), apart=network())


@pytest.mark.parametrize(
    "take",
    [lambda x: x.tolist(), lambda x: x.detach().numpy(), np.asarray, lambda x: np.from_dlpack(x).max()],
    ids=["tolist", "numpy", "array", "dlpack"],
)
def test_taking_values_is_refused(take: Callable[[Tensor], object]) -> None:
    with pytest.raises(RuntimeError, match="data-dependent"):
        traced(lambda x: take(x), torch.ones(2))


def test_indices_of_a_fixed_number_and_masks_that_are_multiplied_with_are_recorded() -> None:
    def step(x: Tensor, chosen: Tensor) -> Tensor:
        x = x[chosen] + x[:, None].expand(4, 2)[..., 0][chosen] + x[1:3].sum() + x[None, 2]
        x = torch.where(x > 2, x, -x) * (x > 1)
        x = x.repeat_interleave(2)
        x[x > 3] = 0.0
        return x

    graph = traced(step, torch.arange(4.0), torch.tensor([0, 2]))
    check_graph(graph, copy=network(), apart=network())
    assert torch.equal(graph(torch.arange(4.0), torch.tensor([0, 2])), step(torch.arange(4.0), torch.tensor([0, 2])))


def test_a_tensor_that_is_no_buffer_may_be_read_and_not_written_to() -> None:
    state = torch.zeros(3)
    written: dict[str, Callable[[Tensor], object]] = {
        "add_": lambda x: state.add_(x),
        "mul_": lambda x: state[1:].view(-1).mul_(2.0) + x[1:],
        "copy_": lambda x: state.copy_(x),
        "fill_": lambda x: state.data.fill_(1.0) + x,
        "lerp_": lambda x: state.unsqueeze(0).lerp_(x, 0.1),
    }
    for name, step in written.items():
        with pytest.raises(NotRecordableError, match=f"^{name} changes a tensor that is no buffer"):
            check_graph(traced(step, torch.ones(3)), copy=network(), apart=network())

    def reads(x: Tensor) -> Tensor:
        fresh = torch.tensor([1.0, 2.0, 3.0])
        return (state.clone().add_(x) * 2).mul_(3.0) + fresh.add_(1.0)

    check_graph(traced(reads, torch.ones(3)), copy=network(), apart=network())


def test_parameters_and_attributes_of_the_models_are_no_constants() -> None:
    copy, apart = network(), network()
    apart.aux = torch.ones(10)  # type: ignore[assignment]
    seen = [apart[0].bias, copy[0].bias, apart[1].running_mean, copy[0].bias.detach()[2:], apart.aux]
    seen += [nn.Parameter(torch.ones(1))]

    def by(tensor: Tensor) -> fx.GraphModule:
        return traced(lambda x: x * tensor[0], torch.ones(3))

    for tensor in seen:
        with pytest.raises(NotRecordableError, match=r"^it reads a parameter or buffer past the model"):
            check_graph(by(tensor), copy=copy, apart=apart)
    check_graph(traced(lambda x: x * torch.ones(3).mul(2), torch.ones(3)), copy=copy, apart=apart)
    teacher = torch.randn(3)
    check_graph(traced(lambda x: x * teacher, torch.ones(3)), copy=copy, apart=apart)


def test_whether_a_recording_draws() -> None:
    assert draws(traced(lambda x: nn.functional.dropout(x, 0.5), torch.ones(3)))
    assert draws(traced(lambda x: x + torch.rand_like(x), torch.ones(3)))
    assert not draws(traced(lambda x: nn.functional.dropout(x, 0.5, training=False).exp(), torch.ones(3)))


def test_parameters_in_one_memory_are_refused_and_one_parameter_of_two_names_is_not() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    check_memory(model)
    model[1].weight = model[0].weight
    check_memory(model)
    flat = torch.randn(6)
    model[0].bias.data, model[1].bias.data = flat[:3], flat[3:]  # side by side, as an RNN's on a GPU
    check_memory(model)
    model[1].bias.data = flat[2:5]
    with pytest.raises(
        NotRecordableError, match=r"0\.bias and 1\.bias are different parameters or buffers in the same"
    ):
        check_memory(model)
    model[1].bias.requires_grad_(False)
    with pytest.raises(NotRecordableError, match="same memory"):
        check_memory(model)
    model[0].bias.requires_grad_(False)  # nobody writes to either
    check_memory(model)
    model[2].running_mean = model[2].weight.data
    with pytest.raises(NotRecordableError, match=r"2\.(weight|running_mean) and"):
        check_memory(model)
