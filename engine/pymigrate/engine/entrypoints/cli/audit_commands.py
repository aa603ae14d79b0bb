"""The commands of the audit trail: who did what, whether it holds, and taking it elsewhere.

`verify` ends with exit code 1 and the first thing that does not hold. With `--file` it needs no engine: what was exported proves itself.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from pymigrate.engine.application.audit.exported import ReadKeys, verify_export
from pymigrate.engine.application.audit.seal_messages import seal_from
from pymigrate.engine.application.audit.verdict_messages import verdict_message
from pymigrate.engine.domain.errors import InvalidDefinition, PermanentError
from pymigrate.engine.entrypoints.cli.audit_files import ExportFile
from pymigrate.engine.entrypoints.cli.audit_tables import events_table, fault_line, seals_table, verdict_lines
from pymigrate.engine.entrypoints.cli.client import Client, connected, fail
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.engine.entrypoints.cli.resuming import resumed
from pymigrate.v1 import audit_pb2
from pymigrate.v1.shape import from_data

PAGE_SIZE = 1_000
# Millions of events are read and hashed again.
VERIFY_TIMEOUT_SECONDS = 3_600.0
KNOWN_SEAL_BYTES_MAX = 64 * 1024
KEY_CHARACTERS_MAX = 10_000
FORMATS = {
    "json-lines": audit_pb2.AUDIT_FORMAT_JSON_LINES,
    "cloud-events": audit_pb2.AUDIT_FORMAT_CLOUD_EVENTS,
}

EnvironmentOption = Annotated[str, typer.Option(help="Only what lies in it: environments/<environment>.")]
Start = Annotated[str, typer.Option(help="Not before, as 2026-12-24T22:00:00Z.")]
End = Annotated[str, typer.Option(help="Before.")]
KnownSeal = Annotated[
    Path | None,
    typer.Option(
        help="File with a seal that was kept elsewhere, as `pymigrate audit seals --json` prints it: the last line counts."
    ),
]


def add_to(app: typer.Typer, read_keys: ReadKeys) -> None:
    """Adds the commands to the application, below one word. `read_keys` reads the public keys that an export is verified with."""
    audit = typer.Typer(help="Tell who did what, and prove that nothing of it was altered.", no_args_is_help=True)
    audit.command(name="list")(list_events)
    for command in (seals, export):
        audit.command()(command)
    audit.command()(_verify_with(read_keys))
    app.add_typer(audit, name="audit")


def list_events(
    home: Home = HOME_DEFAULT,
    environment: EnvironmentOption = "",
    subject: Annotated[str, typer.Option(help="Only what was done to this, by its resource name, or below it.")] = "",
    principal: Annotated[str, typer.Option(help="Only what this one did, as oidc/ann@example.com.")] = "",
    action: Annotated[
        str, typer.Option(help="Only this, by its first word, as approve; of a run's step its type.")
    ] = "",
    outcome: Annotated[str, typer.Option(help="Only what ended so, as OK or PERMISSION_DENIED.")] = "",
    start: Start = "",
    end: End = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List who did what, the oldest first; as JSON, a line each."""
    request = audit_pb2.ListAuditEventsRequest(
        environment=environment, subject=subject, principal=principal, action=action, outcome=outcome
    )
    _set_times(request, start, end)
    with connected(home) as client:
        found = list(islice(_events(client, request, limit), limit))
    if as_json:
        for event in found:
            print_json(event, is_line=True)
        return
    console().print(events_table(found))


