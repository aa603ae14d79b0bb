"""A relation to look things up in."""

from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.transform import Lookup
from pymigrate.engine.testing.connectors import MemoryConnector

CONNECTOR = MemoryConnector()
NUMBERED = (ColumnInfo("number", ColumnType("int64")), ColumnInfo("name", ColumnType("string")))
CONNECTOR.databases["c"].put("countries", NUMBERED, [(1, "Andorra"), (2, None), (4, "Chile"), (None, "nowhere")])
CONNECTOR.databases["c"].put("doubled", NUMBERED, [(1, "one"), (1, "another")])


def open_countries(spec: Lookup) -> Source:
    """The connection that a lookup names."""
    return CONNECTOR.open_source(SystemSpec("memory", spec.connection, {}))
