"""The audit trail at the command line: listed, sealed, verified, taken elsewhere, and verified there."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.sealing_keys import Ed25519SealingKey, PublicKeys, fresh_pem
from pymigrate.engine.application.audit.exported import verify_export
from pymigrate.engine.application.audit.sealing import Sealing, SealMaking
from pymigrate.engine.entrypoints.cli import audit_commands
from pymigrate.engine.main.cli import build
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine

PLAN = (Path(__file__).resolve().parents[3] / "examples/gitops/quickstart/warehouse.yaml").read_text()


def read_keys(text: bytes, where: str):  # type: ignore[no-untyped-def]  # as the console script does
    return PublicKeys.read(text, where).is_signed


@pytest.fixture
def pymigrate(served: ServedEngine) -> CommandLine:
    """The command line of an engine to which an example was applied, and whose trail is sealed."""
    line = CommandLine(served.home, SimpleNamespace(add_to=lambda app: audit_commands.add_to(app, read_keys)))  # type: ignore[arg-type]  # as a module
    line.apply(PLAN.replace("${LEGACY}", "/legacy").replace("${WAREHOUSE}", "/warehouse.duckdb"))
    seal(served)
    return line


def seal(served: ServedEngine) -> None:
    clock = SystemClock()
    served.do(Sealing(served.engine.store, clock, SealMaking(served.audit_key, clock)).step())


def test_who_did_what_is_listed(pymigrate: CommandLine) -> None:
    said = pymigrate("audit", "list", "--action", "create")
    assert "environments/quickstart/plans/warehouse" in said
    (line,) = pymigrate(
        "audit", "list", "--subject", "environments/quickstart/plans/warehouse/phases", "--limit", "1", "--json"
    ).splitlines()
    event = json.loads(line)
    assert (event["action"], event["principal"], event["outcome"]) == ("create", "local", "OK")
    assert pymigrate("audit", "list", "--principal", "oidc/eve", "--json") == ""
    assert "is no moment" in pymigrate("audit", "list", "--start", "yesterday", code=1)


def test_a_trail_that_nobody_touched_is_verified(pymigrate: CommandLine) -> None:
    said = pymigrate("audit", "verify")
    assert "nothing was altered, removed, put elsewhere or cut off" in said
    assert pymigrate.json("audit", "verify")["sealCount"] == 1


def test_a_seal_that_was_kept_is_looked_for_in_the_trail(pymigrate: CommandLine, tmp_path: Path) -> None:
    kept = tmp_path / "seal.json"
    kept.write_text(pymigrate("audit", "seals", "--json"))
    assert "nothing was altered" in pymigrate("audit", "verify", "--known-seal", str(kept))
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"number": 9}))
    assert "seal 9" in pymigrate("audit", "verify", "--known-seal", str(kept), code=1)
    kept.write_text("no seal")
    assert "holds no seal" in pymigrate("audit", "verify", "--known-seal", str(kept), code=1)


@pytest.mark.parametrize("form", ["json-lines", "cloud-events"])
def test_an_export_is_verified_without_an_engine_and_gone_on_with(
    pymigrate: CommandLine, served: ServedEngine, tmp_path: Path, form: str
) -> None:
    trail, key = tmp_path / "trail.jsonl", tmp_path / "audit.pem"
    pymigrate("audit", "export", "--output", str(trail), "--format", form)
    key.write_text(pymigrate("audit", "seals", "--public-key"))
    first = trail.read_bytes()
    verify = ("audit", "verify", "--file", str(trail), "--public-key", str(key))
    assert "nothing was altered" in pymigrate(*verify)
    pymigrate("delete", "environments/quickstart/plans/warehouse", "--force")
    seal(served)
    assert f"behind {len(first):,} that were there" in pymigrate(
        "audit", "export", "--output", str(trail), "--format", form
    )
    assert trail.read_bytes().startswith(first)
    assert "nothing was altered" in pymigrate(*verify)
    assert "another format" in pymigrate(
        "audit", "export", "--output", str(trail), "--start", "2026-01-01T00:00:00Z", code=1
    )


def test_an_export_that_somebody_changed_ends_with_exit_code_1_and_the_first_fault(
    pymigrate: CommandLine, tmp_path: Path
) -> None:
    trail, other = tmp_path / "trail.jsonl", tmp_path / "other.pem"
    pymigrate("audit", "export", "--output", str(trail))
    other.write_text(Ed25519SealingKey.from_pem(fresh_pem(), "a test").public_key)
    assert "seal broken: seal 1" in pymigrate(
        "audit", "verify", "--file", str(trail), "--public-key", str(other), code=1
    )
    lines = trail.read_bytes().splitlines(keepends=True)
    trail.write_bytes(b"".join(lines).replace(b'"principal":"local"', b'"principal":"oidc/eve"', 1))
    assert "altered: event 1" in pymigrate("audit", "verify", "--file", str(trail), code=1)
    trail.write_bytes(b"".join([lines[0], *lines[2:]]))
    assert "removed: event 2" in pymigrate("audit", "verify", "--file", str(trail), code=1)
    trail.write_bytes(b"".join(lines[:-1]))
    assert "truncated" in pymigrate("audit", "verify", "--file", str(trail), code=1)


def test_a_file_that_was_cut_off_in_the_middle_is_gone_on_with_to_the_same_trail(
    pymigrate: CommandLine, tmp_path: Path
) -> None:
    trail = tmp_path / "trail.jsonl"
    pymigrate("audit", "export", "--output", str(trail))
    with trail.open("ab") as file:
        file.write(b'{"event":{"sequence":')
    pymigrate("audit", "export", "--output", str(trail))
    with trail.open("rb") as file:
        assert verify_export(file, read_keys).fault is None


def test_the_lines_go_to_standard_output_without_a_file(pymigrate: CommandLine) -> None:
    lines = pymigrate("audit", "export").splitlines()
    assert (json.loads(lines[0]).keys(), json.loads(lines[-1])["position"]["isEnd"]) == ({"header"}, True)
    assert "is not one of json-lines" in pymigrate("audit", "export", "--format", "xml", code=1)


def test_what_is_no_export_or_no_key_is_said(pymigrate: CommandLine, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine\n")
    assert "no export of the audit trail" in pymigrate("audit", "verify", "--file", str(notes), code=1)
    assert "No such file" in pymigrate("audit", "verify", "--file", str(tmp_path / "none"), code=1)
    assert "goes with --file" in pymigrate("audit", "verify", "--public-key", str(notes), code=1)
    trail = tmp_path / "trail.jsonl"
    pymigrate("audit", "export", "--output", str(trail))
    assert "holds no public key" in pymigrate(
        "audit", "verify", "--file", str(trail), "--public-key", str(notes), code=1
    )
    part = tmp_path / "part.jsonl"
    pymigrate("audit", "export", "--output", str(part), "--environment", "environments/quickstart")
    assert "part of the trail" in pymigrate("audit", "verify", "--file", str(part), code=1)


def test_the_console_script_verifies_an_export_without_a_home(pymigrate: CommandLine, tmp_path: Path) -> None:
    trail = tmp_path / "trail.jsonl"
    pymigrate("audit", "export", "--output", str(trail))
    result = CliRunner().invoke(build(), ["audit", "verify", "--file", str(trail), "--home", str(tmp_path / "none")])
    assert result.exit_code == 0, result.output
