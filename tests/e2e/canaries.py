"""Secrets that are easily recognised, and a search for them in whatever spelling. It shares nothing with what takes secrets out."""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus


@dataclass(frozen=True)
class Canaries:
    """One secret for each place that can hold one, by the place's name."""

    values: dict[str, str] = field(default_factory=dict)

    def plant(self, place: str, *, is_plain: bool = False) -> str:
        """A new secret. One that `is_plain` is ASCII without quotes, as headers and URLs take it."""
        tail = "s3cr3t.0f" if is_plain else "s3'cr\"3t %2f<0f>\\ü"
        value = self.values[place] = f"canary-{place}-{tail}-{place[::-1]}"
        return value


PIECE_CHARACTERS = 8
BASE64_PIECE_CHARACTERS = 12


def pieces(value: str) -> Iterator[tuple[str, bytes]]:
    """What is left of a value in texts that were cut: how its beginning and its end may be written, by the spelling's name."""
    for which, cut in (("beginning", slice(None, PIECE_CHARACTERS)), ("end", slice(-PIECE_CHARACTERS, None))):
        yield from ((f"{which} of {name}", text) for name, text in spellings(value[cut]) if "base64" not in name)
    for name, text in spellings(value[:BASE64_PIECE_CHARACTERS]):
        if "base64" in name:
            yield f"beginning of {name}", text


def spellings(value: str) -> Iterator[tuple[str, bytes]]:
    """How a value may be written, by the spelling's name."""
    raw = value.encode()
    texts = {
        "itself": value,
        "URL": quote(value, safe=""),
        "path": quote(value),
        "form": quote_plus(value),
        "JSON": json.dumps(value)[1:-1],
        "JSON, not ASCII": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON as Go writes it": _by_go(value),
        "JSON in JSON as Go writes it": _by_go(_by_go(value)),
        "JSON in JSON": json.dumps(json.dumps(value)[1:-1])[1:-1],
        "repr": repr(value)[1:-1],
        "repr of bytes": repr(raw)[2:-1],
        "SQL": value.replace("'", "''"),
        "HTML": html.escape(value),
        "hex": raw.hex(),
    }
    yield from ((name, text.encode().lower()) for name, text in texts.items())
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw + b"\0" * (-(len(raw) + before) % 3))
        core = whole[4 if before else 0 : -4]
        yield f"base64, {before}", core
        yield f"base64 for URLs, {before}", core.replace(b"+", b"-").replace(b"/", b"_")


def _by_go(value: str) -> str:
    """As terraform writes its state, its plans and its logs."""
    text = json.dumps(value, ensure_ascii=False)[1:-1]
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def leaks(outputs: Mapping[str, bytes], canaries: Mapping[str, str]) -> list[tuple[str, str, str, bytes]]:
    """Where a secret, or a piece of one, is found: the output, the secret's place, the spelling, and what stands around it."""
    found = []
    for output, content in outputs.items():
        lower = content.lower()
        for place, value in canaries.items():
            for name, spelling in (*spellings(value), *pieces(value)):
                at = (content if "base64" in name else lower).find(spelling)
                if at >= 0:
                    found.append((output, place, name, content[max(0, at - 80) : at + len(spelling) + 20]))
    return found
