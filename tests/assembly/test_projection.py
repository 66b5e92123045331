from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shoal import datasets
from shoal.assembly.projection import MOST, Projection, last_linear, metadata, project, write
from shoal.datasets import Batches, Data
from shoal.recipe.parts import Arrays


def data(count: int = 30, *, targets: Tensor | None = None) -> Data:
    inputs = torch.arange(count * 4, dtype=torch.float32).view(count, 4)
    return datasets.from_objects((inputs, torch.arange(count) % 3 if targets is None else targets), Arrays(valid=0))


def batches(found: Data) -> Batches:
    return datasets.batches(
        found.splits["train"], batch_size=16, seed=0, drop_last=False, device=torch.device("cpu"),
        normalisation=found.normalisation, training=False, pad=False,
    )  # fmt: skip


class Backwards(nn.Module):
    """Layers that are executed in another order than they are declared in."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.first = nn.Linear(5, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


def test_the_last_linear_is_the_last_that_is_executed() -> None:
    found, model = data(), Backwards().eval()
    projection = project(model, batches(found))
    assert isinstance(projection, Projection)
    assert projection.vectors.shape == (30, 5)
    with torch.no_grad():
        assert torch.equal(model.last(projection.vectors[:16]), projection.outputs[:16])
    assert projection.targets.tolist() == [number % 3 for number in range(30)]
    assert not model.last._forward_pre_hooks


def test_at_most_a_thousand_are_projected() -> None:
    found = project(nn.Linear(4, 3), batches(data(1_100)))
    assert isinstance(found, Projection)
    assert len(found.vectors) == len(found.targets) == len(found.inputs) == MOST


def test_a_model_without_a_linear_layer_has_none() -> None:
    assert project(nn.Identity(), batches(data())) == (
        "the model has no nn.Linear, so there is no last hidden layer to project"
    )


def test_a_linear_layer_over_something_else_than_examples_has_none() -> None:
    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x[:16].T).T

    assert project(Transposed(), batches(data(16))) == "the last nn.Linear does not take one vector an example"


def test_hooks_are_gone_after_an_error() -> None:
    model = nn.Linear(4, 3)
    try:
        with last_linear(model):
            raise KeyError
    except KeyError:
        pass
    assert not model._forward_pre_hooks


def projection(targets: Tensor, outputs: int = 3) -> Projection:
    rows = len(targets)
    return Projection(
        torch.randn(rows, 2), torch.eye(outputs)[torch.arange(rows) % outputs], targets, torch.zeros(rows, 4)
    )


def test_metadata_name_classes_and_guesses() -> None:
    rows = metadata(projection(torch.tensor([0, 2])), ["a\tcat", "dog", ""])
    assert rows == [["label", "predicted", "example"], ["a cat", "a cat", "0"], ["2", "dog", "1"]]
    assert metadata(projection(torch.tensor([0, 2])), None)[1:] == [["0", "0", "0"], ["2", "1", "1"]]


def test_metadata_of_real_values_and_of_several_labels_are_the_targets() -> None:
    assert metadata(projection(torch.tensor([0.5, -1.0])), None) == [["target", "example"], ["0.5", "0"], ["-1", "1"]]
    several = metadata(projection(torch.tensor([[0.0, 1.0], [1.0, 1.0]])), ["a", "b"])
    assert several == [["target", "example"], ["0 1", "0"], ["1 1", "1"]]


def test_a_table_has_no_thumbnails(tmp_path: Path) -> None:
    found = data()
    made = project(Backwards().eval(), batches(found))
    assert isinstance(made, Projection)
    write(made, tmp_path, found)
    assert sorted(path.name for path in (tmp_path / "projector").iterdir()) == ["metadata.tsv", "vectors.tsv"]
    assert "sprite" not in (tmp_path / "projector_config.pbtxt").read_text()
    np.testing.assert_allclose(np.loadtxt(tmp_path / "projector" / "vectors.tsv"), made.vectors, rtol=1e-5)
