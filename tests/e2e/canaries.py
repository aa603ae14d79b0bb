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


def leaks(outputs: Mapping[str, bytes], canaries: Mapping[str, str]) -> list[tuple[str, str, str, bytes]]:
    """Where a secret is found: the output, the secret's place, the spelling, and what stands around it."""
    found = []
    for output, content in outputs.items():
        lower = content.lower()
        for place, value in canaries.items():
            for name, spelling in spellings(value):
                at = (content if name.startswith("base64") else lower).find(spelling)
                if at >= 0:
                    found.append((output, place, name, content[max(0, at - 80) : at + len(spelling) + 20]))
    return found
