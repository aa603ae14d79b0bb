"""Files of definitions at the command line and over the contract: applied as one change, compared, checked with and without an engine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import grpc
import pytest
import typer
import yaml
from typer.testing import CliRunner

from pymigrate.engine.entrypoints.cli import definition_commands
from pymigrate.engine.entrypoints.custom_resources import custom_resource_definitions
from pymigrate.engine.main.checking import check_files
from pymigrate.v1 import definition_pb2 as pb
from pymigrate.v1 import environment_pb2
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine, ask
from tests.integration.engine.test_command_line import FILE

OTHER = FILE.replace("owner: Ann", "owner: Bob")
TEMPLATE = """\
apiVersion: pymigrate.io/v1alpha1
kind: NotificationTemplate
metadata: {name: short, environment: e}
spec: {types: [run.failed], texts: {x: {subject: s, body: "{{ event.colour }}"}}}
"""
SOLE = "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: e}\n"


@pytest.fixture
def pymigrate(served: ServedEngine) -> CommandLine:
    """The command line of a served engine."""
    return CommandLine(served.home)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of definitions, from above which commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "all.yaml").write_text(FILE)
    return tmp_path


@pytest.fixture
def offline() -> Callable[..., Any]:
    """`pymigrate validate` as the console script has it, without an engine: the exit code and everything that it printed."""
    app = typer.Typer()
    definition_commands.add_to(app, check_files)

    def run(*arguments: str, given: str | None = None) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["validate", *arguments], input=given)
        return result.exit_code, result.output

    return run


def request(*texts: str, **fields: Any) -> pb.ApplyDefinitionsRequest:
    """A call with these files."""
    files = [pb.DefinitionFile(path=f"{at}.yaml", content=text.encode()) for at, text in enumerate(texts)]
    return pb.ApplyDefinitionsRequest(files=files, **fields)


def send(served: ServedEngine, wanted: pb.ApplyDefinitionsRequest, side: str = "cli") -> pb.ApplyDefinitionsResponse:
    """What the engine answers."""
    client = served.client(side)
    try:
        return ask(client, client.definitions.ApplyDefinitions, wanted)
    finally:
        client.channel.close()


def owner(served: ServedEngine) -> str:
    """Who answers for sales, as it is stored."""
    client = served.client()
    try:
        wanted = environment_pb2.GetDepartmentRequest(name="environments/e/departments/sales")
        return ask(client, client.environments.GetDepartment, wanted).owner
    finally:
        client.channel.close()


def test_a_difference_is_told_by_field_and_by_exit_code(pymigrate: CommandLine, folder: Path) -> None:
    file = ("-f", "definitions")
    assert "+ environments/e (definitions/all.yaml:1)" in pymigrate("diff", *file, code=1)
    pymigrate("apply", *file)
    assert pymigrate("diff", *file) == "5 unchanged\n"
    (folder / "definitions/all.yaml").write_text(OTHER)
    said = pymigrate("diff", *file, code=1)
    assert '~ environments/e/departments/sales (definitions/all.yaml:6)\n    owner: "Ann" → "Bob"\n' in said
    assert said.endswith("1 updated, 4 unchanged\n")


def test_what_can_not_be_applied_has_an_exit_code_of_its_own(pymigrate: CommandLine, folder: Path) -> None:
    (folder / "definitions/all.yaml").write_text(FILE.replace("owner", "ownr"))
    said = pymigrate("diff", "-f", "definitions", code=2)
    assert "definitions/all.yaml:9:8: spec.ownr: there is no such field; did you mean `owner`?" in said
    assert "can't be read" in pymigrate("diff", "-f", "missing.yaml", code=2)


def test_an_engine_that_is_not_there_is_no_difference(folder: Path, tmp_path: Path) -> None:
    assert "no engine serves" in CommandLine(tmp_path / "none")("diff", "-f", "definitions", code=2)


def test_a_dry_run_tells_and_stores_nothing(pymigrate: CommandLine, folder: Path) -> None:
    assert "5 created, 0 unchanged" in pymigrate("apply", "-f", "definitions", "--dry-run")
    assert "created" in pymigrate("apply", "-f", "definitions")
    (folder / "definitions/all.yaml").write_text(FILE.replace("users", "users").replace("{owner: Ann}", "{users: -1}"))
    assert "can't be negative" in pymigrate("apply", "-f", "definitions", "--dry-run", code=1)


def test_with_a_problem_nothing_is_stored(pymigrate: CommandLine, folder: Path, served: ServedEngine) -> None:
    pymigrate("apply", "-f", "definitions")
    wrong = OTHER.replace("connection: legacy, relation: items", "connection: legcy, relation: items")
    (folder / "definitions/all.yaml").write_text(wrong)
    assert "did you mean `legacy`?" in pymigrate("apply", "-f", "definitions", code=1)
    assert owner(served) == "Ann"


def test_what_no_file_declares_any_more_goes_where_that_is_asked_for(pymigrate: CommandLine, folder: Path) -> None:
    pymigrate("apply", "-f", "definitions")
    (folder / "definitions/all.yaml").write_text(
        FILE.partition("---\napiVersion: pymigrate.io/v1alpha1\nkind: Plan")[0]
    )
    assert "plans/p" not in pymigrate("diff", "-f", "definitions", "--environment", "e")
    said = pymigrate("diff", "-f", "definitions", "--environment", "e", "--prune", code=1)
    assert "- environments/e/plans/p" in said
    assert "environments/e/plans/p deleted" in pymigrate("apply", "-f", "definitions", "--environment", "e", "--prune")
    assert "needs --environment" in pymigrate("apply", "-f", "definitions", "--prune", code=2)


def test_a_plan_goes_with_its_phases_where_that_is_forced(pymigrate: CommandLine, folder: Path) -> None:
    del folder
    pymigrate("apply", "-f", "definitions")
    assert "pymigrate delete --force" in pymigrate("delete", "environments/e/plans/p", code=1)
    assert pymigrate("delete", "--force", "environments/e/plans/p") == "environments/e/plans/p deleted\n"


def test_objects_of_another_side_are_taken_over_where_that_is_asked_for(
    pymigrate: CommandLine, folder: Path, served: ServedEngine
) -> None:
    send(served, request(FILE), "api")
    assert "managed by api" in pymigrate("apply", "-f", "definitions", code=1)
    assert "updated" in pymigrate("apply", "-f", "definitions", "--take-over", "api")
    assert "5 unchanged" in pymigrate("diff", "-f", "definitions")


def test_reports_go_to_a_file_and_text_to_the_console(pymigrate: CommandLine, folder: Path) -> None:
    said = pymigrate("diff", "-f", "definitions", "-o", "json", "--output-file", "out.json", code=1)
    assert said.endswith("5 created, 0 unchanged\n")
    assert len(json.loads((folder / "out.json").read_text())["changes"]) == 5
    found = json.loads(pymigrate("diff", "-f", "definitions", "-o", "json", code=1))
    assert found["changes"][0]["name"] == "environments/e"
    pymigrate("apply", "-f", "definitions", "--output-file", "out.txt")
    assert "environments/e/plans/p created" in (folder / "out.txt").read_text()


def test_a_refused_apply_tells_its_problems_in_reports_too(pymigrate: CommandLine, folder: Path) -> None:
    (folder / "definitions/all.yaml").write_text(FILE.replace("{owner: Ann}", "{users: -1}"))
    pymigrate("apply", "-f", "definitions", "-o", "sarif", "--output-file", "out.sarif", code=1)
    (result,) = json.loads((folder / "out.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("definitions/all.yaml", 9)


def test_files_are_checked_against_what_is_stored_where_an_engine_is_asked(
    pymigrate: CommandLine, folder: Path
) -> None:
    sales = FILE.split("---\n")[1]
    (folder / "one.yaml").write_text(sales)
    assert "there is no environments/e" in pymigrate("validate", "-f", "one.yaml", "--engine", code=1)
    pymigrate("apply", "-f", "definitions")
    assert pymigrate("validate", "-f", "one.yaml", "--engine") == "1 definition in 1 file: valid\n"


def test_files_are_checked_without_an_engine_by_the_same_checks(offline: Callable[..., Any], folder: Path) -> None:
    assert offline("-f", "definitions") == (0, "5 definitions in 1 file: valid\n")
    assert offline("-f", "-", given=FILE) == (0, "5 definitions in 1 file: valid\n")
    assert offline("-f", "-", "--environment", "f", given=FILE)[1].endswith("5 of other environments skipped\n")
    code, said = offline(
        "-f", "-", given=FILE.replace("connection: legacy, relation: items", "connection: legcy, relation: items")
    )
    assert code == 1
    assert "stdin:34:26: spec.phases.b.datasets.items.source.connection" in said
    assert "did you mean `legacy`?" in said


def test_files_that_refer_to_what_they_do_not_hold_are_told_how_an_engine_checks_them(
    offline: Callable[..., Any],
) -> None:
    _, _, without_environment = FILE.partition("---\n")
    code, said = offline("-f", "-", given=without_environment)
    assert code == 1
    assert "there is no environments/e" in said
    assert "to which what is only stored is missing: --engine checks against it" in said


def test_what_is_wrong_with_a_file_itself_no_engine_is_named_for(offline: Callable[..., Any]) -> None:
    code, said = offline("-f", "-", given=SOLE.replace("metadata", "metdata"))
    assert (code, "--engine" in said) == (1, False)


def test_templates_are_rendered_without_an_engine_too(offline: Callable[..., Any], folder: Path) -> None:
    code, said = offline("-f", "-", given=f"{SOLE}---\n{TEMPLATE}")
    assert code == 1
    assert "stdin:8:" in said
    assert "colour" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-f", "nothing.yaml"), "can't be read"),
        ((), "-f"),
        (("environments/e/plans/p", "-f", "definitions"), "not both"),
    ],
)
def test_what_can_not_be_checked_ends_with_two(
    offline: Callable[..., Any], folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, output = offline(*arguments)
    assert code == 2
    assert said in output


def test_junit_of_a_check_has_a_case_for_each_object(offline: Callable[..., Any], folder: Path) -> None:
    assert offline("-f", "definitions", "-o", "junit", "--output-file", "r.xml")[0] == 0
    suite = ET.parse(folder / "r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("5", "0")


def test_schemas_are_printed(pymigrate: CommandLine) -> None:
    app = typer.Typer()
    definition_commands.add_to(app)
    printed = json.loads(CliRunner().invoke(app, ["schema", "Plan"]).output)
    assert printed["properties"]["kind"] == {"const": "Plan"}
    assert "allOf" in json.loads(CliRunner().invoke(app, ["schema"]).output)
    refused = CliRunner().invoke(app, ["schema", "Plans"])
    assert refused.exit_code == 1


def test_custom_resources_are_printed(pymigrate: CommandLine) -> None:
    app = typer.Typer()
    definition_commands.add_to(app)
    printed = CliRunner().invoke(app, ["crds"]).output
    assert list(yaml.safe_load_all(printed)) == list(custom_resource_definitions().values())


def test_a_call_with_problems_is_refused_at_each_place(served: ServedEngine) -> None:
    wrong = FILE.replace("{owner: Ann}", "{ownr: Ann, users: many}")
    checked = send(served, request(wrong, validate_only=True))
    assert [(each.line, each.path, each.rule) for each in checked.problems][:2] == [
        (9, "spec.ownr", "shape"),
        (9, "spec.users", "shape"),
    ]
    with pytest.raises(grpc.RpcError) as error:
        send(served, request(wrong))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "0.yaml:9: spec.ownr" in (error.value.details() or "")


def test_a_repeated_call_gets_the_first_answer(served: ServedEngine) -> None:
    first = send(served, request(FILE, request_id="1"))
    assert len(first.changes) == 5
    assert send(served, request(FILE, request_id="1")) == first
    assert send(served, request(FILE, request_id="2")).unchanged_count == 5


def test_applying_what_is_stored_already_writes_nothing(served: ServedEngine) -> None:
    send(served, request(FILE))
    before = served.do(served.engine.store.read(lambda unit: len(unit.audit.list(0, 1_000))))
    answer = send(served, request(FILE))
    assert (len(answer.changes), answer.unchanged_count, len(answer.plans)) == (0, 5, 0)
    assert served.do(served.engine.store.read(lambda unit: len(unit.audit.list(0, 1_000)))) == before


def test_templates_that_do_not_render_are_refused_at_their_place(served: ServedEngine) -> None:
    (problem,) = send(served, request(FILE, TEMPLATE, validate_only=True)).problems
    assert (problem.file, problem.line, problem.path) == ("1.yaml", 4, "spec.texts.x.body")
    with pytest.raises(grpc.RpcError, match="colour"):
        send(served, request(FILE, TEMPLATE))
    sound = TEMPLATE.replace("{{ event.colour }}", "{{ event.title }}").replace("event.title", "event.type")
    assert len(send(served, request(FILE, sound)).changes) == 6


def test_a_rule_whose_template_can_not_tell_what_it_matches_is_refused(served: ServedEngine) -> None:
    sound = TEMPLATE.replace("{{ event.colour }}", "x")
    rule = (
        "apiVersion: pymigrate.io/v1alpha1\nkind: AlertRule\nmetadata: {name: r, environment: e}\n"
        "spec: {match: {types: [run.failed]}, template: shrt}\n"
    )
    (problem,) = send(served, request(FILE, sound, rule, validate_only=True)).problems
    assert (problem.file, problem.line) == ("2.yaml", 4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"environment": "E!"}, "is no name"),
        ({"prune_policy": pb.PRUNE_POLICY_DELETE}, "needs `environment`"),
        ({"taken_over_sides": ["git/warehouse"]}, "`git/warehouse` is not one of"),
    ],
)
def test_a_call_that_is_wrong_itself_is_refused(served: ServedEngine, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(grpc.RpcError, match=said):
        send(served, request(FILE, **fields))
