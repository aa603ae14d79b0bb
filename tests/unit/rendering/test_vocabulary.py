"""The house's own filters, as templates use them: in the recipient's language and time zone, and refused for what they are not for."""

import pytest

from pymigrate.engine.adapters.rendering.texts import Texts

TEXTS = Texts()
VALUES = {
    "recipient": {"locale": "de-CH", "zone": "Europe/Zurich"},
    "cost": {"amount": 1_234.0, "currency_code": "CHF"},
    "time": "2026-07-01T12:00:00Z",
    "word": "word",
    "nothing": None,
}


def _written(expression: str, **others: object) -> str:
    (_, body, _) = TEXTS.render(("", f"{{{{ {expression} }}}}", ""), VALUES | others)
    return body


def _problem(expression: str) -> str:
    (problem,) = TEXTS.render(("", f"{{{{ {expression} }}}}", ""), VALUES)
    return problem.removeprefix("body: line 1: ")


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("1234.5|number(1)", "1’234.5"),
        ("0.125|percent(1)", "12.5%"),
        ("1500000|bytes", "1.5 MB"),
        ("7800|duration", "2 Std 10 Min"),
        ("cost|money", "CHF 1’234"),
        ("12.5|money('EUR')", "EUR 12.50"),
        ("time|localtime", "Mi., 1. Juli 2026, 14:00 Uhr (CEST)"),
        ("time|localtime('Asia/Tokyo')", "Mi., 1. Juli 2026, 21:00 Uhr (JST)"),
        ("0.5|figure('share')", "50.0%"),
        ("90|figure('seconds')", "1 Min 30 Sek"),
        ("2000|figure('bytes_per_second')", "2.0 kB/s"),
        ("2000|figure('bytes')", "2.0 kB"),
        ("2000.4|figure('rows_per_second')", "2’000/s"),
        ("3|figure('count')", "3"),
        ("3.25|figure", "3.25"),
        ("1.256|round(2)", "1.26"),
        ("[1, 2]|sum", "3"),
    ],
)
def test_figures_are_written_as_the_recipient_reads_them(expression: str, written: str) -> None:
    assert _written(expression) == written


def test_whoever_reads_it_is_english_in_utc_where_nothing_is_known_of_them() -> None:
    assert _written("1234.5|number(1) ~ ' ' ~ time|localtime", recipient=None) == "1,234.5 Wed 1 Jul 2026, 12:00 UTC"


@pytest.mark.parametrize("filter_", ["number", "percent", "bytes", "duration", "money", "figure", "round"])
def test_a_figure_is_asked_of_numbers_alone(filter_: str) -> None:
    assert _problem(f"word|{filter_}") == f"`{filter_}` takes a number"
    assert _problem(f"true|{filter_}") == f"`{filter_}` takes a number"
    assert _problem(f"nothing|{filter_}").startswith(f"`{filter_}` is asked of a value that is empty here")
    assert _problem(f"gone|{filter_}") == "there is no `gone` here"


def test_a_time_that_is_none_is_refused() -> None:
    assert "word" in _problem("word|localtime")
    assert _problem("nothing|localtime").startswith("the value is empty here")
    assert "Europe/Nowhere" in _problem("time|localtime('Europe/Nowhere')")
