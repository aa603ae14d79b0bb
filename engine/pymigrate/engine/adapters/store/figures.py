"""Figures of runs that have ended, within a unit of work: one row for each plan, whose body is opaque here."""

from collections.abc import Iterable, Sequence

from sqlalchemy import BigInteger, Connection, LargeBinary, bindparam, delete, insert
from sqlmodel import Field, col, select

from pymigrate.engine.adapters.store.columns import NAME
from pymigrate.engine.adapters.store.reading import read_all
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.ports.figures import KeptFigures


class RunFiguresRow(Table, table=True):
    """The figures of a plan's newest run."""

    __tablename__ = "run_figures"

    plan: str = Field(primary_key=True, sa_type=NAME)
    run: str = Field(sa_type=NAME)
    version: int = Field(sa_type=BigInteger)
    format: int = Field(sa_type=BigInteger)
    body: bytes = Field(sa_type=LargeBinary)

    def to_domain(self) -> KeptFigures:
        """The figures as the port knows them."""
        return KeptFigures(self.plan, self.run, self.version, self.format, self.body)


_INSERT = insert(RunFiguresRow)
_DELETE = delete(RunFiguresRow).where(col(RunFiguresRow.plan) == bindparam("stored_plan"))


class SqlFigures:
    """Figures in their table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of_plans(self, plans: Iterable[str]) -> Sequence[KeptFigures]:
        """What is kept of these plans, ordered by plan."""
        statement = select(RunFiguresRow).where(col(RunFiguresRow.plan).in_(sorted(set(plans))))
        return [row.to_domain() for row in read_all(self._connection, statement.order_by(col(RunFiguresRow.plan)))]

    def put(self, figures: KeptFigures) -> None:
        """Keeps them in place of what was kept of the plan."""
        self._connection.execute(_DELETE, {"stored_plan": figures.plan})
        values = {"plan": figures.plan, "run": figures.run, "version": figures.version}
        self._connection.execute(_INSERT, {**values, "format": figures.format, "body": figures.body})
