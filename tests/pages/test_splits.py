from __future__ import annotations

from shoal.pages import splits
from shoal.training import seams


def test_training_and_pages_mean_the_same_name() -> None:
    assert splits.AVERAGED == seams.AVERAGED


def test_every_split_has_a_place_a_title_and_a_legend_of_its_own() -> None:
    names = [f"{split}.loss" for split in splits.MEASURED]
    assert splits.splits_of(reversed(names)) == list(splits.MEASURED)
    for words in (splits.title, splits.in_legend):
        assert len({words(split) for split in splits.MEASURED}) == len(splits.MEASURED)
    assert [split for split in splits.MEASURED if splits.is_averaged(split)] == ["valid_average", "test_average"]


def test_what_only_looks_like_a_split_is_none() -> None:
    assert splits.splits_of(["validation.loss", "average.loss", "train_average.loss", "test", "lr"]) == []
