"""What may be declared: every problem is told, with the path of its field and the nearest name."""

from collections.abc import Callable, Iterable

import pytest

from pymigrate.engine.application import definitions
from pymigrate.engine.application.connection_definitions import connection_problems
from pymigrate.engine.application.dataset_definitions import shared_targets
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2
from tests.unit.application.engines import phase, systems

Break = Callable[[plan_pb2.Dataset], object]


def told(problems: Iterable[Problem]) -> dict[str, str]:
    """The fields with what is wrong."""
    return {problem.field: problem.description for problem in problems}


def problems_of(dataset: plan_pb2.Dataset) -> dict[str, str]:
    """What is wrong with a phase that has this dataset alone."""
    found = phase("orders")
    found.datasets["orders"].CopyFrom(dataset)
    return told(definitions.phase_problems(found, systems(), {"sales"}))


def test_a_phase_that_is_right_has_no_problem() -> None:
    assert problems_of(phase("orders").datasets["orders"]) == {}


def _delimiter(text: str) -> Break:
    def change(dataset: plan_pb2.Dataset) -> None:
        dataset.source.csv.delimiter = text

    return change


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        (lambda d: setattr(d.source, "connection", ""), "source.connection", "is required"),
        (lambda d: setattr(d.source, "connection", "legcy"), "source.connection", "did you mean `legacy`?"),
        (
            lambda d: setattr(d.source, "connection", "warehouse"),
            "target.connection",
            "the DuckDB file that the dataset reads",
        ),
        (lambda d: setattr(d.source, "relation", ""), "source.relation", "is required"),
        (lambda d: setattr(d.source, "relation", "x" * 201), "source.relation", "200 characters"),
        (lambda d: setattr(d.target, "relation", "a\0b"), "target.relation", "no NUL"),
        (lambda d: setattr(d.target, "connection", "wharehouse"), "target.connection", "did you mean `warehouse`?"),
        (lambda d: d.source.parquet.SetInParent(), "source.parquet", "is for files; `legacy` is sqlite"),
        (_delimiter("é"), "source.csv.delimiter", "ASCII"),
        (_delimiter('"'), "source.csv.delimiter", "one character"),
        (lambda d: setattr(d.source.columns["x"], "type", "int"), "source.columns.x.type", "int64"),
        (lambda d: d.key.extend(["a", "b", "a"]), "key", "twice"),
        (lambda d: d.target.schema.omit.extend([1, 2, 1]), "target.schema.omit", "twice"),
        (lambda d: setattr(d, "chunk_bytes", 1024**3 + 1), "chunk_bytes", "65,536"),
        (lambda d: setattr(d, "chunk_bytes", -1), "chunk_bytes", "65,536"),
        (lambda d: setattr(d.references["Bad"], "relation", "x"), "references.Bad", "is no name"),
        (lambda d: d.references["r"].columns.append("a"), "references.r.relation", "is required"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_told_at_its_field(change: Break, field: str, says: str) -> None:
    dataset = plan_pb2.Dataset()
    dataset.CopyFrom(phase("orders").datasets["orders"])
    change(dataset)
    assert says in problems_of(dataset)[f"datasets.orders.{field}"]


def test_formats_are_for_files_and_are_right_there() -> None:
    files = {
        "drop": connection_pb2.Connection(files=connection_pb2.FilesSystem(root="/drop")),
        "warehouse": systems()["warehouse"],
    }
    found = phase("orders")
    found.datasets["orders"].source.connection = "drop"
    for delimiter in ("", ";", "\t"):
        found.datasets["orders"].source.csv.delimiter = delimiter
        assert told(definitions.phase_problems(found, files, {"sales"})) == {}


def _merging(policy: "plan_pb2.ConflictPolicy.ValueType", order_column: str) -> plan_pb2.Dataset:
    dataset = plan_pb2.Dataset(order_column=order_column, conflict_policy=policy, key=["id"])
    dataset.source.CopyFrom(phase("orders").datasets["orders"].source)
    dataset.target.CopyFrom(phase("orders").datasets["orders"].target)
    dataset.target.load_mode = plan_pb2.LOAD_MODE_MERGE
    return dataset


def test_a_column_to_order_by_belongs_to_the_policy_latest_and_to_it_alone() -> None:
    field = "datasets.orders.order_column"
    latest, overwrite = plan_pb2.CONFLICT_POLICY_LATEST, plan_pb2.CONFLICT_POLICY_OVERWRITE
    assert problems_of(_merging(latest, "changed_at")) == {}
    assert "is required by conflict policy `latest`" in problems_of(_merging(latest, ""))[field]
    assert "belongs to the key" in problems_of(_merging(latest, "id"))[field]
    assert "for conflict policy `latest` alone" in problems_of(_merging(overwrite, "changed_at"))[field]


@pytest.mark.parametrize("path", ["/legacy.db", "/data/../legacy.db"])
def test_the_sqlite_file_that_is_read_is_not_written_to(path: str) -> None:
    found = {**systems(), "legacy-too": connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path=path))}
    copied = phase("orders")
    copied.datasets["orders"].target.connection = "legacy-too"
    [problem] = definitions.phase_problems(copied, found, {"sales"})
    assert problem.field == "datasets.orders.target.connection"
    assert "is the SQLite file that the dataset reads" in problem.description


