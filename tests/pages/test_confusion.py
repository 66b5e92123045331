from __future__ import annotations

import re

from tests.pages.test_markup import EVIL, Seen

from shoal.pages.confusion import confused_most, confusion_table

MATRIX = [[8, 2, 0], [0, 10, 0], [1, 4, 5]]
LABELS = ["cat", "dog", "a very long name of a class"]


def test_every_count_stands_in_its_cell() -> None:
    made = confusion_table(MATRIX, LABELS)
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", made)
    cells = [[Seen(cell).text for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    assert cells == [["8", "2", ""], ["", "10", ""], ["1", "4", "5"]]
    assert "a very long name of a c…" in made


def test_right_and_wrong_are_shaded_by_their_share_of_the_row() -> None:
    shades = re.findall(r"background:rgba\(([\d,]+),([\d.]+)\)\">(\d+)", confusion_table(MATRIX, LABELS))
    known = {count: (colour, float(shade)) for colour, shade, count in shades}
    assert known["8"][0] == known["10"][0] != known["2"][0] == known["4"][0]
    assert known["5"][1] < known["8"][1] < known["10"][1] <= 0.55
    assert known["2"][1] < known["4"][1] <= 0.55


def test_the_pairs_that_are_confused_most_are_told() -> None:
    told = confused_most(MATRIX, LABELS)
    assert told.startswith("Confused most often: a very long name of a c… as dog (4), cat as dog (2), ")
    assert confused_most([[3, 0], [0, 3]], ["a", "b"]) == ""


def test_labels_do_not_act() -> None:
    made = confusion_table([[1, 0], [0, 1]], [EVIL, "b"])
    assert "script" not in Seen(made).tags
