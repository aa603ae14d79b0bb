"""Apprise's URLs, which are kept behind a reference: what of them is secret, what they may not ask for, how an address is filled in."""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from pymigrate.engine.adapters.channels.lines import is_one_line
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.secrets import Secret

PLACE = "{to}"
FIELD = "apprise.url"
SECRET_CHARACTERS_MIN = 4
ADDRESS_CHARACTERS_MAX = 1_000
# What speaks to this machine itself: its desktop, its log, what is plugged into it, or a program on it.
LOCAL = frozenset(
    {
        "blink1",
        "dbus",
        "deltachat",
        "deltachats",
        "file",
        "gio",
        "glib",
        "gnome",
        "kde",
        "macosx",
        "qt",
        "syslog",
        "windows",
    }
)
# Files of this machine, other ways than the one that was judged, and what would make a failure look like a success or send twice.
REFUSED_PARAMETERS = frozenset({"attach", "keyfile", "optional", "redirect", "retry", "subfile", "template", "wait"})
SEPARATORS = frozenset(",; \t")


def filled(url: str, to: str) -> str:
    """The URL for an address, which is one target and nothing else in it. Raises InvalidDefinition, without anything of the URL."""
    _check(url)
    if PLACE not in url:
        return url
    if not to:
        raise InvalidDefinition((Problem("to", "is empty, and the channel's URL asks for it"),))
    if not is_one_line(to) or len(to) > ADDRESS_CHARACTERS_MAX or SEPARATORS.intersection(to):
        raise InvalidDefinition((Problem("to", "is not one target: it has a separator, a space or a line break"),))
    return url.replace(PLACE, quote(to, safe=""))


def secrets_of(url: str) -> Iterator[Secret]:
    """Everything in the URL that may be a token: all but its scheme, the names of its parameters, and what looks like a host."""
    parts = _split(url)
    user, _, host = parts.netloc.rpartition("@")
    texts = [url, *user.split(":", 1), *parts.path.split("/"), parts.fragment]
    texts += [value for _, value in parse_qsl(parts.query, keep_blank_values=True)]
    name = host.partition(":")[0]
    if not _is_host(name):
        texts.append(name)
    for text in texts:
        for spelling in {text, unquote(text)}:
            if len(spelling) >= SECRET_CHARACTERS_MIN and PLACE not in spelling:
                yield Secret(spelling)


def _check(url: str) -> None:
    if not is_one_line(url) or "://" not in url:
        raise InvalidDefinition((Problem(FIELD, "leads to what is no URL of Apprise's, such as slack://..."),))
    scheme = url.partition("://")[0].lower()
    if scheme in LOCAL:
        raise InvalidDefinition((Problem(FIELD, f"`{scheme}://` speaks to the dispatcher's own machine: refused"),))
    names = {name.lower().strip(" +-:") for name, _ in parse_qsl(_split(url).query, keep_blank_values=True)}
    refused = sorted(names & REFUSED_PARAMETERS)
    if refused:
        raise InvalidDefinition((Problem(FIELD, f"may not have the parameter `{refused[0]}`: leave it out"),))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise InvalidDefinition(
            (Problem(FIELD, "leads to what is no URL of Apprise's, such as slack://..."),)
        ) from None


def _is_host(name: str) -> bool:
    """Whether it is a name of DNS or an address, and no token in a host's place."""
    try:
        ip_address(name)
    except ValueError:
        last = name.rpartition(".")[2]
        return name == "localhost" or ("." in name and last.isalpha())
    return True