def seals(
    home: Home = HOME_DEFAULT,
    after: Annotated[int, typer.Option(min=0, help="Only those with a higher number.")] = 0,
    public_key: Annotated[
        bool,
        typer.Option("--public-key", help="Print the public key that they are signed with, as PEM, and nothing else."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the seals over the trail, the oldest first; as JSON, a line each. Keep one elsewhere: it proves what was there."""
    request = audit_pb2.ListAuditSealsRequest(after=after, page_size=PAGE_SIZE)
    with connected(home) as client:
        if public_key:
            answer = client.audit.ListAuditSeals(request, **client.options)
            typer.echo(answer.public_key.rstrip("\n"))
            return
        found = list(_seals(client, request))
    if as_json:
        for seal in found:
            print_json(seal, is_line=True)
        return
    console().print(seals_table(found))


def _verify_with(read_keys: ReadKeys) -> Callable[..., None]:
    def verify(
        home: Home = HOME_DEFAULT,
        file: Annotated[Path | None, typer.Option(help="An export to verify, without an engine.")] = None,
        public_key: Annotated[
            Path | None,
            typer.Option(help="With --file: PEM of the key that its seals must be signed with, kept elsewhere."),
        ] = None,
        known_seal: KnownSeal = None,
        as_json: AsJson = False,
    ) -> None:
        """Read every event and every seal again; exit code 1 with the first that does not hold."""
        if public_key is not None and file is None:
            fail("--public-key goes with --file: an engine verifies with its own key")
        request = audit_pb2.VerifyAuditRequest()
        if known_seal is not None:
            _read_seal(known_seal, request.known_seal)
        if file is not None:
            found = _verified(file, public_key, request, read_keys)
        else:
            with connected(home) as client:
                found = client.audit.VerifyAudit(request, metadata=client.metadata, timeout=VERIFY_TIMEOUT_SECONDS)
        if as_json:
            print_json(found)
        else:
            for line in verdict_lines(found):
                typer.echo(line)
        if found.HasField("first_fault"):
            fail(fault_line(found.first_fault))

    return verify


def export(
    home: Home = HOME_DEFAULT,
    output: Annotated[
        Path | None,
        typer.Option(help="The file to write; one that is there is gone on with. Without: standard output."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="json-lines or cloud-events.")] = "json-lines",
    environment: EnvironmentOption = "",
    start: Start = "",
    end: End = "",
) -> None:
    """Take the trail elsewhere, with its seals and the key that proves them. The same command on the same file adds what came since, or
    goes on where it broke off."""
    if form not in FORMATS:
        fail(f"--format: `{form}` is not one of {', '.join(FORMATS)}")
    request = audit_pb2.ExportAuditRequest(format=FORMATS[form], environment=environment)
    _set_times(request, start, end)
    with connected(home) as client:
        if output is None:
            for piece in resumed(client, partial(_exported, client, request, "")):
                typer.get_binary_stream("stdout").write(piece.lines)
            return
        _export_to(client, request, output)


def _export_to(client: Client, request: audit_pb2.ExportAuditRequest, output: Path) -> None:
    file = ExportFile.open(output)
    written = 0
    try:
        for piece in resumed(client, partial(_exported, client, request, file.resume_token)):
            file.write(piece.lines)
            written += len(piece.lines)
    finally:
        file.close()
    gone_on = f", behind {file.kept_bytes:,} that were there" if file.kept_bytes else ""
    typer.echo(f"{output}: {written:,} bytes{gone_on}")


def _exported(
    client: Client, request: audit_pb2.ExportAuditRequest, first_token: str, token: str
) -> Iterator[audit_pb2.ExportAuditResponse]:
    request.resume_token = token or first_token
    return iter(client.audit.ExportAudit(request, metadata=client.metadata))


def _verified(
    file: Path, public_key: Path | None, request: audit_pb2.VerifyAuditRequest, read_keys: ReadKeys
) -> audit_pb2.VerifyAuditResponse:
    """What holds of an export. Ends the command for a file that is none."""
    try:
        key = "" if public_key is None else public_key.read_text()[:KEY_CHARACTERS_MAX]
        known = seal_from(request.known_seal) if request.HasField("known_seal") else None
        with file.open("rb") as opened:
            return verdict_message(verify_export(opened, read_keys, key, known))
    except InvalidDefinition as error:
        fail("\n".join(f"{problem.field}: {problem.description}" for problem in error.problems))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{error}")
    except PermanentError as error:
        fail(error.message)


def _read_seal(path: Path, seal: audit_pb2.AuditSeal) -> None:
    """Reads the last seal of a file. Ends the command for one that holds none."""
    try:
        text = path.read_bytes()[-KNOWN_SEAL_BYTES_MAX:].decode().strip().rpartition("\n")[2]
        from_data(json.loads(text), seal)
    except (OSError, ValueError, RecursionError) as error:
        fail(f"--known-seal: {path} holds no seal as `pymigrate audit seals --json` prints it: {error}")


def _events(client: Client, request: audit_pb2.ListAuditEventsRequest, limit: int) -> Iterator[audit_pb2.AuditEvent]:
    request.page_size = min(limit, PAGE_SIZE)
    while True:
        page = client.audit.ListAuditEvents(request, **client.options)
        yield from page.audit_events
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _seals(client: Client, request: audit_pb2.ListAuditSealsRequest) -> Iterator[audit_pb2.AuditSeal]:
    while True:
        page = client.audit.ListAuditSeals(request, **client.options)
        yield from page.audit_seals
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _set_times(request: Any, start: str, end: str) -> None:
    for option, field, text in (("--start", "start_time", start), ("--end", "end_time", end)):
        if text:
            try:
                getattr(request, field).FromJsonString(text)
            except ValueError:
                fail(f"{option}: `{text}` is no moment: write it as 2026-12-24T22:00:00Z")
