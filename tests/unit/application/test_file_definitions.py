"""What may be declared of files: roots, options and formats of targets."""

import pytest
from google.protobuf.json_format import ParseDict

from pymigrate.engine.application.connection_definitions import connection_problems
from pymigrate.engine.application.file_definitions import target_format_problems
from pymigrate.v1 import connection_pb2, plan_pb2


def problems(root: str, **options: str) -> list[str]:
    connection = connection_pb2.Connection(files=connection_pb2.FilesSystem(root=root, options=options))
    return [problem.field for problem in connection_problems(connection)]


@pytest.mark.parametrize("root", ["/data", "s3://bucket/prefix", "file:///data", "zip://::file:///data/exports.zip"])
def test_roots_are_paths_and_urls(root: str) -> None:
    assert problems(root) == []


@pytest.mark.parametrize(
    "root",
    [
        "",
        "data",
        "/data/../x",
        "s3://a/../b",
        "ftp://user:hunter2@host/x",
        "zip://::ftp://me@host/a.zip",
        "https://h/x?sig=1",
        "s3://[x",
    ],
)
def test_other_roots_are_refused(root: str) -> None:
    assert set(problems(root)) == {"files.root"}


def test_options_are_settings_and_references_to_secrets() -> None:
    assert (
        problems(
            "s3://b",
            anon="true",
            key="env://KEY",
            secret="file:///run/s#x",
            client_kwargs='{"endpoint_url": "http://h"}',
        )
        == []
    )
    assert problems("s3://b", key="AKIA", secret="hunter2", client_kwargs='{"a": {"aws_secret_access_key": "x"}}') == [
        "files.options.client_kwargs",
        "files.options.key",
        "files.options.secret",
    ]
    assert problems("/data", anon="true") == ["files.options"]


def test_a_targets_format_is_for_files_of_the_worker_host() -> None:
    target = ParseDict({"connection": "lake", "csv": {"packing": "FILE_PACKING_GZIP"}}, plan_pb2.DatasetTarget())
    local = connection_pb2.Connection(files=connection_pb2.FilesSystem(root="/lake"))
    remote = connection_pb2.Connection(files=connection_pb2.FilesSystem(root="s3://lake"))
    other = connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/x"))

    def found(connection: connection_pb2.Connection | None) -> list[str]:
        return [problem.field for problem in target_format_problems("t", target, connection)]

    assert found(local) == found(None) == []
    assert found(remote) == ["t.connection"]
    assert found(other) == ["t.csv"]


def test_a_secret_among_the_options_of_another_connector_is_a_reference() -> None:
    def problems_of(**options: str) -> list[str]:
        system = connection_pb2.PluginSystem(kind="lines", options=options)
        return [problem.field for problem in connection_problems(connection_pb2.Connection(plugin=system))]

    assert problems_of(root="/data/letters", token="env://LETTERS_TOKEN") == []
    assert problems_of(root="/data/letters", token="hunter2") == ["plugin.options.token"]
    assert problems_of(config='{"auth": {"password": "hunter2"}}') == ["plugin.options.config"]
