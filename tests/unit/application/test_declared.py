"""Declared objects: created, changed by mask and etag, owned, and never dropped while something needs them."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application import definitions
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.connection_definitions import connection_problems
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS, PHASES, children, connections_of
from pymigrate.engine.application.pages import PAGE_MAX
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.revisions import phase_hash, plan_hash
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidDefinition,
    NotFound,
    NotOwned,
    StaleWrite,
)
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, phase, systems


async def fields(engine: Engine, work) -> dict[str, str]:  # type: ignore[no-untyped-def]  # a unit of work
    """The fields that a refused unit of work names, with the reasons."""
    with pytest.raises(InvalidDefinition) as error:
        await engine.store.transact(work)
    return {problem.field: problem.description for problem in error.value.problems}


@pytest.fixture
async def declared(engine: Engine) -> Engine:
    """An engine with a plan of two phases."""
    await engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])})
    return engine


async def test_an_object_is_read_back_with_what_the_engine_adds(declared: Engine) -> None:
    found = await declared.store.read(
        lambda unit: declared.catalog.get(unit, CONNECTIONS, f"{ENVIRONMENT}/connections/legacy")
    )
    assert found.sqlite.path == "/legacy.db"
    assert found.uid
    assert found.etag
    assert found.managed_by == "api"
    assert found.create_time.seconds > 0


async def test_a_name_is_taken_once(declared: Engine) -> None:
    with pytest.raises(AlreadyExists, match="import"):
        await declared.store.transact(
            lambda unit: declared.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)
        )


async def test_an_illegal_name_is_refused(engine: Engine) -> None:
    found = await fields(
        engine, lambda unit: engine.catalog.create(unit, ENVIRONMENTS, "", "Prod", environment_pb2.Environment(), ME)
    )
    assert "environment_id" in found


async def test_a_missing_parent_is_told_with_the_nearest_name(declared: Engine) -> None:
    with pytest.raises(NotFound, match="there are `e`"):
        await declared.store.transact(
            lambda unit: declared.catalog.create(
                unit, DEPARTMENTS, "environments/prod", "hr", environment_pb2.Department(), ME
            )
        )


async def test_a_dry_creation_stores_nothing(engine: Engine) -> None:
    await engine.store.transact(
        lambda unit: engine.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME, is_dry=True)
    )
    with pytest.raises(NotFound):
        await engine.store.read(lambda unit: engine.catalog.get(unit, ENVIRONMENTS, "environments/e"))


async def test_a_mask_changes_and_clears_only_what_it_names(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/sales"

    first = environment_pb2.Department(name=name, owner="Ann", users=5)
    first.systems["crm"].description = "customers"
    await declared.store.transact(lambda unit: declared.catalog.update(unit, DEPARTMENTS, first, FieldMask(), ME))
    second = environment_pb2.Department(name=name, users=7)
    found = await declared.store.transact(
        lambda unit: declared.catalog.update(unit, DEPARTMENTS, second, FieldMask(paths=["users", "systems"]), ME)
    )
    assert (found.owner, found.users, dict(found.systems)) == ("Ann", 7, {})


async def test_a_mask_that_names_what_is_not_there_is_refused(declared: Engine) -> None:
    wanted = environment_pb2.Department(name=f"{ENVIRONMENT}/departments/sales")
    for path in ("ownr", "uid", "systems.crm.x"):
        found = await fields(
            declared,
            lambda unit, path=path: declared.catalog.update(unit, DEPARTMENTS, wanted, FieldMask(paths=[path]), ME),
        )
        assert "update_mask" in found


async def test_writing_what_is_there_changes_nothing(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/connections/legacy"
    before = await declared.store.read(lambda unit: declared.catalog.get(unit, CONNECTIONS, name))
    wanted = systems()["legacy"]
    wanted.name = name
    after = await declared.store.transact(
        lambda unit: declared.catalog.update(unit, CONNECTIONS, wanted, FieldMask(), ME)
    )
    assert after == before


async def test_an_old_etag_is_refused(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/sales"
    found = await declared.store.read(lambda unit: declared.catalog.get(unit, DEPARTMENTS, name))
    wanted = environment_pb2.Department(name=name, owner="Ann", etag=found.etag)
    await declared.store.transact(lambda unit: declared.catalog.update(unit, DEPARTMENTS, wanted, FieldMask(), ME))
    with pytest.raises(StaleWrite):
        await declared.store.transact(lambda unit: declared.catalog.update(unit, DEPARTMENTS, wanted, FieldMask(), ME))
    with pytest.raises(StaleWrite):
        await declared.store.transact(lambda unit: declared.catalog.delete(unit, DEPARTMENTS, name, found.etag, ME))


async def test_only_the_side_that_declares_an_object_changes_it(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/sales"
    other = Caller("me", "terraform")
    wanted = environment_pb2.Department(name=name, owner="Ann")
    with pytest.raises(NotOwned, match="managed by api"):
        await declared.store.transact(
            lambda unit: declared.catalog.update(unit, DEPARTMENTS, wanted, FieldMask(), other)
        )
    with pytest.raises(NotOwned):
        await declared.store.transact(lambda unit: declared.catalog.delete(unit, DEPARTMENTS, name, "", other))


async def test_a_connection_does_not_become_another_kind_of_system(declared: Engine) -> None:
    wanted = connection_pb2.Connection(
        name=f"{ENVIRONMENT}/connections/legacy", files=connection_pb2.FilesSystem(root="/data")
    )
    found = await fields(declared, lambda unit: declared.catalog.update(unit, CONNECTIONS, wanted, FieldMask(), ME))
    assert "connection.files" in found


async def test_a_connection_that_a_phase_uses_is_not_deleted(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/connections/legacy"
    with pytest.raises(FailedPrecondition, match="phases/a"):
        await declared.store.transact(lambda unit: declared.catalog.delete(unit, CONNECTIONS, name, "", ME))


async def test_a_department_that_a_phase_belongs_to_is_not_deleted(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/sales"
    with pytest.raises(FailedPrecondition, match="phases/a"):
        await declared.store.transact(lambda unit: declared.catalog.delete(unit, DEPARTMENTS, name, "", ME))


async def test_an_environment_with_objects_is_not_deleted(declared: Engine) -> None:
    with pytest.raises(FailedPrecondition, match="still holds"):
        await declared.store.transact(lambda unit: declared.catalog.delete(unit, ENVIRONMENTS, ENVIRONMENT, "", ME))


async def test_a_plan_with_phases_is_deleted_only_by_force(declared: Engine) -> None:
    with pytest.raises(FailedPrecondition, match="has phases \\(2\\)"):
        await declared.store.transact(lambda unit: declared.plans.delete(unit, PLAN, "", ME, is_forced=False))
    await declared.store.transact(lambda unit: declared.plans.delete(unit, PLAN, "", ME, is_forced=True))
    with pytest.raises(NotFound):
        await declared.store.read(lambda unit: declared.plans.get(unit, PLAN))


async def test_a_protected_plan_is_not_deleted(declared: Engine) -> None:
    wanted = plan_pb2.Plan(name=PLAN, deletion_protection=True)
    await declared.store.transact(lambda unit: declared.plans.update(unit, wanted, FieldMask(), ME, is_dry=False))
    with pytest.raises(FailedPrecondition, match="deletion_protection"):
        await declared.store.transact(lambda unit: declared.plans.delete(unit, PLAN, "", ME, is_forced=True))


async def test_the_phases_of_a_plan_are_replaced_as_a_whole(declared: Engine) -> None:
    wanted = plan_pb2.Plan(name=PLAN, phases={"b": phase("items"), "c": phase("x", needs=["b"])})
    found = await declared.store.transact(
        lambda unit: declared.plans.update(unit, wanted, FieldMask(paths=["phases"]), ME, is_dry=False)
    )
    assert sorted(found.phases) == ["b", "c"]
    assert list(found.phases["b"].dependencies) == []


async def test_dependencies_can_be_turned_round_in_one_change(declared: Engine) -> None:
    wanted = plan_pb2.Plan(name=PLAN, phases={"a": phase("orders", needs=["b"]), "b": phase("items")})
    found = await declared.store.transact(
        lambda unit: declared.plans.update(unit, wanted, FieldMask(paths=["phases"]), ME, is_dry=False)
    )
    assert list(found.phases["a"].dependencies) == ["b"]


async def test_a_plan_with_a_cycle_is_refused_whole(declared: Engine) -> None:
    wanted = plan_pb2.Plan(phases={"sales": phase("x", needs=["finance"]), "finance": phase("y", needs=["sales"])})
    found = await fields(declared, lambda unit: declared.plans.create(unit, ENVIRONMENT, "q", wanted, ME, is_dry=False))
    assert "finance → sales → finance" in found["plan.phases.finance.dependencies"]
    with pytest.raises(NotFound):
        await declared.store.read(lambda unit: declared.plans.get(unit, f"{ENVIRONMENT}/plans/q"))


async def test_two_phases_do_not_write_one_target(declared: Engine) -> None:
    found = await fields(declared, lambda unit: declared.catalog.create(unit, PHASES, PLAN, "c", phase("orders"), ME))
    assert "phase `a`" in found["phase.datasets.orders.target.relation"]


async def test_a_valid_plan_tells_its_levels(declared: Engine) -> None:
    answer = await declared.store.read(lambda unit: declared.plans.validate(unit, PLAN))
    assert [list(level.phases) for level in answer.levels] == [["a"], ["b"]]
    assert not answer.problems


async def test_a_plan_with_a_dangling_dependency_is_stored_and_told_invalid(declared: Engine) -> None:
    wanted = phase("x", needs=["later"])
    await declared.store.transact(lambda unit: declared.catalog.create(unit, PHASES, PLAN, "c", wanted, ME))
    answer = await declared.store.read(lambda unit: declared.plans.validate(unit, PLAN))
    assert [problem.field for problem in answer.problems] == ["phases.c.dependencies"]


async def test_a_request_id_makes_the_second_call_the_first(engine: Engine) -> None:
    requests = Requests(engine.clock)
    request = environment_pb2.CreateEnvironmentRequest(environment_id="e", request_id="1")

    def create(unit):  # type: ignore[no-untyped-def]  # a unit of work
        return requests.once(
            unit,
            ME,
            "create",
            request,
            request.request_id,
            environment_pb2.Environment.FromString,
            lambda inner: engine.catalog.create(inner, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME),
        )

    first = await engine.store.transact(create)
    assert await engine.store.transact(create) == first
    request.environment.display_name = "other"
    assert "request_id" in await fields(engine, create)


async def test_answers_are_forgotten_after_a_day(engine: Engine) -> None:
    requests = Requests(engine.clock)
    await engine.store.transact(lambda unit: unit.requests.put("m", "1", b"", b"", engine.clock.now()))
    engine.clock.advance(25 * 3600)
    assert await engine.store.transact(requests.forget_old) == 1


def test_a_digest_changes_with_what_moves_data_and_with_nothing_else() -> None:
    known = systems()
    base = phase("orders", needs=["x"])
    same = plan_pb2.Phase()
    same.CopyFrom(base)
    same.display_name, same.priority, same.etag, same.labels["a"] = "called so", 5, "e", "b"
    known_same = systems(lanes_max=3)
    assert phase_hash(same, known_same) == phase_hash(base, known)
    other = plan_pb2.Phase()
    other.CopyFrom(base)
    other.datasets["orders"].source.relation = "other"
    assert phase_hash(other, known) != phase_hash(base, known)
    moved = systems()
    moved["legacy"].sqlite.path = "/elsewhere.db"
    assert plan_hash({"a": base}, moved) != plan_hash({"a": base}, known)


def test_a_digest_is_the_same_in_every_version() -> None:
    assert plan_hash({"a": phase("orders")}, systems()) == plan_hash({"a": phase("orders")}, systems())
    assert len(plan_hash({}, {})) == 64


@pytest.mark.parametrize(
    ("connection", "field"),
    [
        (connection_pb2.Connection(), "system"),
        (connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="relative.db")), "sqlite.path"),
        (connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path="/a/../b")), "duckdb.path"),
        (connection_pb2.Connection(files=connection_pb2.FilesSystem()), "files.root"),
        (connection_pb2.Connection(postgres=connection_pb2.PostgresSystem()), "postgres.host"),
        (
            connection_pb2.Connection(
                postgres=connection_pb2.PostgresSystem(host="h", database="d", user="u", password="hunter2")
            ),
            "postgres.password",
        ),
        (
            connection_pb2.Connection(
                postgres=connection_pb2.PostgresSystem(host="h", database="d", user="u", ssl_mode="x")
            ),
            "postgres.ssl_mode",
        ),
        (connection_pb2.Connection(mysql=connection_pb2.MysqlSystem(host="h", user="u")), "mysql.database"),
        (
            connection_pb2.Connection(
                mysql=connection_pb2.MysqlSystem(host="h", database="d", user="u", password="hunter2")
            ),
            "mysql.password",
        ),
        (
            connection_pb2.Connection(
                mysql=connection_pb2.MysqlSystem(host="h", database="d", user="u", ssl_mode="allow")
            ),
            "mysql.ssl_mode",
        ),
        (connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/a"), lanes_max=-1), "lanes_max"),
        (connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/a"), labels={"x": "y" * 300}), "labels.x"),
    ],
)
def test_what_is_wrong_with_a_connection_is_told_at_its_field(
    connection: connection_pb2.Connection, field: str
) -> None:
    assert field in [problem.field for problem in connection_problems(connection)]


def test_a_password_that_is_no_reference_is_never_repeated() -> None:
    system = connection_pb2.PostgresSystem(host="h", database="d", user="u", password="hunter2")
    problems = list(connection_problems(connection_pb2.Connection(postgres=system)))
    assert problems
    assert not any("hunter2" in problem.description for problem in problems)


def test_what_is_wrong_with_a_dataset_is_told_at_its_field() -> None:
    broken = phase("orders")
    dataset = broken.datasets["orders"]
    dataset.source.connection, dataset.source.csv.delimiter = "warehouse", "ab"
    dataset.source.columns["x"].type = "integer"
    dataset.key.extend(["a", "a"])
    dataset.chunk_bytes = 1
    dataset.references["r"].columns.append("a")
    dataset.target.relation = ""
    broken.department = "sails"
    found = {problem.field for problem in definitions.phase_problems(broken, systems(), {"sales"})}
    assert found == {
        "department",
        "datasets.orders.target.connection",
        "datasets.orders.source.csv",
        "datasets.orders.source.csv.delimiter",
        "datasets.orders.source.columns.x.type",
        "datasets.orders.key",
        "datasets.orders.chunk_bytes",
        "datasets.orders.references.r.relation",
        "datasets.orders.references.r.columns",
        "datasets.orders.target.relation",
    }


def test_what_is_wrong_with_a_department_is_told_at_its_field() -> None:
    broken = environment_pb2.Department(users=-1, owner="x" * 300)
    broken.downtime_cost_per_hour.currency_code = "euro"
    broken.downtime_cost_per_hour.amount = -1
    broken.systems["CRM"].description = ""
    found = {problem.field for problem in definitions.department_problems(broken)}
    assert found == {
        "users",
        "owner",
        "downtime_cost_per_hour.currency_code",
        "downtime_cost_per_hour.amount",
        "systems.CRM",
    }


async def updated(engine: Engine, message: environment_pb2.Department, *paths: str) -> environment_pb2.Department:
    """A department after an update under a mask."""
    return await engine.store.transact(
        lambda unit: engine.catalog.update(unit, DEPARTMENTS, message, FieldMask(paths=paths), ME)
    )


async def test_a_mask_reaches_into_a_message_and_clears_what_the_request_leaves_out(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/sales"
    first = environment_pb2.Department(name=name, owner="Ann")
    first.downtime_cost_per_hour.currency_code, first.downtime_cost_per_hour.amount = "EUR", 5.0
    await updated(declared, first)
    second = environment_pb2.Department(name=name)
    second.downtime_cost_per_hour.amount = 7.0
    found = await updated(declared, second, "downtime_cost_per_hour.amount")
    assert (found.downtime_cost_per_hour.currency_code, found.downtime_cost_per_hour.amount) == ("EUR", 7.0)
    found = await updated(declared, environment_pb2.Department(name=name), "downtime_cost_per_hour.amount")
    assert (found.downtime_cost_per_hour.currency_code, found.downtime_cost_per_hour.amount) == ("EUR", 0.0)
    found = await updated(declared, environment_pb2.Department(name=name), "downtime_cost_per_hour")
    assert not found.HasField("downtime_cost_per_hour")
    found = await updated(declared, environment_pb2.Department(name=name), "downtime_cost_per_hour.amount")
    assert not found.HasField("downtime_cost_per_hour")
    assert found.owner == "Ann"


async def test_a_star_in_a_mask_is_every_field(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/sales"
    await updated(declared, environment_pb2.Department(name=name, owner="Ann", users=5))
    found = await updated(declared, environment_pb2.Department(name=name, users=6), "*")
    assert (found.owner, found.users) == ("", 6)


async def test_a_map_is_replaced_as_a_whole(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/sales"
    first = environment_pb2.Department(name=name, labels={"a": "1", "b": "2"})
    await updated(declared, first)
    found = await updated(declared, environment_pb2.Department(name=name, labels={"b": "3"}), "labels")
    assert dict(found.labels) == {"b": "3"}


async def test_a_connection_can_not_lose_its_system_by_a_mask(declared: Engine) -> None:
    wanted = connection_pb2.Connection(name=f"{ENVIRONMENT}/connections/legacy")
    found = await fields(
        declared,
        lambda unit: declared.catalog.update(unit, CONNECTIONS, wanted, FieldMask(paths=["sqlite"]), ME),
    )
    assert found.keys() == {"connection.system"}


async def test_a_connections_path_is_changed_by_a_mask_that_reaches_it(declared: Engine) -> None:
    wanted = connection_pb2.Connection(
        name=f"{ENVIRONMENT}/connections/legacy", sqlite=connection_pb2.SqliteSystem(path="/moved.db")
    )
    found = await declared.store.transact(
        lambda unit: declared.catalog.update(unit, CONNECTIONS, wanted, FieldMask(paths=["sqlite.path"]), ME)
    )
    assert found.sqlite.path == "/moved.db"


async def test_what_the_engine_tells_is_not_taken_from_a_caller(declared: Engine) -> None:
    wanted = environment_pb2.Department(name="x", uid="mine", managed_by="git", etag="e")
    made = await declared.store.transact(
        lambda unit: declared.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, "hr", wanted, ME)
    )
    assert made.name == f"{ENVIRONMENT}/departments/hr"
    assert made.uid != "mine"
    assert made.managed_by == "api"


async def test_a_department_tells_unknown_connections_and_departments(declared: Engine) -> None:
    wanted = environment_pb2.Department(dependencies=["sails", "hr"])
    wanted.systems["crm"].connection = "legcy"
    found = await fields(
        declared, lambda unit: declared.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, "hr", wanted, ME)
    )
    assert "did you mean `legacy`?" in found["department.systems.crm.connection"]
    assert "no other department `hr`" in found["department.dependencies"]


async def test_objects_are_listed_page_by_page(engine: Engine) -> None:
    def create(unit):  # type: ignore[no-untyped-def]  # a unit of work
        for name in "cab":
            engine.catalog.create(unit, ENVIRONMENTS, "", name, environment_pb2.Environment(), ME)

    await engine.store.transact(create)
    first, token = await engine.store.read(lambda unit: engine.catalog.list(unit, ENVIRONMENTS, "", 2, ""))
    second, end = await engine.store.read(lambda unit: engine.catalog.list(unit, ENVIRONMENTS, "", 2, token))
    assert [found.name[-1] for found in (*first, *second)] == ["a", "b", "c"]
    assert end == ""
    everything = await engine.store.read(lambda unit: list(engine.catalog.all(unit, ENVIRONMENTS, "")))
    assert len(everything) == 3
    assert "page_size" in await fields(engine, lambda unit: engine.catalog.list(unit, ENVIRONMENTS, "", -1, ""))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("warehouse", "is no resource name"),
        ("", "is no resource name"),
        ("environments/e/plans", "is no resource name"),
        ("environments/e" + "/plans/p" * 5_000, "is no resource name"),
        ("environments/e/plans/wharehouse", "there are `p`"),
        ("environments/f/plans/p", "no environments/f"),
        ("environments/e/connections/p", "did you mean|there are"),
    ],
)
async def test_a_name_that_leads_nowhere_is_told_with_what_is_near(declared: Engine, name: str, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        await declared.store.read(lambda unit: declared.plans.get(unit, name))


async def test_an_object_of_another_collection_is_not_found(declared: Engine) -> None:
    with pytest.raises(NotFound):
        await declared.store.read(lambda unit: declared.catalog.get(unit, DEPARTMENTS, PLAN))


async def test_every_write_is_audited_with_who_did_it(declared: Engine) -> None:
    name = f"{ENVIRONMENT}/departments/hr"
    ann = Caller("ann")
    await declared.store.transact(
        lambda unit: declared.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, "hr", environment_pb2.Department(), ann)
    )
    wanted = environment_pb2.Department(name=name, owner="Ann")
    await declared.store.transact(lambda unit: declared.catalog.update(unit, DEPARTMENTS, wanted, FieldMask(), ann))
    await declared.store.transact(lambda unit: declared.catalog.update(unit, DEPARTMENTS, wanted, FieldMask(), ann))
    await declared.store.transact(lambda unit: declared.catalog.delete(unit, DEPARTMENTS, name, "", ann))
    entries = await declared.store.read(lambda unit: list(unit.audit.list(0, 1_000)))
    found = [(entry.actor, entry.action, entry.version) for entry in entries if entry.subject == name]
    assert found == [("ann", "create", 1), ("ann", "update", 2), ("ann", "delete", 2)]


async def test_a_plan_whose_phases_alone_are_replaced_is_guarded_like_any_other(declared: Engine) -> None:
    wanted = plan_pb2.Plan(name=PLAN, phases={"a": phase("orders")})
    mask = FieldMask(paths=["phases"])
    with pytest.raises(NotOwned, match="managed by api"):
        await declared.store.transact(
            lambda unit: declared.plans.update(unit, wanted, mask, Caller("me", "git"), is_dry=False)
        )
    wanted.etag = "old"
    with pytest.raises(StaleWrite):
        await declared.store.transact(lambda unit: declared.plans.update(unit, wanted, mask, ME, is_dry=False))


async def test_a_change_of_phases_that_is_refused_changes_none(declared: Engine) -> None:
    before = await declared.store.read(lambda unit: declared.plans.get(unit, PLAN))
    wanted = plan_pb2.Plan(name=PLAN, display_name="new", phases={"c": phase("x"), "d": phase("y", needs=["e"])})
    mask = FieldMask(paths=["display_name", "phases"])
    found = await fields(declared, lambda unit: declared.plans.update(unit, wanted, mask, ME, is_dry=False))
    assert found.keys() == {"plan.phases.d.dependencies"}
    assert await declared.store.read(lambda unit: declared.plans.get(unit, PLAN)) == before


async def test_dry_changes_of_a_plan_check_and_store_nothing(declared: Engine) -> None:
    before = await declared.store.read(lambda unit: declared.plans.get(unit, PLAN))
    mask = FieldMask(paths=["display_name", "phases"])
    wanted = plan_pb2.Plan(name=PLAN, display_name="new", phases={"c": phase("x")})
    await declared.store.transact(lambda unit: declared.plans.update(unit, wanted, mask, ME, is_dry=True))
    other = plan_pb2.Plan(phases={"c": phase("x")})
    await declared.store.transact(lambda unit: declared.plans.create(unit, ENVIRONMENT, "q", other, ME, is_dry=True))
    assert await declared.store.read(lambda unit: declared.plans.get(unit, PLAN)) == before
    with pytest.raises(NotFound):
        await declared.store.read(lambda unit: declared.plans.get(unit, f"{ENVIRONMENT}/plans/q"))


async def test_a_single_phase_that_would_close_a_circle_is_refused(declared: Engine) -> None:
    wanted = phase("orders", needs=["b"])
    wanted.name = f"{PLAN}/phases/a"
    found = await fields(declared, lambda unit: declared.catalog.update(unit, PHASES, wanted, FieldMask(), ME))
    assert "a → b → a" in found["phase.dependencies"]


async def test_a_phase_tells_its_digest_and_a_plan_the_same(declared: Engine) -> None:
    plan = await declared.store.read(lambda unit: declared.plans.get(unit, PLAN))
    alone = await declared.store.read(
        lambda unit: declared.plans.complete_phase(unit, declared.catalog.get(unit, PHASES, f"{PLAN}/phases/a"))
    )
    assert alone.definition_hash == plan.phases["a"].definition_hash != plan.phases["b"].definition_hash


async def test_phases_that_are_told_together_have_the_digests_that_each_has_alone(declared: Engine) -> None:
    def work(unit: Unit) -> None:
        phases, _ = declared.catalog.list(unit, PHASES, PLAN, 0, "")
        phases[1].datasets["items"].source.connection = "warehouse"
        together = [phase_hash(each, connections_of(unit, ENVIRONMENT)) for each in phases]
        assert len(set(together)) == len(phases) == 2
        assert [each.definition_hash for each in declared.plans.complete_phases(unit, phases)] == together
        assert declared.plans.complete_phases(unit, []) == []

    await declared.store.read(work)


@pytest.mark.parametrize("count", [0, PAGE_MAX, PAGE_MAX + 1])
async def test_all_objects_below_another_are_found_however_many_pages_they_fill(engine: Engine, count: int) -> None:
    def work(unit: Unit) -> None:
        engine.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)
        for number in range(count):
            department = environment_pb2.Department()
            engine.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, f"d{number:04}", department, ME, is_checked=True)
        names = [last_segment(found.name) for found in children(unit, "departments", ENVIRONMENT)]
        assert names == [f"d{number:04}" for number in range(count)]

    await engine.store.transact(work)


async def test_a_request_id_that_is_too_long_is_refused(engine: Engine) -> None:
    requests = Requests(engine.clock)
    request = environment_pb2.CreateEnvironmentRequest(environment_id="e")
    found = await fields(
        engine,
        lambda unit: requests.once(
            unit,
            ME,
            "create",
            request,
            "x" * 129,
            environment_pb2.Environment.FromString,
            lambda _: request.environment,
        ),
    )
    assert found == {"request_id": "has at most 128 characters"}
