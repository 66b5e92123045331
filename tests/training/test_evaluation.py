"""One pass over a split: exact means, padding that weighs nothing, and nothing left changed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.trainings import Training, classification, evaluation_batches, examples, network, same, weights
from torch import Tensor, nn

from shoal.datasets import Examples
from shoal.errors import DataError, TrainingError
from shoal.tasks import with_loss
from shoal.training.evaluation import as_row, evaluate
from shoal.training.weights import evaluating

SPLIT = examples(21, seed=1)


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("batch_size", [4, 7, 21, 64])
def test_metrics_are_means_over_examples_however_they_are_cut(batch_size: int, pad: bool) -> None:
    model = network().eval()
    found = evaluate(model, classification(), evaluation_batches(SPLIT, pad=pad, batch_size=batch_size), seed=0)
    with torch.no_grad():
        outputs = model(SPLIT.inputs).double()
    losses = -outputs.log_softmax(1)[torch.arange(21), SPLIT.targets]
    assert list(found) == ["loss", "accuracy"]
    assert found["loss"] == pytest.approx(losses.mean().item(), rel=1e-6)
    assert found["accuracy"] == pytest.approx((outputs.argmax(1) == SPLIT.targets).double().mean().item(), rel=1e-12)


@pytest.mark.parametrize("poison", [float("inf"), float("nan")])
def test_padding_weighs_nothing_even_where_its_outputs_are_not_finite(poison: float) -> None:
    model = network().eval()
    padded, plain = (evaluation_batches(SPLIT, pad=pad) for pad in (True, False))
    calls = 0

    def forward(inputs: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        outputs = model(inputs)
        if calls == padded.per_epoch:
            outputs[21 % 8 :] = poison
        return outputs

    expected = evaluate(model, classification(), plain, seed=0)
    assert evaluate(forward, classification(), padded, seed=0) == pytest.approx(expected, rel=1e-6)
    assert calls == 3


def test_a_scalar_loss_counts_by_the_size_of_its_batch() -> None:
    task = with_loss(classification(), lambda outputs, targets: nn.functional.cross_entropy(outputs, targets))
    model = network().eval()
    found = evaluate(model, task, evaluation_batches(SPLIT, pad=False), seed=0)
    expected = evaluate(model, classification(), evaluation_batches(SPLIT, pad=False), seed=0)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_a_scalar_loss_of_a_padded_batch_is_refused() -> None:
    task = with_loss(classification(), lambda outputs, targets: nn.functional.cross_entropy(outputs, targets))
    with pytest.raises(TrainingError, match="one number a batch, and this batch is padded"):
        evaluate(network().eval(), task, evaluation_batches(SPLIT, pad=True), seed=0)


def test_a_split_without_examples_is_refused() -> None:
    class Nothing:
        per_epoch = 0

        def start(self, at: Any = None) -> Any:
            return iter(())

    with pytest.raises(DataError, match="without examples"):
        evaluate(network(), classification(), Nothing(), seed=0)


class Noisy(nn.Module):
    """Draws random numbers from all three libraries, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs) + torch.randn(3) + random.random() + torch.tensor(np.random.random(3)).float()


def test_a_noisy_model_is_evaluated_alike_each_time_and_training_sees_nothing_of_it() -> None:
    model = Noisy()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    expected = [torch.rand(()).item(), random.random(), np.random.random()]
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    results = [evaluate(model, classification(), evaluation_batches(SPLIT, pad=True), seed=3) for _ in range(2)]
    assert results[0] == results[1]
    assert results[0] != evaluate(model, classification(), evaluation_batches(SPLIT, pad=True), seed=4)
    assert [torch.rand(()).item(), random.random(), np.random.random()] == expected


def test_how_often_a_run_is_evaluated_does_not_change_what_it_learns() -> None:
    often = Training({"evaluate": {"every": 0.2}}, model=network(dropout=0.5))
    seldom = Training({"evaluate": {"every": 9}}, model=network(dropout=0.5))
    often.fit()
    seldom.fit()
    assert len(often.recorder.written) > len(seldom.recorder.written)
    assert same(weights(often.model), weights(seldom.model))


def test_evaluation_changes_neither_weights_nor_running_statistics_nor_gradients() -> None:
    training = Training()
    before = weights(training.model)
    (result,) = training.engine.evaluate(evaluation_batches(SPLIT, pad=True))
    assert same(before, weights(training.model))
    assert all(p.grad is None for p in training.model.parameters())
    assert set(result) == {"loss", "accuracy"}


def test_modes_are_given_back_module_by_module() -> None:
    model = nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.Dropout(0.5), nn.Linear(10, 3))
    model[1].eval()

    def interrupted() -> None:
        with evaluating(model):
            assert not any(module.training for module in model.modules())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [module.training for module in model.modules()] == [True, True, False, True, True]


def test_a_module_that_overrides_train_is_put_back_too() -> None:
    class Frozen(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> nn.Module:
            return super().train(False)

    model = nn.Sequential(nn.Linear(6, 10), Frozen(10)).train()
    with evaluating(model):
        pass
    assert [module.training for module in model.modules()] == [True, True, False]


def test_metrics_are_named_by_their_split() -> None:
    assert as_row("test", {"loss": 1.0, "r2": 0.5}) == {"test.loss": 1.0, "test.r2": 0.5}


def test_labels_stay_labels() -> None:
    """The last, padded batch repeats an example: its label is one of the split's."""
    *_, last = evaluation_batches(Examples(SPLIT.inputs, SPLIT.targets), pad=True).start()
    assert last.weight is not None
    assert last.weight.sum() == last.size == 5
