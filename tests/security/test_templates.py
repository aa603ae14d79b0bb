"""What somebody writes into a message's text reaches the fields of the maps that it is given, and nothing of the program behind them."""

import pytest

from pymigrate.engine.adapters.rendering.texts import Texts

TEXTS = Texts(cpu_seconds_max=0.5)
VALUES = {"text": "abc", "map": {"a": "b"}, "many": [1]}
REACHING = (
    "{{ text.__doc__ }}",
    "{{ text['__doc__'] }}",
    "{{ map.__class__.__name__ }}",
    "{{ many.__len__.__name__ }}",
    "{{ text.upper.__name__ }}",
    "{{ 1 .__class__.__base__.__subclasses__.__name__ }}",
)


@pytest.mark.parametrize("source", REACHING)
def test_nothing_of_the_program_is_read(source: str) -> None:
    [problem] = TEXTS.render(("plain", source, ""), VALUES)
    assert problem.startswith("body: ")


def test_but_what_it_is_given_is() -> None:
    assert TEXTS.render(("plain", "{{ map.a }} {{ text }}", ""), VALUES)[1] == "b abc"
