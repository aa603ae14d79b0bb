"""Where the spans of a process go: to the collector that the settings name, or nowhere."""

from collections.abc import Callable

from pymigrate.engine.ports.secrets import Secrets, parse_secret_ref
from pymigrate.engine.ports.tracing import NoTracing, Tracing
from pymigrate.engine.settings import Settings


def build_tracing(
    settings: Settings, service: str, instance: str, secrets: Secrets, clean: Callable[[str], str] = str
) -> Tracing:
    """`clean` takes secrets out of what spans say. OpenTelemetry is imported only where a collector is named. Raises SecretMissing for a
    token that is not there."""
    if not settings.otlp_endpoint:
        return NoTracing()
    from pymigrate.engine.adapters.tracing import Collector, OtlpTracing

    token = secrets.read(parse_secret_ref(settings.otlp_token, "otlp_token")) if settings.otlp_token else None
    return OtlpTracing(Collector(settings.otlp_endpoint, token, settings.trace_ratio), service, instance, clean=clean)
