"""Which text of a template somebody is told by, and in whose words."""

import pytest

from pymigrate.engine.application.default_texts import ROLE_DEFAULT, default_template, pick_text, told_role
from pymigrate.engine.domain.notices import Stakeholder
from pymigrate.v1 import notification_pb2

TEXTS = {
    name: notification_pb2.TemplateText(locale=locale, channel=channel, body=name)
    for name, locale, channel in [
        ("german", "de", ""),
        ("german-chat", "de", "apprise"),
        ("swiss", "de-CH", ""),
        ("english", "", ""),
        ("english-chat", "en", "apprise"),
        ("french-chat", "fr", "apprise"),
    ]
}


@pytest.mark.parametrize(
    ("locale", "kind", "picked"),
    [
        ("de", "smtp", "german"),
        ("de", "apprise", "german-chat"),
        ("de-CH", "smtp", "swiss"),
        ("de_ch", "apprise", "swiss"),
        ("de-AT", "apprise", "german-chat"),
        ("it", "smtp", "english"),
        ("it", "apprise", "english-chat"),
        ("fr", "apprise", "french-chat"),
        ("fr", "smtp", "english"),
        ("", "webhook", "english"),
    ],
)
def test_the_text_that_fits_best_is_taken(locale: str, kind: str, picked: str) -> None:
    assert pick_text(TEXTS, locale, kind).body == picked


def test_some_text_is_taken_where_none_fits() -> None:
    german = {"german": TEXTS["german"]}
    assert pick_text(german, "en", "smtp").body == "german"
    assert pick_text({"chat": TEXTS["french-chat"]}, "en", "smtp").body == "french-chat"


def test_somebody_is_told_in_the_role_that_they_were_found_by() -> None:
    ada = Stakeholder("ada", "u", roles=("finance", "owner", "executive"))
    assert told_role("executive", ada) == "executive"
    assert told_role("finance", ada) == "owner"
    assert told_role("", ada) == "owner"
    assert told_role("finance") == ROLE_DEFAULT


def test_default_texts_are_made_once() -> None:
    assert default_template("owner") is default_template("owner")
