"""From a batch to losses: parts, augmentation, mixing and precision, with numbers and with tensors alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.training.trainings import CPU, classification
from torch import Tensor, nn

from shoal import rng
from shoal.augment import Augment
from shoal.errors import TrainingError
from shoal.tasks import training_loss
from shoal.training.objective import AUGMENT, MIXING, Mixing, Objective, Part

VALUES: dict[str, float] = dict(zip(MIXING, (0.7, 1.0, 2.0, 4.0, 5.0), strict=True))
VALUES[AUGMENT] = float(rng.key53(0, "augment", 3))


def pictures(count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 1, 6, 6, generator=generator)
    return inputs, torch.randint(3, (count,), generator=generator), torch.arange(count) + 10


def made(**changes: Any) -> Objective:
    task = classification()
    return Objective(task, task.loss, CPU, **changes)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


def test_a_batch_is_one_part_as_it_is() -> None:
    inputs, targets, index = pictures()
    (part,) = made().parts(inputs, targets, index, {}, count=1)
    assert (part.inputs is inputs, part.targets is targets, part.partners) == (True, True, None)


@pytest.mark.parametrize("mixing", [None, Mixing(0.4, 1.0)], ids=["plain", "mixed"])
@pytest.mark.parametrize("count", [2, 4, 8])
def test_parts_are_the_whole_in_order(count: int, mixing: Mixing | None) -> None:
    """Augmented and mixed as one batch, whatever the number of parts: examples find partners across them."""
    objective = made(augment=Augment(flip=True, translate=2), mixing=mixing)
    (whole,) = objective.parts(*pictures(), VALUES, count=1)
    parts = objective.parts(*pictures(), VALUES, count=count)
    assert [len(part.inputs) for part in parts] == [8 // count] * count
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    if mixing is None:
        assert all(part.partners is None for part in parts)
    else:
        assert whole.partners is not None
        assert torch.equal(torch.cat([part.partners for part in parts if part.partners is not None]), whole.partners)


@pytest.mark.parametrize("keys", [{"augment": Augment(flip=True, crop=0.5, cutout=2)}, {"mixing": Mixing(0.4, 1.0)}])
def test_values_may_be_numbers_or_tensors(keys: dict[str, Any]) -> None:
    objective = made(**keys)
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in VALUES.items()}
    (number,) = objective.parts(*pictures(), VALUES, count=1)
    (tensor,) = objective.parts(*pictures(), tensors, count=1)
    assert not torch.equal(number.inputs, pictures()[0])
    torch.testing.assert_close(number.inputs, tensor.inputs, rtol=1e-6, atol=1e-7)
    first, second = (
        objective.outputs_and_losses(model(), part, values, check=True)[1]
        for part, values in ((number, VALUES), (tensor, tensors))
    )
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scalar", [False, True])
def test_a_mixed_loss_is_that_of_both_labels_by_their_shares(scalar: bool) -> None:
    task = classification()
    loss = nn.functional.cross_entropy if scalar else task.loss
    objective = Objective(task, loss, CPU, mixing=Mixing(0.4, 0.0))
    inputs, targets, index = pictures()
    (part,) = objective.parts(inputs, targets, index, VALUES, count=1)
    outputs, losses = objective.outputs_and_losses(model(), part, VALUES, check=True)
    assert torch.equal(part.inputs, torch.lerp(inputs.flip(0), inputs, 0.7))
    torch.testing.assert_close(losses, 0.7 * loss(outputs, targets) + 0.3 * loss(outputs, targets.flip(0)))


def test_the_loss_that_is_minimised_may_be_another_than_the_one_measured() -> None:
    task = classification()
    objective = Objective(task, training_loss(task, 0.2), CPU)
    (part,) = objective.parts(*pictures(), {}, count=1)
    outputs, losses = objective.outputs_and_losses(model(), part, {}, check=True)
    wanted = nn.functional.cross_entropy(outputs, part.targets, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(losses, wanted)
    assert not torch.allclose(losses, task.loss(outputs, part.targets))


def test_outputs_of_16_bits_are_judged_in_32() -> None:
    objective = made(precision="bf16")
    (part,) = objective.parts(*pictures(), {}, count=1)
    seen: list[torch.dtype] = []
    net = model()
    net[1].register_forward_hook(lambda module, inputs, outputs: seen.append(outputs.dtype))
    outputs, losses = objective.outputs_and_losses(net, part, {}, check=True)
    assert seen == [torch.bfloat16]
    assert (outputs.dtype, losses.dtype) == (torch.float32, torch.float32)


def test_what_is_no_output_or_loss_is_explained_where_that_is_asked_for() -> None:
    part = Part(*pictures()[:2], None)
    with pytest.raises(TrainingError, match="the model returned tuple: expected one tensor"):
        made().outputs_and_losses(lambda inputs: (inputs, inputs), part, {}, check=True)
    task = classification()
    shaped = Objective(task, lambda outputs, targets: outputs, CPU)
    with pytest.raises(TrainingError, match=r"a tensor of shape \[8, 3\]"):
        shaped.outputs_and_losses(model(), part, {}, check=True)
    assert shaped.outputs_and_losses(model(), part, {}, check=False)[1].shape == (8, 3)
