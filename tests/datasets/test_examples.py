from __future__ import annotations

import json

import torch

from shoal.datasets import Examples, Normalisation


def test_length_counts_the_rows_of_the_split():
    whole = Examples(torch.zeros(5, 2), torch.zeros(5))
    assert len(whole) == 5
    assert len(Examples(whole.inputs, whole.targets, torch.tensor([1, 4]))) == 2


def test_normalisation_leaves_its_argument_alone():
    inputs = torch.randn(4, 3)
    before = inputs.clone()
    constants = Normalisation(torch.tensor([1.0, 2, 3]), torch.tensor([0.1, 3, 7]))
    assert torch.equal(constants.apply(inputs), (before - constants.mean) / constants.deviation)
    assert torch.equal(inputs, before)


def test_normalisation_survives_json_to_the_bit():
    constants = Normalisation(torch.randn(3, 1, 1), torch.rand(3, 1, 1) + 0.1)
    back = Normalisation.from_plain(json.loads(json.dumps(constants.to_plain())))
    assert torch.equal(back.mean, constants.mean)
    assert torch.equal(back.deviation, constants.deviation)
    assert back.mean.dtype == torch.float32
