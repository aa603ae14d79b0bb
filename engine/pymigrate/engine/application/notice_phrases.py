"""What happened, in a sentence of the recipient's language: for those who know the parts of a migration (`title`), for those who know
their business (`headline`), and what whoever is responsible does next (`advice`). The sentences lie beside the default templates."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

PACKAGE = "pymigrate.engine.application"
DIRECTORY = "default_templates"
LANGUAGES = ("en", "de")
ANY_TYPE, WORDS = "*", "words"
UNNAMED = "–"


class _Values(dict[str, str]):
    """What a sentence names, and a dash for what is not known."""

    def __missing__(self, name: str) -> str:
        return UNNAMED


@dataclass(frozen=True, slots=True)
class Sentences:
    """What is said of one event."""

    title: str
    headline: str
    advice: str


@dataclass(frozen=True, slots=True)
class Phrases:
    """The sentences of a language."""

    language: str
    by_type: Mapping[str, Mapping[str, str]]

    def of(self, event_type: str, values: Mapping[str, str]) -> Sentences:
        """What is said of an event of a type; a general sentence of one that is not known."""
        known = self.by_type.get(event_type) or self.by_type[ANY_TYPE]
        named = _Values({name: value for name, value in values.items() if value})
        parts = (known.get(part, "").format_map(named) for part in ("title", "headline", "advice"))
        return Sentences(*parts)

    def word(self, word: str) -> str:
        """A word of the program's own, such as that of a severity."""
        return self.by_type[WORDS].get(word, word)


def language_of(locale: str) -> str:
    """The language that a locale is told in: its own where there are sentences in it, else English."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


@cache
def phrases_in(language: str) -> Phrases:
    """Those of one of LANGUAGES."""
    return Phrases(language, tomllib.loads(packaged(f"phrases.{language}.toml")))


def packaged(name: str) -> str:
    """A file beside the default templates."""
    return files(PACKAGE).joinpath(DIRECTORY, name).read_text("utf-8")
