"""What may be declared of HTTP APIs."""

from collections.abc import Iterable

import pytest
from google.protobuf import json_format

from pymigrate.engine.application import definitions
from pymigrate.engine.application.connection_definitions import connection_problems
from pymigrate.engine.application.http_definitions import http_json_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2, plan_pb2
from tests.unit.application.engines import phase, systems


def told(problems: Iterable[Problem]) -> dict[str, str]:
    """The fields with what is wrong."""
    return {problem.field: problem.description for problem in problems}


def of_connection(**system: object) -> dict[str, str]:
    document = {"http": {"baseUrl": "https://api.example.com/v2", **system}}
    return told(connection_problems(json_format.ParseDict(document, connection_pb2.Connection())))


def format_problems(**form: object) -> dict[str, str]:
    return told(http_json_problems("f", json_format.ParseDict(form, plan_pb2.HttpJsonFormat())))


def test_an_api_that_is_right_has_no_problem() -> None:
    headers = {"Authorization": "env://TOKEN", "X-Api-Key": "file:///run/keys.json#crm", "Accept-Language": "de"}
    assert of_connection(headers=headers, requestsPerSecondMax=2.5, timeoutSeconds=600, retriesMax=-1) == {}
    assert of_connection(baseUrl="http://10.0.0.7:8080", caFile="/etc/ca.pem") == {}
    assert format_problems(records="/a/b", total="meta.n", cursor={"next": "n", "parameter": "after"}) == {}


@pytest.mark.parametrize(
    ("system", "field", "says"),
    [
        ({"baseUrl": ""}, "base_url", "is no address"),
        ({"baseUrl": "ftp://x"}, "base_url", "is no address"),
        ({"baseUrl": "https://x:99999"}, "base_url", "is no address"),
        ({"baseUrl": "https://a b"}, "base_url", "is no address"),
        ({"baseUrl": "https://u:hunter2@x"}, "base_url", "no user and no password"),
        ({"baseUrl": "https://x?key=1"}, "base_url", "no query"),
        ({"baseUrl": "http://169.254.169.254/latest"}, "base_url", "link-local"),
        ({"headers": {"authorization": "Bearer hunter2"}}, "headers.authorization", "must be a reference"),
        ({"headers": {"X-API-Key": "hunter2"}}, "headers.X-API-Key", "must be a reference"),
        ({"headers": {"a b": "x"}}, "headers.a b", "no name of a header"),
        ({"headers": {"Host": "x"}}, "headers.Host", "no name of a header that can be set"),
        ({"headers": {"x": "a\r\nb"}}, "headers.x", "printable ASCII"),
        ({"headers": {f"x{n}": "" for n in range(65)}}, "headers", "at most 64"),
        ({"requestsPerSecondMax": -1}, "requests_per_second_max", "10,000"),
        ({"requestsPerSecondMax": "NaN"}, "requests_per_second_max", "10,000"),
        ({"timeoutSeconds": 601}, "timeout_seconds", "600"),
        ({"retriesMax": -2}, "retries_max", "-1 for none"),
        ({"caFile": "ca.pem"}, "ca_file", "absolute path"),
    ],
)
def test_what_is_wrong_with_an_api_is_told_at_its_field(system: dict[str, object], field: str, says: str) -> None:
    found = of_connection(**system)
    assert says in found[f"http.{field}"]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("form", "field", "says"),
    [
        ({"records": "a..b"}, "f.records", "is no place in JSON"),
        ({"total": ".n"}, "f.total", "is no place in JSON"),
        ({"parameters": {"": "x"}}, "f.parameters", "has a name"),
        ({"parameters": {f"p{n}": "" for n in range(65)}}, "f.parameters", "at most 64"),
        ({"cursor": {}}, "f.cursor.next", "is required"),
        ({"cursor": {"next": "a."}}, "f.cursor.next", "is no place"),
        ({"pageNumber": {"size": -1}}, "f.page_number.size", "100,000"),
        ({"offset": {"limit": 100_001}}, "f.offset.limit", "100,000"),
        ({"offset": {"parameter": "limit"}}, "f.offset", "`limit` is set twice"),
        ({"pageNumber": {}, "parameters": {"page": "1"}}, "f.page_number", "`page` is set twice"),
        ({"cursor": {"next": "n", "parameter": "c"}, "parameters": {"c": "1"}}, "f.cursor", "`c` is set twice"),
    ],
)
def test_what_is_wrong_with_its_pages_is_told_at_its_field(form: dict[str, object], field: str, says: str) -> None:
    assert says in format_problems(**form)[field]


