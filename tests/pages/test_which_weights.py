from __future__ import annotations

from typing import Any

import pytest

from shoal.pages.which_weights import average_name, weights_in_words

BOTH = {"test.loss": 0.2, "test_average.loss": 0.1}


def known(recipe: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"identity": {"recipe": recipe}, "metrics": BOTH, **facts}


def test_averaged_weights_count_where_no_best_ones_were_kept() -> None:
    ema = known({"average": {"name": "ema", "decay": 0.99}})
    assert weights_in_words(ema) == "averaged (ema); weights=raw takes the last ones"
    best = {"metric": "valid.loss", "value": 0.1, "step": 1200}
    assert weights_in_words({**ema, "best": best}) == "the best by valid.loss, of step 1,200"
    assert weights_in_words({**ema, "best": {**best, "metric": "valid_average.loss"}}).endswith("; they are averaged")
    assert weights_in_words({"metrics": {"test.loss": 0.2}}) == ""


def test_an_optimizer_that_averages_is_named() -> None:
    assert average_name(known({"optimizer": {"name": "schedule_free"}})) == "schedule_free"
    assert average_name({"identity": {"recipe": {"optimizer": {"name": "sgd"}}}, "metrics": {"test.loss": 1.0}}) == ""


@pytest.mark.parametrize("odd", [None, 3, [], "x", {"recipe": 3}, {"recipe": {"average": "ema"}}])
def test_odd_records_are_told_without_an_error(odd: Any) -> None:
    assert weights_in_words({"identity": odd, "metrics": BOTH}).startswith("averaged;")
    assert weights_in_words({"identity": odd, "metrics": odd, "best": []}) == ""
