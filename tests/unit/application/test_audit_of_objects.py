"""The audit trail says of a declared object what it was and what it is: digests of both, and the fields that differ."""

import hashlib

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.audit.declared import DETAIL_CHARACTERS_MAX, VALUE_CHARACTERS_MAX, updated
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.kinds import DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import environment_pb2

ANN = Caller("ann")
NAME = "environments/e/departments/sales"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def test_each_write_of_an_object_is_told_with_digests_and_the_fields_that_differ() -> None:
    store, catalog = MemoryStore(), Catalog(Surroundings(ManualClock(), iter(map(str, range(9))).__next__))
    bodies: list[bytes] = []

    def keep(unit: Unit) -> None:
        resource = unit.resources.get(NAME)
        assert resource is not None
        bodies.append(resource.body)

    def create(unit: Unit) -> None:
        catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ANN)
        department = environment_pb2.Department(owner="Ann", labels={"area": "north"})
        catalog.create(unit, DEPARTMENTS, "environments/e", "sales", department, ANN)
        keep(unit)

    def update(unit: Unit) -> None:
        changed = environment_pb2.Department(name=NAME, owner="Bob")
        catalog.update(unit, DEPARTMENTS, changed, FieldMask(paths=["owner", "labels"]), ANN)
        keep(unit)

    for work in (create, update, lambda unit: catalog.delete(unit, DEPARTMENTS, NAME, "", ANN)):
        await store.transact(work)
    trail: list[AuditEntry] = list(await store.read(lambda unit: unit.audit.about([NAME], 9)))[::-1]
    before, after = map(digest, bodies)
    assert [(each.action, each.before_digest, each.after_digest, each.detail) for each in trail] == [
        ("create", "", before, ""),
        ("update", before, after, 'owner: "Ann" → "Bob"; labels.area: "north" → nothing'),
        ("delete", after, "", ""),
    ]


def test_what_differs_is_told_as_far_as_there_is_room() -> None:
    before = environment_pb2.Department(owner="x" * 1_000, labels={"a": "1"})
    after = environment_pb2.Department(owner="y" * 1_000, labels={"a": "2"})
    said = updated(DEPARTMENTS, before.SerializeToString(), after.SerializeToString()).detail
    assert said.startswith('owner: "xxx')
    assert said.endswith('labels.a: "1" → "2"')
    assert len(said) < 3 * VALUE_CHARACTERS_MAX
    many = environment_pb2.Environment(labels={f"label-{number}": "v" * 100 for number in range(100)})
    said = updated(ENVIRONMENTS, b"", many.SerializeToString()).detail
    assert DETAIL_CHARACTERS_MAX - 200 < len(said) <= DETAIL_CHARACTERS_MAX
    assert said.endswith("; …")
