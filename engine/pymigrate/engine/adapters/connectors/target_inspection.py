"""Questions about staged rows that any SQL system answers alike: keys that are not keys, and references that find nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.adapters.connectors.target_values import raise_if_any
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.staging import Dangling, ReferenceCheck

EXAMPLES_MAX = 10


def missing_relation(reference: ReferenceCheck) -> InvalidDefinition:
    """The error for a reference to a relation that is not there."""
    return InvalidDefinition((Problem("references", f"there is no relation `{reference.relation}` in the target"),))


def check_columns(reference: ReferenceCheck, columns: Sequence[str]) -> None:
    """Raises InvalidDefinition where a column that is referred to is missing."""
    raise_if_any(
        Problem("references", f"`{reference.relation}` has no column `{name}`{nearest(name, columns)}")
        for name in reference.relation_columns
        if name not in columns
    )


@dataclass(frozen=True, slots=True)
class Inspection:
    """`query` gives all rows of a small result, `text` the SQL that turns an expression into text."""

    query: Callable[[str], list[tuple[object, ...]]]
    text: Callable[[str], str]

    def duplicate_keys(self, rows: str, key: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """Key values of `rows` (a FROM item) that occur more than once or hold a NULL, and some of them."""
        columns = [quote(name) for name in key]
        names = ", ".join(columns)
        nulls = " OR ".join(f"{column} IS NULL" for column in columns)
        return self.sample(f"SELECT {names} FROM {rows} GROUP BY {names} HAVING count(*) > 1 OR {nulls}", columns)

    def dangling(self, rows: str, reference: ReferenceCheck, others: str) -> Dangling:
        """What in `rows` refers to nothing in `others` (both FROM items). Both sides are made distinct before they meet."""
        columns = [quote(name) for name in reference.columns]
        other_columns = [quote(name) for name in reference.relation_columns]
        names = ", ".join(columns)
        present = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        pairs = " AND ".join(f"r.{other} = s.{column}" for column, other in zip(columns, other_columns, strict=True))
        missing = (
            f"SELECT {', '.join(f's.{column}' for column in columns)}, s.pymigrate_rows "
            f"FROM (SELECT {names}, count(*) AS pymigrate_rows FROM {rows} WHERE {present} GROUP BY {names}) AS s "
            f"LEFT JOIN (SELECT DISTINCT {', '.join(other_columns)}, 1 AS pymigrate_present FROM {others}) AS r ON {pairs} "
            "WHERE r.pymigrate_present IS NULL"
        )
        [(total,)] = self.query(f"SELECT coalesce(sum(pymigrate_rows), 0) FROM ({missing}) AS q")
        values, examples = self.sample(missing, columns)
        return Dangling(rows=int(str(total)), values=values, examples=examples)

    def sample(self, rows: str, columns: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        """How many rows a SELECT of these columns gives, and some of them."""
        [(count,)] = self.query(f"SELECT count(*) FROM ({rows}) AS q")
        if not count:
            return 0, ()
        texts = ", ".join(self.text(column) for column in columns)
        # Qualified, since a bare name may mean the text that is selected.
        order = ", ".join(f"q.{column}" for column in columns)
        found = self.query(f"SELECT {texts} FROM ({rows}) AS q ORDER BY {order} LIMIT {EXAMPLES_MAX}")
        return int(str(count)), tuple(_shown(row) for row in found)


def _shown(values: Sequence[object]) -> str:
    """A key value as people read it: `7`, or `(7, EWR)` of several columns."""
    texts = ["NULL" if value is None else str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
