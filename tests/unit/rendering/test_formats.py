"""Figures and moments in the languages that are known, and in English where one is not."""

from zoneinfo import ZoneInfoNotFoundError

import pytest

from pymigrate.engine.adapters.rendering import formats

ENGLISH, GERMAN, SWISS = (formats.manner_of(locale) for locale in ("en-GB", "de", "de-CH"))


@pytest.mark.parametrize(
    ("locale", "written"),
    [
        ("en", "1,234,567.50"),
        ("de", "1.234.567,50"),
        ("de_AT", "1.234.567,50"),
        ("de-CH", "1’234’567.50"),
        ("fr-CA", "1\u202f234\u202f567,50"),
        ("tlh", "1,234,567.50"),
        ("", "1,234,567.50"),
    ],
)
def test_a_number_is_written_as_its_language_does(locale: str, written: str) -> None:
    assert formats.number(1_234_567.5, 2, formats.manner_of(locale)) == written


def test_decimals_have_a_bound() -> None:
    assert formats.number(1, 1_000_000, ENGLISH) == "1." + "0" * formats.DECIMALS_MAX
    assert formats.number(1, -5, ENGLISH) == "1"


def test_a_share_is_written_in_percent() -> None:
    assert [formats.percent(0.125, 1, manner) for manner in (ENGLISH, GERMAN)] == ["12.5%", "12,5 %"]


def test_money_is_written_with_cents_only_where_they_count() -> None:
    assert [formats.money(1_200, "EUR", manner) for manner in (ENGLISH, GERMAN, SWISS)] == [
        "EUR 1,200",
        "1.200 EUR",
        "EUR 1’200",
    ]
    assert formats.money(12.5, "EUR", GERMAN) == "12,50 EUR"
    assert formats.money(0, "USD", ENGLISH) == "USD 0"


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1.5e9, "1.5 GB"),
        (999_999, "1.0 MB"),
        (1e21, "1,000.0 EB"),
        (-2e6, "-2.0 MB"),
    ],
)
def test_a_size_is_written_in_the_unit_that_reads_best(count: float, written: str) -> None:
    assert formats.size(count, ENGLISH) == written


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (0, "0.0 s", "0,0 Sek"),
        (9.94, "9.9 s", "9,9 Sek"),
        (59.6, "1 min", "1 Min"),
        (7_800, "2 h 10 min", "2 Std 10 Min"),
        (86_400, "1 d", "1 Tg"),
        (86_700, "1 d", "1 Tg"),
        (-60, "–1 min", "–1 Min"),
        (float("inf"), "∞", "∞"),
        (float("-inf"), "–∞", "–∞"),
    ],
)
def test_a_duration_is_written_in_its_two_largest_units(seconds: float, english: str, german: str) -> None:
    assert formats.duration(seconds, ENGLISH) == english
    assert formats.duration(seconds, GERMAN) == german


def test_a_moment_is_written_on_the_recipients_clock() -> None:
    assert formats.moment("2026-03-29T00:59:00Z", "Europe/Zurich", "en") == "Sun 29 Mar 2026, 01:59 CET"
    assert formats.moment("2026-03-29T01:00:00Z", "Europe/Zurich", "de") == "So., 29. März 2026, 03:00 Uhr (CEST)"
    assert formats.moment("2026-03-29T01:00:00+00:00", "", "en") == "Sun 29 Mar 2026, 01:00 UTC"


def test_what_is_no_moment_or_no_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        formats.moment("yesterday", "UTC", "en")
    with pytest.raises(ZoneInfoNotFoundError):
        formats.moment("2026-03-29T01:00:00Z", "Europe/Nowhere", "en")