def test_an_api_is_a_source_only_and_has_a_format_of_its_own() -> None:
    api = connection_pb2.Connection(http=connection_pb2.HttpApiSystem(base_url="https://api"))
    connections = {**systems(), "api": api}
    found = phase("orders")
    found.datasets["orders"].source.connection = "api"
    found.datasets["orders"].source.http_json.offset.SetInParent()
    assert told(definitions.phase_problems(found, connections, {"sales"})) == {}
    found.datasets["orders"].source.csv.SetInParent()
    assert (
        "is for files; `api` is http"
        in told(definitions.phase_problems(found, connections, {"sales"}))["datasets.orders.source.csv"]
    )
    found.datasets["orders"].source.http_json.SetInParent()
    found.datasets["orders"].source.connection = "legacy"
    found.datasets["orders"].target.connection = "api"
    problems = told(definitions.phase_problems(found, connections, {"sales"}))
    assert "is for HTTP APIs; `legacy` is sqlite" in problems["datasets.orders.source.http_json"]
    assert "`api` is an HTTP API, which is a source only" in problems["datasets.orders.target.connection"]


def test_iceberg_tables_are_a_target_only_that_is_not_merged_into() -> None:
    lake = connection_pb2.Connection(
        iceberg=connection_pb2.IcebergSystem(catalog_path="/lake/catalog.db", warehouse="file:///lake/warehouse")
    )
    assert told(connection_problems(lake)) == {}
    connections = {**systems(), "lake": lake}
    found = phase("orders")
    found.datasets["orders"].target.connection = "lake"
    assert told(definitions.phase_problems(found, connections, {"sales"})) == {}
    found.datasets["orders"].source.connection = "lake"
    found.datasets["orders"].target.load_mode = plan_pb2.LOAD_MODE_MERGE
    problems = told(definitions.phase_problems(found, connections, {"sales"}))
    assert "is an Iceberg catalogue, which is a target only" in problems["datasets.orders.source.connection"]
    assert "are not merged into" in problems["datasets.orders.target.load_mode"]


@pytest.mark.parametrize(
    ("path", "says"),
    [("", "absolute"), ("lake", "absolute"), ("/a b", "no space"), ("/a%20", "none of %"), ("/a/../b", "..")],
)
def test_where_iceberg_tables_lie_is_a_plain_absolute_path(path: str, says: str) -> None:
    system = connection_pb2.IcebergSystem(catalog_path=path, warehouse=path)
    found = connection_problems(connection_pb2.Connection(iceberg=system))
    for field in ("iceberg.catalog_path", "iceberg.warehouse"):
        assert any(says in problem.description for problem in found if problem.field == field)
        found = connection_problems(connection_pb2.Connection(iceberg=system))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is no URL"),
        ("sqlite", "is no URL"),
        ("a b://x", "is no URL"),
        ("mysql+pymysql://u:hunter2@h/d", "no password"),
    ],
)
def test_the_url_of_a_dialect_has_no_password(url: str, says: str) -> None:
    system = connection_pb2.SqlalchemySystem(url=url, password="env://PW")
    found = told(connection_problems(connection_pb2.Connection(sqlalchemy=system)))
    assert says in found["sqlalchemy.url"]
    assert "hunter2" not in str(found)
    system.url = "mssql+pyodbc://reader@host:1433/erp"
    assert told(connection_problems(connection_pb2.Connection(sqlalchemy=system))) == {}


def test_a_connection_to_nothing_names_every_kind() -> None:
    problem = told(connection_problems(connection_pb2.Connection()))["system"]
    for field in connection_pb2.Connection.DESCRIPTOR.oneofs_by_name["system"].fields:
        assert field.name in problem
