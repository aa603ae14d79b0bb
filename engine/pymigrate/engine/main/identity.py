"""The ways in that the settings name: each recognises its own kind of credential."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.access.service_tokens import ServiceTokens
from pymigrate.engine.application.caller import Surroundings, random_id
from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.application.lane_credentials import LaneCredentials
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.entrypoints.origins import Origins
from pymigrate.engine.main.identity_settings import OidcSettings
from pymigrate.engine.main.kubernetes_settings import KubernetesSettings
from pymigrate.engine.ports.identity import Authenticator
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings

Work = Callable[[], Coroutine[Any, Any, None]]
Close = Callable[[], Awaitable[None]]


class _WayIn(NamedTuple):
    authenticator: Authenticator
    close: Close
    work: tuple[Work, ...] = ()


@dataclass(frozen=True, slots=True)
class WaysIn:
    """Who calls, as all surfaces ask it, and the tokens that are made here."""

    bearers: Bearers
    service_tokens: ServiceTokens
    host_tokens: HostTokens
    lane_credentials: LaneCredentials
    work: tuple[Work, ...] = ()
    closing: tuple[Close, ...] = ()

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What they do on their own, each until it is cancelled."""
        yield from (run() for run in self.work)

    async def close(self) -> None:
        """Ends their connections."""
        for close in self.closing:
            await close()


def build_ways_in(settings: Settings, token: str, clock: SystemClock, store: Store) -> WaysIn:
    """The engine's token, what it made itself, and whoever else is to vouch for callers. Raises PyMigrateError for settings that can't
    hold."""
    service_tokens = ServiceTokens(store, Surroundings(clock, random_id))
    host_tokens = HostTokens(token, clock)
    vouching = [*_oidc(settings, OidcSettings(), clock), *_kubernetes(KubernetesSettings(), clock)]
    bearers = Bearers(
        token,
        clock,
        (service_tokens, host_tokens, *(each.authenticator for each in vouching)),
        Origins(settings.trusted_proxies_parts),
    )
    work = tuple(run for each in vouching for run in each.work)
    return WaysIn(
        bearers,
        service_tokens,
        host_tokens,
        LaneCredentials(token, clock),
        work,
        tuple(each.close for each in vouching),
    )


def _oidc(settings: Settings, given: OidcSettings, clock: SystemClock) -> Iterator[_WayIn]:
    if not given.issuer:
        return
    from pymigrate.engine.adapters.identity.issuer_documents import IssuerDocuments, IssuerTerms
    from pymigrate.engine.adapters.identity.oidc import OidcAuthenticator, OidcTerms
    from pymigrate.engine.adapters.identity.published_keys import PublishedKeys

    terms = IssuerTerms(given.issuer, given.algorithm_names, given.jwks_url)
    documents = IssuerDocuments(terms, settings.outgoing_allowed_parts)
    keys = PublishedKeys(documents, given.issuer, clock)
    tokens = OidcTerms(
        given.issuer,
        given.audience,
        given.algorithm_names,
        given.principal_claim,
        given.groups_claim,
        given.clock_skew_seconds,
    )

    yield _WayIn(OidcAuthenticator(tokens, keys, clock), documents.close, (keys.run,))


def _kubernetes(given: KubernetesSettings, clock: SystemClock) -> Iterator[_WayIn]:
    if not given.tokens:
        return
    from pymigrate.engine.adapters.identity.kubernetes_tokens import KubernetesAuthenticator
    from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster

    cluster = KubernetesCluster.open(given.kubeconfig, clock=clock)
    yield _WayIn(KubernetesAuthenticator(cluster, given.tokens_audience, clock), cluster.close)
