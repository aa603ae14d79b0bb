"""Tells a secret that was written where a reference belongs: by its shape, by its name, or because nobody words things like that.

Identifiers, digests, paths, names, statements and what is base64 of something readable are none. Nothing here repeats a text that it
judges.
"""

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

CHARACTERS_MIN = 12  # of a secret that is known by its shape
NAMED_CHARACTERS_MIN = 8  # of one that is known by its name
RANDOM_CHARACTERS_MIN = 24  # of one that is known by being random
DIGITS_MIN = 2
BITS_MIN = 3.8  # Shannon's entropy of a character
TURNS_MIN = 0.45  # share of neighbours that are of different classes: about 0.6 of random ones, and below 0.4 of names
CHARACTERS_A_SEPARATOR = 12  # names have one more often
SEGMENT_CHARACTERS_MAX = 18  # a random word may be cut by a slash, but not as often as a path is
READABLE_SHARE = 0.95
CACHED_MAX = 8_192

_PLACEHOLDER = r"(?:\*+|x+|\.{2,}|…|<[^>]*>|\$?\{[^}]*\}+|\$\w+|%\(?\w+\)?s?|\[[^\]]*\])"
_SHAPES: dict[str, str] = {
    "a private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\bAGE-SECRET-KEY-1[0-9A-Z]{40,}",
    "an AWS access key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{22,}",
    "a GitLab token": r"\bgl(?:pat|dt|rt|ptt|soat|cbt|ft)-[A-Za-z0-9_-]{20,}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-\d-[A-Za-z0-9-]{10,}",
    "a Stripe key": r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/=]{24,}",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}|\bGOCSPX-[A-Za-z0-9_-]{28}|\bya29\.[A-Za-z0-9_-]{20,}",
    "an Azure key": r"(?i:\b(?:Account|SharedAccess)Key)=[A-Za-z0-9+/]{40,}={0,2}",
    "a signed link": r"[?&](?i:sig|X-Amz-Signature|X-Goog-Signature|Signature)=[A-Za-z0-9%+/_-]{20,}",
    "a Vault token": r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}|(?<![\w.])s\.(?=[A-Za-z]*\d)[A-Za-z0-9]{24}(?![\w.])",
    "a JSON Web Token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    "a package registry's token": r"\bnpm_[A-Za-z0-9]{36}|\bpypi-AgE[A-Za-z0-9_-]{30,}",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
    "a Twilio key": r"\bSK[0-9a-f]{32}\b",
    "a key of a hosted service": r"\b(?:sk-(?:proj-|ant-)?[A-Za-z0-9_-]*\d[A-Za-z0-9_-]{20,}|hf_[A-Za-z]{34}|dop_v1_[0-9a-f]{64}"
    r"|dapi[0-9a-f]{32}|glsa_[A-Za-z0-9]{32}|shp(?:at|ca|pa|ss)_[0-9a-f]{32}|ATATT3[A-Za-z0-9_=-]{40,})|\b\d{8,10}:AA[A-Za-z0-9_-]{33}",
    "a private webhook": r"\bhooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{16,}"
    r"|\bdiscord(?:app)?\.com/api/webhooks/\d+/[A-Za-z0-9_-]{20,}|\bwebhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{20,}",
    "a password in a URL": rf"(?i:\b[a-z][a-z0-9+.-]*)://[^\s/?#@:'\"]*:(?!{_PLACEHOLDER}@)[^\s/?#@'\"]+@"
    rf"|://[^\s'\"]*[?&](?i:password|passwd|pwd|(?:access_|auth_)?token|api_?key|secret|client_secret)=(?!{_PLACEHOLDER}(?:&|\s|$))[^&\s'\"]+",
    # Of `;` as ODBC has them, or of nothing but pairs, as libpq has them; a statement has blanks and words besides.
    "a password in a connection string": rf"(?i:(?:^|;)\s*(?:password|pwd)\s*=\s*(?!{_PLACEHOLDER}\s*(?:;|$))[^;\s]+\s*;"
    rf"|=[^;]*;\s*(?:password|pwd)\s*=\s*(?!{_PLACEHOLDER}\s*(?:;|$))[^;\s]+\s*$"
    rf"|^(?:\w+=(?:'[^']*'|\S+)\s+)*password=(?!{_PLACEHOLDER}(?:\s|$))(?:'[^']+'|[^\s']+)(?:\s+\w+=(?:'[^']*'|\S+))*$)",
}
_NOUNS = tuple(_SHAPES)
_SHAPE = re.compile("|".join(f"(?P<s{at}>{shape})" for at, shape in enumerate(_SHAPES.values())))
_NAME = re.compile(
    r"(?:^|[_-])(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|auth(?:orization)?|cookie|signature|sas"
    r"|(?:api|access|account|auth|client|encryption|master|private|secret|shared|signing|webhook)[_-]?key)$"
)
_REFERENCE = re.compile(r"(?:(?:env|file|vault|aws-sm|k8s)://[^\s@]+|[a-z][a-z0-9-]{0,62}://[^\s@#]+#[^\s@#]+)$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# A path, a reference, a template or a sentence.
_UNLIKE = re.compile(_PLACEHOLDER + r"|[/~.]|\$[.{]|[\w+.-]+://|.*\{\{|.*\s", re.DOTALL)
_WORD = re.compile(rf"(?<![A-Za-z0-9+/_.=:-])[A-Za-z0-9+/_-]{{{RANDOM_CHARACTERS_MIN},}}={{0,2}}(?![A-Za-z0-9+/_.-])")
# What everybody may know, and is random to look at.
_PUBLIC = re.compile(
    r"-----BEGIN (CERTIFICATE|PUBLIC KEY|PGP PUBLIC KEY BLOCK)-----[A-Za-z0-9+/=:.,()@<>\s-]*?-----END \1-----"
)
_DIGEST = re.compile(r"sha(?:256|384|512)-")
_HEX = re.compile(r"[0-9A-Fa-f]+(?:[-_][0-9A-Fa-f]+)*")
_DER, _SSH, _IMAGES = b"\x30\x82", b"\0\0\0", (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"PK\x03\x04", b"\x1f\x8b")


def secret_in(text: str, name: str = "") -> str:
    """What kind of secret the text holds, as a noun with its article; empty for none. `name` is what the field or the entry is called
    by its author, where texts are given by name."""
    if not text or _REFERENCE.match(text):
        return ""
    if len(text) >= CHARACTERS_MIN and (found := _known(text)):
        return found
    return "a secret" if name and _is_named(name) and _is_value(text) else ""


@lru_cache(CACHED_MAX)
def _known(text: str) -> str:
    """Plans name the same things again and again."""
    text = _PUBLIC.sub("", text)
    if found := _SHAPE.search(text):
        return _NOUNS[int(str(found.lastgroup)[1:])]
    if len(text) >= RANDOM_CHARACTERS_MIN and any(_is_random(word) for word in _words(text)):
        return "a key or token"
    return ""


def _is_named(name: str) -> bool:
    return _NAME.search(_CAMEL.sub("_", name).lower()) is not None


def _is_value(text: str) -> bool:
    """Whether a text in a field with such a name may be the thing itself: no word of a language, path, reference, template or sentence."""
    if len(text) < NAMED_CHARACTERS_MIN or _UNLIKE.match(text):
        return False
    return sum(any(map(is_one, text)) for is_one in (str.isupper, str.islower, str.isdigit, _is_mark)) > 1


def _is_mark(character: str) -> bool:
    return not character.isalnum() and character not in "_-.,:"


def _words(text: str) -> Iterator[str]:
    for found in _WORD.finditer(text):
        if not _DIGEST.match(found[0]):
            yield found[0]


def _is_random(word: str) -> bool:
    bare = word.rstrip("=")
    letters = [character for character in bare if character.isalnum()]
    if sum(character.isdigit() for character in letters) < DIGITS_MIN or _HEX.fullmatch(bare):
        return False
    if not any(map(str.isupper, letters)) or not any(map(str.islower, letters)):
        return False
    if (len(bare) - len(letters)) * CHARACTERS_A_SEPARATOR > len(bare) or _is_path(bare):
        return False
    return _bits(bare) >= BITS_MIN and _turns(bare) >= TURNS_MIN and not _is_readable(word)


def _is_path(word: str) -> bool:
    return word.startswith("/") or ("/" in word and max(map(len, word.split("/"))) < SEGMENT_CHARACTERS_MAX)


def _bits(word: str) -> float:
    counts = Counter(word)
    return -sum(count / len(word) * math.log2(count / len(word)) for count in counts.values())


def _turns(word: str) -> float:
    """The share of neighbouring letters and digits that are of different classes."""
    pairs = [(left, right) for left, right in pairwise(word) if left.isalnum() and right.isalnum()]
    return sum(_class(left) != _class(right) for left, right in pairs) / max(1, len(pairs))


def _class(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.isupper() else 2


def _is_readable(word: str) -> bool:
    """Whether it is base64 of a text, a certificate, a public key or a picture."""
    bare = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(bare[: len(bare) // 4 * 4], validate=True)
    except binascii.Error:
        return False
    if raw.startswith((_DER, _SSH, *_IMAGES)):
        return True
    text = raw.decode(errors="replace")
    return sum(
        character.isprintable() or character.isspace() for character in text if character != "�"
    ) >= READABLE_SHARE * len(text)
