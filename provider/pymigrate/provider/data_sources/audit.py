"""data.pymigrate_audit: who did what, as the audit trail has it."""

from functools import cache
from typing import Any

from tf.types import Bool, Number

from pymigrate.provider import contract
from pymigrate.provider.asking import PAGE_SIZE, ask
from pymigrate.provider.sdk.checks import between
from pymigrate.provider.sdk.diagnostics import Refused, attribute_path
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Nesting, Schema
from pymigrate.v1 import audit_pb2
from pymigrate.v1.shape import ShapeError, from_data

EVENTS_DEFAULT, EVENTS_MAX = 100, 10_000
PAGES_MAX = 1_000
HASH = "hash"
OWN = ("events_max", "events", "is_truncated")


class AuditDataSource(DataSource):
    """Events of the audit trail that all filters let through, the oldest first."""

    @classmethod
    def get_name(cls) -> str:
        """`audit`."""
        return "audit"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The filters of the request, and the events as their message says."""
        filters = contract.attributes_of(
            audit_pb2.ListAuditEventsRequest.DESCRIPTOR, leave_out=("page_size", "page_token")
        )
        fields = contract.attributes_of(audit_pb2.AuditEvent.DESCRIPTOR, is_computed=True)
        most = f"The most events to read, 1 to {EVENTS_MAX:,}. Default: {EVENTS_DEFAULT}."
        return Schema(
            [
                *filters,
                Attribute("events_max", Number(), optional=True, check=between(1, EVENTS_MAX), description=most),
                Attribute(
                    "events",
                    nested=fields,
                    nesting=Nesting.LIST,
                    computed=True,
                    description="The events, the oldest first; their hashes in hexadecimal digits.",
                ),
                Attribute(
                    "is_truncated", Bool(), computed=True, description="Whether there are more than were to be read."
                ),
            ],
            description=(
                "Who did what, as the audit trail has it at the moment of the reading: for checks such as that nobody but a pipeline "
                "changed production. Each reading is noted in the trail itself. A trail grows: bound it by `start_time`, and use it in "
                "checks and outputs rather than as an argument of a resource."
            ),
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine, page by page, until it has enough."""
        attributes = self.get_schema().by_name
        summary = "The audit trail can't be read"
        request = audit_pb2.ListAuditEventsRequest()
        given = {name: value for name, value in config.items() if name not in OWN and value is not None}
        try:
            from_data(given, request)
        except ShapeError as error:
            raise Refused(summary, str(error), attribute_path(error.path, attributes)) from error
        most = int(config.get("events_max") or EVENTS_DEFAULT)
        found: list[Any] = []
        for _ in range(PAGES_MAX):
            request.page_size = min(most - len(found), PAGE_SIZE)
            page = ask(self, context, ("AuditService", "ListAuditEvents"), request, summary)
            found.extend(page.audit_events)
            request.page_token = page.next_page_token
            if not page.next_page_token or len(found) >= most:
                break
        events = [self._told(event) for event in found[:most]]
        return {**config, "events": events, "is_truncated": bool(request.page_token)}

    def _told(self, event: audit_pb2.AuditEvent) -> State:
        fields = dict(self.get_schema().by_name["events"].nested)
        del fields[HASH]
        return contract.to_figures(event, fields) | {HASH: event.hash.hex()}
