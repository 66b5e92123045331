from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from shoal.pages.blocks import plain
from shoal.pages.sweep_table import Look, Row, main_metric, sweep_table, totals, unknown_key


def row(name: str, seed: int = 0, status: str = "finished", **metrics: float) -> Row:
    named = {key.replace("_", ".", 1): value for key, value in metrics.items()}
    return Row(name, f"{name:0<32}", seed, status, 100, 100, 2.0, named)


def lines(table: list[Row], **look: Any) -> list[str]:
    return plain(sweep_table(table, Look(**look)))


def test_the_best_run_comes_first_and_what_is_not_known_last() -> None:
    rows = [row("a", valid_accuracy=0.5), row("b", status="queued"), row("c", valid_accuracy=0.9)]
    assert [line.split()[2] for line in lines(rows)[1:4]] == ["c", "a", "b"]
    rows = [row("a", valid_loss=0.5), row("b", valid_loss=0.9), row("c", valid_loss=math.nan)]
    assert [line.split()[2] for line in lines(rows)[1:4]] == ["a", "b", "c"]


@pytest.mark.parametrize(("key", "order"), [("train.loss", "ba"), ("-train.loss", "ab"), ("-seed", "ab")])
def test_it_is_sorted_by_what_is_asked_for(key: str, order: str) -> None:
    rows = [row("a", 1, train_loss=2.0, valid_accuracy=0.1), row("b", train_loss=1.0, valid_accuracy=0.2)]
    assert [line.split()[2] for line in lines(rows, sort=key, by_run=True)[1:3]] == list(order)


def test_a_key_that_no_run_has_is_told_with_the_nearest() -> None:
    rows = [row("a", valid_accuracy=1.0)]
    assert "'valid.acuracy': no run has it; did you mean valid.accuracy?" in str(
        unknown_key(rows, Look(sort="-valid.acuracy"))
    )
    assert "--metrics 'valid.acuracy'" in str(unknown_key(rows, Look(metrics=("valid.acuracy",))))
    assert unknown_key(rows, Look(sort="-valid.accuracy", metrics=("valid.accuracy",))) is None
    assert unknown_key([row("a", status="queued")], Look(sort="valid.acuracy")) is None  # nothing is measured yet
    assert lines(rows, sort="test.loss", metrics=("test.loss",))  # what is measured at the end has no value before


def test_seeds_are_one_row_with_mean_deviation_and_number() -> None:
    rows = [row("a", seed, valid_accuracy=value) for seed, value in enumerate([0.90, 0.92, 0.94])]
    rows += [row("b", seed, status="queued") for seed in range(3)]
    first, second, total = lines(rows)[1:]
    assert first.split()[3:7] == ["3", "0.9200", "±", "0.02"]
    assert first.startswith("✓ 3/3")
    assert second.startswith("○ 0/3")
    assert total == "6 runs: ✓ 3 finished, ○ 3 queued"
    assert len(lines(rows, by_run=True)) == 8


def test_one_seed_has_no_deviation() -> None:
    rows = [row("a", 0, valid_accuracy=0.9), row("a", 1, status="queued")]
    assert lines(rows)[1].split()[3:5] == ["1", "0.9000"]
    assert "±" not in lines(rows)[1]


def test_the_number_of_values_is_told_where_it_is_another_one() -> None:
    rows = [row("a", 0, valid_accuracy=0.9, test_accuracy=0.8), row("a", 1, valid_accuracy=0.9)]
    assert "0.9000 ± 0 " in lines(rows)[1]
    assert "0.8000 (1)" in lines(rows)[1]


def test_what_needs_to_be_looked_at_is_said_of_an_experiment() -> None:
    rows = [row("a", 0), replace(row("a", 1, status="failed"), reason="the loss is nan\nmore"), row("a", 2)]
    assert lines(rows)[1].startswith("✗ 2/3")
    assert lines(rows)[1].endswith("the loss is nan")


def test_only_as_many_rows_as_there_is_room_for_are_shown() -> None:
    rows = [row(f"lr={number}", valid_accuracy=number / 1000) for number in range(1000)]
    shown = lines(rows, rows=10)
    assert len(shown) == 13
    assert "lr=999" in shown[1]
    assert shown[-2:] == ["and 990 more", "1,000 runs: ✓ 1,000 finished"]


def test_what_is_left_is_told_at_the_rate_of_the_run() -> None:
    running = replace(row("a", status="running"), step=50, rate=10.0)
    assert running.left == 5
    assert "5.0 s" in lines([running])[1]
    assert replace(running, status="finished").left is None


def test_metrics_are_grouped_by_split_and_averaged_ones_stand_beside() -> None:
    names = ["test_accuracy", "valid_loss", "train_accuracy", "train_loss", "valid_accuracy"]
    titles = lines([row("a", **dict.fromkeys(names, 1.0))])[0].split()
    assert [title for title in titles if "." in title] == [
        "train.accuracy",
        "valid.accuracy",
        "valid.loss",
        "test.accuracy",
    ]
    assert main_metric([row("a", test_accuracy=1.0, valid_loss=1.0)]) == "valid.loss"


def test_names_from_data_do_not_act() -> None:
    assert "\x1b" not in "\n".join(lines([replace(row("\x1b[31mred"), reason="\x1b[2J", status="failed")]))


def test_no_runs_at_all() -> None:
    assert totals([]) == "no runs"
