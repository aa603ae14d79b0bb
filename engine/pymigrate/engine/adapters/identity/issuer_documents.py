"""What an OIDC issuer publishes about itself, read over HTTP: its configuration (OpenID Connect Discovery 1.0) and its keys.

Nothing is redirected, no proxy is asked, bodies and times are bounded; and where the configuration sends the engine for the keys, only the
issuer's own host, the public internet and what PYMIGRATE_OUTGOING_ALLOWED names may be connected to.
"""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import orjson

from pymigrate.engine.adapters.channels.addresses import AddressRefused, OutgoingAddresses
from pymigrate.engine.adapters.channels.outgoing_http import OutgoingTransport
from pymigrate.engine.adapters.identity.key_sets import KeySet, read_key_set
from pymigrate.engine.domain.addresses import is_loopback
from pymigrate.engine.ports.identity import IdentityUnavailable

DISCOVERY = "/.well-known/openid-configuration"
FETCH_SECONDS_MAX = 10.0
DOCUMENT_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class IssuerTerms:
    """Who the issuer is, where its keys are (empty: it says so itself), and which algorithms are taken."""

    issuer: str
    algorithms: tuple[str, ...]
    keys_url: str = ""


class IssuerDocuments:
    """Reads what one issuer publishes."""

    def __init__(self, terms: IssuerTerms, allowed: Iterable[str] = (), trust: ssl.SSLContext | None = None) -> None:
        self._terms = terms
        named = (urlsplit(url).hostname or "" for url in (terms.issuer, terms.keys_url))
        addresses = OutgoingAddresses([*allowed, *named])
        transport = OutgoingTransport(addresses, trust or ssl.create_default_context())
        self._client = httpx.AsyncClient(
            transport=transport, timeout=FETCH_SECONDS_MAX, trust_env=False, follow_redirects=False
        )

    async def fetch(self) -> KeySet:
        """The keys that tokens are signed with. Raises IdentityUnavailable, saying what is wrong."""
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                return read_key_set(await self._read(await self._keys_url()), self._terms.algorithms)
        except TimeoutError as error:
            raise self._unavailable(f"no answer within {FETCH_SECONDS_MAX:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, AddressRefused, ValueError) as error:
            raise self._unavailable(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.aclose()

    async def _keys_url(self) -> str:
        if self._terms.keys_url:
            return self._terms.keys_url
        url = self._terms.issuer.rstrip("/") + DISCOVERY
        said = await self._read(url)
        if not isinstance(said, dict) or said.get("issuer") != self._terms.issuer:
            raise ValueError(f"{url} is the configuration of another issuer")
        keys_url = said.get("jwks_uri")
        if not isinstance(keys_url, str) or not is_guarded(
            keys_url, is_local=not self._terms.issuer.startswith("https:")
        ):
            raise ValueError(f"{url} names no address of keys over https")
        return keys_url

    async def _read(self, url: str) -> object:
        async with self._client.stream("GET", url, headers={"accept": "application/json"}) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"{url} answers with {answer.status_code}, and nothing but 200 is taken")
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise ValueError(f"{url} has more than {DOCUMENT_BYTES_MAX:,} bytes")
        return orjson.loads(body)

    def _unavailable(self, said: str) -> IdentityUnavailable:
        return IdentityUnavailable(f"what {self._terms.issuer} publishes can't be read: {said}")


def is_guarded(url: str, *, is_local: bool = True) -> bool:
    """Whether an address is spoken to over TLS, or, with `is_local`, may be on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_whole = bool(host) and parts.port != 0 and "@" not in parts.netloc and not parts.fragment
    except ValueError:
        return False
    return is_whole and (parts.scheme == "https" or (is_local and parts.scheme == "http" and is_loopback(host)))