def test_each_writer_of_a_relation_is_told_once_with_the_first_that_it_meets() -> None:
    many = phase(*(f"orders-{number:03}" for number in range(300)))
    for dataset in many.datasets.values():
        dataset.target.relation = "orders"
    found = list(shared_targets({"": many}))
    assert [problem.field for problem in found] == [f"datasets.orders-{at:03}.target.relation" for at in range(1, 300)]
    assert {problem.description.partition(" already")[0] for problem in found} == {
        "`orders` is the target of dataset `orders-000`"
    }


def test_a_writer_meets_one_of_another_phase_whatever_came_between() -> None:
    phases = {name: phase("orders") for name in ("a", "b", "c", "d")}
    for name in ("b", "c"):
        phases[name].datasets["orders"].target.load_mode = plan_pb2.LOAD_MODE_APPEND
    found = {problem.field: problem.description for problem in shared_targets(phases)}
    assert sorted(found) == [f"phases.{name}.datasets.orders.target.relation" for name in ("b", "c", "d")]
    assert all("of phase `a` already" in description for description in found.values())


def test_several_datasets_may_append_to_one_relation_but_not_append_and_merge() -> None:
    found = phase("orders")
    found.datasets["again"].CopyFrom(found.datasets["orders"])
    for dataset in found.datasets.values():
        dataset.target.load_mode = plan_pb2.LOAD_MODE_APPEND
    assert told(definitions.phase_problems(found, systems(), {"sales"})) == {}
    found.datasets["again"].CopyFrom(_merging(plan_pb2.CONFLICT_POLICY_QUARANTINE, ""))
    problems = told(definitions.phase_problems(found, systems(), {"sales"}))
    assert "give both load mode `append`" in problems["datasets.orders.target.relation"]


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        (lambda p: setattr(p, "department", ""), "department", "is required"),
        (lambda p: setattr(p, "department", "sails"), "department", "did you mean `sales`?"),
        (lambda p: setattr(p, "priority", 1_001), "priority", "-1,000 to 1,000"),
        (lambda p: p.datasets.clear(), "datasets", "1 to 10,000"),
        (lambda p: p.dependencies.extend(["x", "x"]), "dependencies", "twice"),
        (lambda p: p.datasets["Orders"].CopyFrom(p.datasets["orders"]), "datasets.Orders", "is no name"),
        (lambda p: p.datasets["again"].CopyFrom(p.datasets["orders"]), "datasets.orders.target.relation", "`again`"),
        (lambda p: p.labels.update({"": "x"}), "labels.", "1 to 64"),
        (lambda p: p.labels.update({f"l{n}": "" for n in range(65)}), "labels", "at most 64"),
        (lambda p: setattr(p, "display_name", "x" * 201), "display_name", "200 characters"),
    ],
)
def test_what_is_wrong_with_a_phase_is_told_at_its_field(
    change: Callable[[plan_pb2.Phase], object], field: str, says: str
) -> None:
    found = phase("orders")
    change(found)
    assert says in told(definitions.phase_problems(found, systems(), {"sales"}))[field]


