"""Transforms as a worker host gets them: found by entry point, with their keys, and over CSV files with declared types."""

from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.files import FilesConnector
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, SecretMissing
from pymigrate.engine.entrypoints.worker import definitions
from pymigrate.engine.entrypoints.worker.transforms import Transforms, transform_spec
from pymigrate.engine.main.worker import transforms_by_name
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.secrets import Secret, SecretRef
from pymigrate.engine.testing.transforms import MarkingKind
from pymigrate.v1 import plan_pb2, worker_pb2
from pymigrate.v1.shape import from_data


class NoSecrets:
    """A place that keeps none."""

    schemes: frozenset[str] = frozenset()

    def read(self, ref: SecretRef) -> Secret:
        raise SecretMissing(f"{ref} leads to nothing")


def work(folder: Path, **dataset: object) -> worker_pb2.DatasetWork:
    """A dataset of the file `orders.csv`."""
    made = worker_pb2.DatasetWork(staging_id="s1")
    made.source.files.root = str(folder)
    made.target.postgres.host = "nowhere"
    columns = {"amount": {"type": "decimal(6,2)"}, "id": {"type": "int64"}}
    source = {"connection": "drop", "relation": "orders.csv", "columns": columns}
    from_data({"source": source, "target": {"connection": "w", "relation": "orders"}, **dataset}, made.dataset)
    return made


def read(folder: Path, made: worker_pb2.DatasetWork) -> tuple[list[dict[str, object]], list[tuple[int, str]]]:
    """The rows that go on, and those that are refused."""
    system = SystemSpec("files", "drop", {"root": str(folder)})
    transforms = Transforms(lambda _: FilesConnector(), NoSecrets(), lambda _: MarkingKind())
    source = transforms.over(made, lambda: FilesConnector().open_source(system))()
    try:
        relation = definitions.source_relation(made)
        columns = source.describe(relation).columns
        chunks = list(source.chunks(relation, columns, None))
        rows = [row for chunk in chunks for batch in chunk.batches for row in batch.to_pylist()]
        return rows, [(row.row, row.column) for chunk in chunks for row in chunk.refused]
    finally:
        source.close()


def test_with_a_quarantine_a_value_of_another_type_in_a_csv_file_is_refused_with_its_row_alone(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,amount,name\n1,2.50,a\nx,1.00,b\n3,1.005,c\n4,7,d\n")
    rows, refused = read(tmp_path, work(tmp_path, quarantine={"rowsMax": 5}))
    assert [(row["id"], str(row["amount"]), row["name"]) for row in rows] == [(1, "2.50", "a"), (4, "7.00", "d")]
    assert refused == [(2, "id"), (3, "amount")]
    with pytest.raises(DataRefused):
        read(tmp_path, work(tmp_path, transforms=[{"drop": {"columns": ["name"]}}]))


def test_a_declared_type_of_a_column_that_is_not_there_is_a_problem_of_the_source_as_ever(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,name\n1,a\n")
    with pytest.raises(InvalidDefinition) as raised:
        read(tmp_path, work(tmp_path, quarantine={"rowsMax": 5}))
    assert raised.value.problems[0].field == "source.columns.amount"


def test_a_key_that_leads_nowhere_is_a_problem_of_its_transform(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,amount\n1,2\n")
    mask = {"mask": {"columns": {"id": {"method": "hash"}}, "key": "env://NOWHERE"}}
    with pytest.raises(SecretMissing) as raised:
        read(tmp_path, work(tmp_path, transforms=[{"drop": {"columns": ["amount"]}}, mask]))
    assert raised.value.field == "transforms[1].mask.key"


def test_a_package_brings_a_transform_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "acme-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[pymigrate.transforms]\nmarking = pymigrate.engine.testing.transforms:MarkingKind\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(transforms_by_name()("marking"), MarkingKind)
    with pytest.raises(InvalidDefinition, match="no transform `makring`; did you mean `marking`"):
        transforms_by_name()("makring")


def test_every_kind_of_the_contract_is_known_to_the_worker() -> None:
    for field in plan_pb2.Transform.DESCRIPTOR.oneofs_by_name["kind"].fields:
        made = plan_pb2.Transform()
        getattr(made, field.name).SetInParent()
        assert transform_spec(made, NoSecrets()) is not None
