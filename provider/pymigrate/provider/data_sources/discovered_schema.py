"""data.pymigrate_discovered_schema: what lies behind a connection, as its system tells it."""

from functools import cache

from tf.types import Bool

from pymigrate.provider import contract
from pymigrate.provider.asking import ask
from pymigrate.provider.descriptions import description_of
from pymigrate.provider.formats import CONNECTION
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Nesting, Schema
from pymigrate.v1 import connection_pb2

DISCOVER_SECONDS = 180.0  # a system with thousands of tables takes its time


class DiscoveredSchemaDataSource(DataSource):
    """The relations behind a connection, read from the system itself."""

    @classmethod
    def get_name(cls) -> str:
        """`discovered_schema`."""
        return "discovered_schema"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The connection, and its relations by their names."""
        fields = contract.attributes_of(connection_pb2.RelationSchema.DESCRIPTOR, is_computed=True)
        return Schema(
            [
                Attribute(
                    "connection",
                    required=True,
                    check=CONNECTION,
                    description="Resource name of the connection, such as `environments/prod/connections/crm`.",
                ),
                Attribute(
                    "relation_glob",
                    optional=True,
                    description=description_of("DiscoverSchemaRequest.relation_glob"),
                ),
                Attribute(
                    "relations",
                    nested=fields,
                    nesting=Nesting.MAP,
                    computed=True,
                    description="The relations by their names, at most 10,000.",
                ),
                Attribute(
                    "is_truncated",
                    Bool(),
                    computed=True,
                    description=description_of("DiscoverSchemaResponse.is_truncated"),
                ),
            ],
            description=(
                "What lies behind a connection, read from the system itself at every plan: relations with their columns, keys and sizes. "
                "Phases can be made of it."
            ),
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine, which asks the system."""
        name, glob = config["connection"], config.get("relation_glob")
        request = connection_pb2.DiscoverSchemaRequest(name=name, relation_glob=glob or "")
        summary = f"What lies behind {name} can't be told"
        found = ask(self, context, ("ConnectionService", "DiscoverSchema"), request, summary, DISCOVER_SECONDS)
        fields = self.get_schema().by_name["relations"].nested
        return {
            "connection": name,
            "relation_glob": glob,
            "relations": {each.relation: contract.to_figures(each, fields) for each in found.relations},
            "is_truncated": found.is_truncated,
        }