def test_without_any_department_it_is_said_that_there_is_none() -> None:
    assert "none is declared yet" in told(definitions.phase_problems(phase("o"), systems(), set()))["department"]


def test_a_plan_tells_the_problems_of_all_its_phases_and_of_their_graph() -> None:
    phases = {
        "a": phase("orders", needs=["c"]),
        "b": phase("orders", needs=["a", "d"]),
        "c": phase("x", needs=["b"]),
        "Bad": phase("y"),
    }
    phases["a"].priority = 9_999
    found = told(definitions.plan_problems(phases, systems(), {"sales"}))
    assert found["phases.a.priority"] == "must be -1,000 to 1,000"
    assert "is no name" in found["phases.Bad"]
    assert "there is no phase `d`" in found["phases.b.dependencies"]
    assert "a → c → b → a" in found["phases.a.dependencies"]
    assert "of phase `a` already" in found["phases.b.datasets.orders.target.relation"]


def test_an_environment_and_a_plan_have_limits() -> None:
    environment = environment_pb2.Environment(description="x" * 2_001, lanes_max=10_001)
    assert told(definitions.environment_problems(environment)).keys() == {"description", "lanes_max"}
    assert told(definitions.plan_own_problems(plan_pb2.Plan(lanes_max=-1))).keys() == {"lanes_max"}


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -0.01, 1e15])
def test_what_is_no_amount_of_money_is_refused(amount: float) -> None:
    department = environment_pb2.Department()
    department.downtime_cost_per_hour.currency_code = "EUR"
    department.downtime_cost_per_hour.amount = amount
    assert told(definitions.department_problems(department)).keys() == {"downtime_cost_per_hour.amount"}


@pytest.mark.parametrize(
    "password",
    ["env://DB_PASSWORD", "file:///run/secrets/db", "file:///run/secrets/all.json#db", "env://ALL#db", ""],
)
def test_a_reference_to_a_secret_is_right(password: str) -> None:
    system = connection_pb2.PostgresSystem(host="h", database="d", user="u", password=password, port=5432)
    assert told(connection_problems(connection_pb2.Connection(postgres=system))) == {}


@pytest.mark.parametrize("password", ["env://1A", "file://relative", "http://x/y", "env://A b", "vault://x"])
def test_what_is_no_reference_is_refused_without_repeating_it(password: str) -> None:
    system = connection_pb2.PostgresSystem(host="h", database="d", user="u", password=password)
    found = told(connection_problems(connection_pb2.Connection(postgres=system)))
    assert found.keys() == {"postgres.password"}
    assert password not in found["postgres.password"]


@pytest.mark.parametrize("system", [connection_pb2.PostgresSystem, connection_pb2.MysqlSystem])
def test_a_login_in_a_host_is_refused_without_repeating_it(
    system: type[connection_pb2.PostgresSystem | connection_pb2.MysqlSystem],
) -> None:
    kind = "postgres" if system is connection_pb2.PostgresSystem else "mysql"
    declared = system(host="me:hunter2@db", database="d", user="u")
    found = told(connection_problems(connection_pb2.Connection(**{kind: declared})))  # type: ignore[arg-type]  # by its kind
    assert found.keys() == {f"{kind}.host"}
    assert "hunter2" not in found[f"{kind}.host"]


def test_an_abstract_socket_is_a_host() -> None:
    system = connection_pb2.PostgresSystem(host="@/tmp/s", database="d", user="u")
    assert told(connection_problems(connection_pb2.Connection(postgres=system))) == {}


@pytest.mark.parametrize("port", [-1, 65_536])
def test_what_is_no_port_is_refused(port: int) -> None:
    system = connection_pb2.PostgresSystem(host="h", database="d", user="u", port=port)
    found = told(connection_problems(connection_pb2.Connection(postgres=system)))
    assert found.keys() == {"postgres.port"}


