"""A loss of the user's own, and what is said where it returns something else than a loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shoal.errors import TrainingError
from shoal.tasks import Targets, check_loss, usual, with_loss


def test_the_loss_is_replaced_and_the_rest_stays() -> None:
    def mine(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.sum(1) * 0 + 7

    task = usual(Targets(10, (), None, torch.device("cpu")))
    changed = with_loss(task, mine)
    assert changed.loss(torch.zeros(2, 10), torch.zeros(2)).tolist() == [7, 7]
    assert changed.metrics is task.metrics
    assert changed.outputs == 10


@pytest.mark.parametrize("shape", [(), (4,)])
def test_a_value_an_example_and_a_scalar_pass(shape: tuple[int, ...]) -> None:
    value = torch.zeros(shape, requires_grad=True)
    assert check_loss(value, 4) is value


@pytest.mark.parametrize("value", [0.5, None, [torch.zeros(())]])
def test_what_is_no_tensor_is_refused(value: object) -> None:
    with pytest.raises(TrainingError, match=rf"returned {type(value).__name__}: expected a tensor of shape \[4\]"):
        check_loss(value, 4)


@pytest.mark.parametrize("shape", [(4, 10), (3,), (4, 1), (1,)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match=r"expected a tensor of shape \[4\].* reduction='none'") as error:
        check_loss(torch.zeros(shape, requires_grad=True), 4)
    assert str(list(shape)) in str(error.value)


def test_a_loss_without_gradients_is_refused_in_training_only() -> None:
    with pytest.raises(TrainingError, match=r"does not depend on the model's weights.*\.detach\(\)"):
        check_loss(torch.zeros(4), 4)
    with torch.no_grad():
        check_loss(torch.zeros(4), 4)
