from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.pages import formats
from shoal.pages.markup import Html, joined, tag

EVIL = "</td><script>alert('\"&')</script>\x1b[31m\u202e\x00"


class Seen(HTMLParser):
    """What a browser would see: the tags, their attributes, the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        self.attributes |= dict(attributes)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(text=st.text(max_size=60), value=st.text(max_size=60))
def test_any_text_stays_text(text: str, value: str) -> None:
    seen = Seen(tag("td", text, title=value))
    assert seen.tags == ["td"]
    assert seen.text == formats.clean(text, keep="\n\t").replace("\r", "\n")
    assert seen.attributes == {"title": formats.clean(value, keep="\n\t")}


@pytest.mark.parametrize("wrapped", [EVIL, [EVIL], (EVIL for _ in range(1)), ValueError(EVIL)])
def test_what_comes_from_a_run_opens_no_tag(wrapped: object) -> None:
    made = tag("p", wrapped, data_x=EVIL)
    assert Seen(made).tags == ["p"]
    assert not set("\x00\x1b\u202e") & set(made)


def test_markup_is_kept_and_nothing_is_left_out_quietly() -> None:
    assert joined(tag("b", 0), Html("<i>&amp;</i>"), None, ["a", 1.5, False]) == "<b>0</b><i>&amp;</i>a1.5False"


def test_attributes() -> None:
    made = tag("svg", class_="a", viewBox="0 0 1 1", stroke_width=2, hidden=True, title=None, open=False, x=0)
    assert made == '<svg class="a" viewBox="0 0 1 1" stroke-width="2" hidden x="0"></svg>'
    assert tag("rect", x=1) == '<rect x="1"/>'
    assert tag("br") == "<br>"
