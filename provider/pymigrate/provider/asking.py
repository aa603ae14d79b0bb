"""Calls of data sources: they end when the user interrupts, and what the engine does not know or refuses is said at its argument."""

from collections.abc import Mapping
from typing import Any

import grpc

from pymigrate.provider.engine import TIMEOUT_SECONDS, Engine, refuse
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.resource import Context, DataSource
from pymigrate.provider.sdk.schema import Attribute

PAGE_SIZE = 1_000
PAGES_MAX = 1_000


def ask(
    source: DataSource,
    context: Context,
    call: tuple[str, str],
    request: Any,
    summary: str,
    seconds: float = TIMEOUT_SECONDS,
) -> Any:
    """The answer to one call, a service and its method. Raises Refused, by `summary`, for what can't be told."""
    engine: Engine = source.provider.engine()
    attributes: Mapping[str, Attribute] = source.get_schema().by_name
    try:
        return engine.wait(*call, request, seconds, context.stopping)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise Refused(summary, "The engine is older than this provider and does not tell it.") from error
        refuse(error, summary, attributes)
