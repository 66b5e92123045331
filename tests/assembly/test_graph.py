from __future__ import annotations

import logging
import sys
import warnings

import pytest
import torch
from torch import Tensor, nn

from shoal.assembly.graph import graph_of
from shoal.errors import ExportError


class Nested(nn.Module):
    """A buffer, a layer that is used twice, an operation outside of all modules, and one with two results."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        a, b = (self.inner(self.inner(x)) * self.scale).chunk(2, dim=1)
        return a + b


def test_every_edge_leads_somewhere_and_names_follow_the_modules() -> None:
    definition = graph_of(Nested().eval(), torch.zeros(2, 4))
    names = [node.name for node in definition.node]
    assert len(names) == len(set(names))
    assert {"x", "outputs", "inner/0/weight", "inner/1/running_mean", "scale", "add"} <= set(names)
    assert not any("num_batches_tracked" in name for name in names)
    assert all(before in names for node in definition.node for before in node.input)
    kinds = {node.name: node.op for node in definition.node}
    assert (kinds["x"], kinds["scale"], kinds["add"]) == ("Placeholder", "Parameter", "aten.add.Tensor")


def test_a_model_that_cannot_be_followed_is_one_quiet_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    class Choosy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            warnings.warn("mine", stacklevel=1)
            logging.getLogger("mine").warning("mine")
            sys.stdout.write("mine")
            return x if x.sum() > 0 else -x

    with pytest.raises(ExportError, match=r"^torch\.export cannot follow the model: Could not guard .*\.$") as caught:
        graph_of(Choosy(), torch.zeros(2, 4))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET
