"""Texts are compiled once while there is room, made within their second, and told apart from what they hold."""

import io
import os
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from pymigrate.engine.adapters.rendering.answering import READY, answer
from pymigrate.engine.adapters.rendering.texts import Texts

NEVER_ENDS = "{% for a in n %}{% for b in n %}{% for c in n %}{{ '' }}{% endfor %}{% endfor %}{% endfor %}"
MANY = list(range(1_000))


class Counting(Texts):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(cpu_seconds_max=0.05)
        self.asked = 0

    def render(self, source: Sequence[str], context: dict[str, Any]) -> list[str]:
        self.asked += 1
        return super().render(source, context)


def _answers(texts: Texts, batch: object) -> list[list[str]]:
    reader, writer = os.pipe()
    answer(io.BytesIO(orjson.dumps(batch) + b"\n"), writer, texts)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        ready, *lines = said.read().splitlines(keepends=True)
    assert ready == READY
    return [orjson.loads(line) for line in lines]


def test_a_text_that_takes_too_long_is_made_once_in_a_batch() -> None:
    texts = Counting()
    batch = {
        "sources": [("s", NEVER_ENDS, ""), ("s", "b", "")],
        "values": [MANY],
        "messages": [(0, {"n": 0})] * 5 + [(1, {})],
    }
    *slow, quick = _answers(texts, batch)
    assert slow == [["body: takes more than 0.05 s of a core: it must not loop so often"]] * 5
    assert quick == ["s", "b", ""]
    assert texts.asked == 2


def test_a_text_that_took_too_long_once_is_made_again_in_the_next_batch() -> None:
    texts = Counting()
    batch = {"sources": [("s", NEVER_ENDS, "")], "values": [MANY, []], "messages": [(0, {"n": 0})]}
    assert len(_answers(texts, batch)[0]) == 1
    assert _answers(texts, batch | {"messages": [(0, {"n": 1})]}) == [["s", "", ""]]


def test_what_was_compiled_longest_ago_makes_room() -> None:
    texts = Texts(compiled_characters_max=100)
    for at in range(10):
        assert texts.render(("", f"{at}" + "x" * 39, ""), {}) == ["", f"{at}" + "x" * 39, ""]
    assert texts.compiled_count == 3, "the subject, and the two last bodies"


def test_the_same_text_is_compiled_once() -> None:
    texts = Texts()
    for name in ("Ada", "Grace"):
        assert texts.render(("For {{ name }}", "b", "<p>"), {"name": name}) == [f"For {name}", "b", "<p>"]
    assert texts.compiled_count == 3


def test_a_character_that_neither_mail_nor_a_database_takes_is_replaced() -> None:
    rendered = Texts().render(("row {{ row }}", "holds {{ row }}", "<p>{{ row }}</p>"), {"row": "a\0b"})
    assert rendered == ["row a\ufffdb", "holds a\ufffdb", "<p>a\ufffdb</p>"]


@pytest.mark.parametrize("part", ["subject", "body", "html"])
def test_a_problem_names_the_part_that_has_it(part: str) -> None:
    source = {"subject": "s", "body": "b", "html": "h"} | {part: "\n{{ x }}"}
    (problem,) = Texts().render(tuple(source.values()), {})
    assert problem == f"{part}: line 2: there is no `x` here"


def test_one_rendering_leaves_nothing_for_the_next() -> None:
    texts = Texts()
    assert texts.render(("", "{% set a = 1 %}{{ a }}", ""), {}) == ["", "1", ""]
    assert texts.render(("", "{{ a }}", ""), {}) == ["body: line 1: there is no `a` here"]
