"""Rows as the lines that PostgreSQL's COPY reads, written by MySQL: an expression for each column, or what stands against one.

A line is NULL where the server could not hold it (`max_allowed_packet`), and never short: every part is NULL only where it failed.
See https://www.postgresql.org/docs/current/sql-copy.html, Text Format.
"""

from collections.abc import Sequence

from pymigrate.engine.adapters.connectors.mysql_types import BYTES, TEXTS, Declared, column_type, parse
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.types import ColumnInfo

# Character sets of which every text becomes the same text in UTF-8, whatever its bytes.
_WHOLE = frozenset({"utf8mb4", "utf8mb3", "utf8", "latin1", "ascii"})
_ESCAPED = {"\\\\": "\\\\\\\\", "\\t": "\\\\t", "\\n": "\\\\n", "\\r": "\\\\r"}  # as MySQL's literals spell them
_DIGITS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
_PLAIN = frozenset({"decimal", "date", "datetime", "uuid", "inet4", "inet6"})
_LONG_TEXTS = frozenset({"mediumtext", "longtext", "json"})
# The server's REPLACE moves all that follows at each character that it replaces: long texts take minutes.
TEXT_BYTES_MAX = 65_535


def obstacle(column: ColumnInfo) -> str:
    """Why a column's text can't be exactly what PostgreSQL reads; empty where it is."""
    declared, own = parse(column.native_type), column_type(column.native_type)
    if column.type != own and not _is_bool(column, declared):
        return f"column `{column.name}` is declared as {column.type}, which is not its own type"
    if declared.word in TEXTS and declared.charset not in _WHOLE:
        return f"column `{column.name}` is of the character set {declared.charset}, whose texts are checked one by one"
    if declared.word not in _DIGITS | _PLAIN | TEXTS | BYTES | {"float", "double", "timestamp", "time", "bit", "json"}:
        return f"column `{column.name}` is {column.native_type}, which nothing is known of"
    return ""


def line(columns: Sequence[ColumnInfo]) -> str:
    """The expression of a row's line, its end included."""
    parts = ", '\\t', ".join(_nullable(column) for column in columns)
    return f"CONCAT({parts}, '\\n')"


def too_long(columns: Sequence[ColumnInfo], packet_bytes_max: int) -> str:
    """The condition for rows whose line the server writes too slowly, or not at all; empty where no row can be so long."""
    words = {column.name: parse(column.native_type).word for column in columns}
    most = {name: TEXT_BYTES_MAX for name, word in words.items() if word in _LONG_TEXTS}
    most |= {name: packet_bytes_max // 8 for name, word in words.items() if word in BYTES}
    return " OR ".join(f"LENGTH({quote(name)}) > {bytes_max}" for name, bytes_max in most.items())


def _is_bool(column: ColumnInfo, declared: Declared) -> bool:
    """Flags: only 0 and 1 are read, and PostgreSQL reads these."""
    return column.type.kind == "bool" and (declared.word, declared.arguments) in {("tinyint", "1"), ("bit", "1")}


def _nullable(column: ColumnInfo) -> str:
    text = _text(column)
    return text if column.is_required else f"IF({quote(column.name)} IS NULL, '\\\\N', {text})"


def _text(column: ColumnInfo) -> str:
    name, declared = quote(column.name), parse(column.native_type)
    match declared.word:
        case "float" | "double":
            return name if declared.word == "double" and not declared.arguments else f"({name} * 1e0)"
        case "uuid" | "inet4" | "inet6":
            # Beside a value of its own type MariaDB would read the mark for NULL as another one, and find none.
            return f"CAST({name} AS CHAR)"
        case "timestamp":
            return f"CONCAT({name}, 'Z')"
        case "time":
            # PostgreSQL has a 24:00:00, and reads others in ways of its own.
            return f"IF({name} BETWEEN '00:00:00' AND '23:59:59.999999', {name}, CONCAT('no time of a day: ', {name}))"
        case "bit":
            return (
                f"({name} + 0)" if column.type.kind == "bool" else f"LPAD(BIN({name} + 0), {declared.arguments}, '0')"
            )
        case word if word in BYTES:
            return f"CONCAT('\\\\\\\\x', HEX({name}))"
        case word if word in TEXTS or word == "json":
            return escaped(name if declared.charset == "utf8mb4" else f"CONVERT({name} USING utf8mb4)")
    return f"({name} + 0)" if declared.is_filled and declared.word != "decimal" else name


def escaped(text: str) -> str:
    """A text with what COPY reads otherwise escaped."""
    for found, spelled in _ESCAPED.items():
        text = f"REPLACE({text}, '{found}', '{spelled}')"
    return text