def followed(name: str = "legacy", policy: int = plan_pb2.DOWNTIME_POLICY_ONLINE) -> plan_pb2.Phase:
    """A phase whose dataset follows its source."""
    found = phase("orders")
    found.downtime_policy = policy  # type: ignore[assignment]  # a number of the enum
    found.datasets["orders"].source.connection = name
    found.datasets["orders"].catch_up.logical.SetInParent()
    return found


def online_problems(found: plan_pb2.Phase) -> dict[str, str]:
    connections = systems()
    connections["shop"] = connection_pb2.Connection(
        postgres=connection_pb2.PostgresSystem(host="h", database="d", user="u")
    )
    connections["server"] = connection_pb2.Connection(
        mysql=connection_pb2.MysqlSystem(host="h", database="d", user="u")
    )
    connections["file"] = connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path="/other.duckdb"))
    connections["folder"] = connection_pb2.Connection(files=connection_pb2.FilesSystem(root="/data"))
    connections["api"] = connection_pb2.Connection(http=connection_pb2.HttpApiSystem(base_url="https://h"))
    connections["general"] = connection_pb2.Connection(
        sqlalchemy=connection_pb2.SqlalchemySystem(url="oracle+oracledb://h")
    )
    return told(definitions.phase_problems(found, connections, {"sales"}))


def test_a_dataset_of_an_online_phase_says_how_it_follows_its_source() -> None:
    found = followed("shop")
    assert online_problems(found) == {}
    found.datasets["orders"].ClearField("catch_up")
    assert "is required" in online_problems(found)["datasets.orders.catch_up"]
    found.datasets["orders"].catch_up.opens_source = True
    assert "set `logical` or `column`" in online_problems(found)["datasets.orders.catch_up"]


def test_what_can_not_be_followed_is_refused_at_once() -> None:
    assert "is for PostgreSQL; `legacy` is sqlite" in online_problems(followed())["datasets.orders.catch_up.logical"]
    offline = followed("shop", plan_pb2.DOWNTIME_POLICY_OFFLINE)
    assert "for downtime policy `online` alone" in online_problems(offline)["datasets.orders.catch_up"]
    found = followed("shop")
    found.datasets["orders"].catch_up.lag_seconds_max = 86_401
    assert "1 to 86,400" in online_problems(found)["datasets.orders.catch_up.lag_seconds_max"]
    found = followed("shop")
    found.datasets["orders"].catch_up.column.overlap = -1
    assert "name the column" in online_problems(found)["datasets.orders.catch_up.column.name"]
    assert "negative" in online_problems(found)["datasets.orders.catch_up.column.overlap"]
    found = followed("shop")
    found.datasets["orders"].transforms.add().drop.columns.append("x")
    found.datasets["orders"].transforms.add().deduplicate.columns.append("x")
    assert online_problems(found).keys() == {"datasets.orders.transforms[1].deduplicate"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file", "nobody else can write to a DuckDB file while it is read"),
        ("folder", "nothing keeps files from being written to"),
        ("api", "behind an API"),
        ("general", "name it as such"),
    ],
)
def test_a_source_that_can_not_keep_writes_out_is_refused_with_what_to_do(name: str, says: str) -> None:
    found = followed(name)
    found.datasets["orders"].catch_up.column.name = "version"
    problem = online_problems(found)["datasets.orders.catch_up.column"]
    assert says in problem
    assert "use downtime policy `read_only` or `offline`" in problem


def test_a_growing_column_follows_mysql_and_sqlite_into_targets_that_take_changes_by_key() -> None:
    for name in ("shop", "legacy", "server"):
        found = followed(name)
        found.datasets["orders"].catch_up.column.name = "version"
        assert online_problems(found) == {}
        found.datasets["orders"].target.connection = "server"
        assert "is mysql, which takes no changes by key" in online_problems(found)["datasets.orders.target.connection"]
