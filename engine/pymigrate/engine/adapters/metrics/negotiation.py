"""What a scraper's headers prefer (RFC 9110): OpenMetrics 1.0 or text format 0.0.4, and gzip or none."""

from collections.abc import Iterator

_OPENMETRICS = "application/openmetrics-text"
_TEXTS = ("text/plain", "text/*", "*/*")
_VERSIONS = ("", "1.0.0")


def prefers_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is asked for, and nothing else that is served here is preferred to it."""
    openmetrics, text = 0.0, 0.0
    for kind, quality, version in _ranked(accept):
        if kind == _OPENMETRICS and version in _VERSIONS:
            openmetrics = max(openmetrics, quality)
        elif kind in _TEXTS:
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a compressed body is taken."""
    return any(kind in {"gzip", "*"} and quality > 0 for kind, quality, _ in _ranked(accept_encoding))


def _ranked(header: str) -> Iterator[tuple[str, float, str]]:
    """Each entry of the header with its quality and version; what can't be read has none."""
    for entry in header.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            quality = 0.0
        yield kind, quality, given.get("version", "").strip('"')
