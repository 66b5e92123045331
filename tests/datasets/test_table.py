from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from shoal.datasets import BUILDERS, Data, build, register
from shoal.errors import DataError
from shoal.recipe.parts import Arrays, DatasetPart, MapStyle
from shoal.recipe.tables import TABLES


@pytest.fixture(autouse=True)
def tables_as_before() -> Iterator[None]:
    parts, builders = dict(TABLES["dataset"]), dict(BUILDERS)
    yield
    for table, before in ((TABLES["dataset"], parts), (BUILDERS, builders)):
        table.clear()
        table.update(before)


def own(name: str, factory: Any, **fields: Any) -> Data:
    register(name, factory)
    return build(TABLES["dataset"][name](**fields))


def test_every_entry_has_a_builder():
    assert set(TABLES["dataset"]) == set(BUILDERS)


def test_a_factory_gets_the_fields_that_it_has_as_parameters():
    seen: dict[str, Any] = {}

    def blobs(n: int = 30, spread: float = 1.0, path: str | None = "here") -> Any:
        seen.update(n=n, spread=spread, path=path)
        return np.zeros((n, 2)), np.arange(n) % 2

    data = own("blobs", blobs, n=40, valid=4)
    assert seen == {"n": 40, "spread": 1.0, "path": "here"}
    assert data.sizes == {"train": 36, "valid": 4}


def test_a_factory_may_return_splits_datasets_or_data():
    pair = (np.zeros((10, 2)), np.zeros(10))
    assert own("splits", lambda: {"train": pair, "valid": pair, "test": pair}).sizes["test"] == 10
    assert own("map", lambda: TensorDataset(torch.zeros(10, 2), torch.zeros(10))).sizes == {"train": 9, "valid": 1}
    ready = own("ready", lambda: pair)
    assert own("data", lambda: ready) is ready


def test_an_unknown_name_is_refused_with_the_nearest():
    class Other(DatasetPart):
        name: str = "digit"

    with pytest.raises(DataError, match=r"unknown dataset 'digit': did you mean 'digits'.*--module MODULE"):
        build(Other())


def test_a_dataset_object_has_to_be_passed_again():
    with pytest.raises(
        DataError, match=r"dataset.name = map_style: such a dataset is an object that is passed from Py"
    ):
        build(MapStyle())
    with pytest.raises(DataError, match="or pass arrays from Python"):
        build(Arrays())
