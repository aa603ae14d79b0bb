"""Drift between the .proto files and the code that is committed beside them is found, whichever way it came about."""

import shutil
from pathlib import Path

import pytest

from tools import contract

MESSAGE = """syntax = "proto3";
package pymigrate.v1;
import "google/api/annotations.proto";
import "google/protobuf/empty.proto";
message Ping { int64 count = 1; }
service PingService {
  rpc Send(Ping) returns (google.protobuf.Empty) { option (google.api.http) = {get: "/v1/ping"}; }
}
"""


@pytest.fixture
def proto(tmp_path: Path) -> Path:
    """A contract of one file, with its generated code in place."""
    shutil.copytree(contract.PROTO / "google", tmp_path / "google")
    package = tmp_path / contract.PACKAGE
    package.mkdir(parents=True)
    (package / "ping.proto").write_text(MESSAGE)
    contract.renew(tmp_path)
    return tmp_path


def test_the_committed_code_is_what_the_contract_generates() -> None:
    assert contract.drift() == []


def test_fresh_code_has_types_and_no_drift(proto: Path) -> None:
    assert contract.drift(proto) == []
    assert sorted(contract.contents(proto)) == [
        "ping_pb2.py",
        "ping_pb2.pyi",
        "ping_pb2_grpc.py",
        "ping_pb2_grpc.pyi",
    ]


def test_a_new_field_without_new_code_is_drift(proto: Path) -> None:
    source = proto / contract.PACKAGE / "ping.proto"
    source.write_text(MESSAGE.replace("int64 count = 1;", "int64 count = 1; string note = 2;"))
    assert contract.drift(proto) == ["pymigrate/v1/ping_pb2.py: differs", "pymigrate/v1/ping_pb2.pyi: differs"]


def test_code_whose_source_is_gone_is_drift_and_renewal_removes_it(proto: Path) -> None:
    package = proto / contract.PACKAGE
    (package / "pong.proto").write_text(MESSAGE.replace("Ping", "Pong"))
    (package / "ping.proto").unlink()
    findings = contract.drift(proto)
    assert "pymigrate/v1/ping_pb2.py: has no .proto" in findings
    assert "pymigrate/v1/pong_pb2.py: missing" in findings
    contract.renew(proto)
    assert contract.drift(proto) == []
    assert not (package / "ping_pb2.py").exists()


def test_what_is_written_by_hand_stays(proto: Path) -> None:
    by_hand = proto / contract.PACKAGE / "__init__.py"
    by_hand.write_text('"""The contract."""\n')
    contract.renew(proto)
    assert by_hand.exists()
