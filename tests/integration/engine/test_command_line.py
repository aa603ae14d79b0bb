"""The command line against a served engine: definitions applied, runs followed, and errors as a person reads them."""

import io
import threading
from pathlib import Path

import grpc
import pytest
from rich.console import Console

from pymigrate.engine.entrypoints.cli import connection_commands, progress, token_commands
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine, ask
from tests.unit.application.engines import PLAN, phase

RUN = f"{PLAN}/runs/r"
FILE = """\
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {name: e, labels: {tier: gold}}
spec: {displayName: E}
---
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {name: sales, environment: e}
spec: {owner: Ann}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: legacy, environment: e}
spec: {sqlite: {path: /legacy.db}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: warehouse, environment: e}
spec: {duckdb: {path: /warehouse.duckdb}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {name: p, environment: e}
spec:
  phases:
    a:
      department: sales
      datasets:
        orders: {source: {connection: legacy, relation: orders}, target: {connection: warehouse, relation: orders}}
    b:
      department: sales
      dependencies: [a]
      datasets:
        items: {source: {connection: legacy, relation: items}, target: {connection: warehouse, relation: items}}
"""


@pytest.fixture
def pymigrate(served: ServedEngine) -> CommandLine:
    """The command line of a served engine."""
    return CommandLine(served.home)


def test_definitions_are_created_once_and_updated_where_they_differ(pymigrate: CommandLine) -> None:
    assert [line.split()[-1] for line in pymigrate.apply(FILE)] == ["created"] * 5
    assert [line.split()[-1] for line in pymigrate.apply(FILE)] == ["unchanged"] * 5
    changed = FILE.replace("owner: Ann", "owner: Bob").replace("dependencies: [a]", "dependencies: []")
    done = [line.split() for line in pymigrate.apply(changed)]
    assert [name for name, what in done if what == "updated"] == [
        "environments/e/departments/sales",
        "environments/e/plans/p",
    ]
    assert [what for _, what in done].count("unchanged") == 3


def test_what_a_definition_leaves_out_goes_back_to_its_default(pymigrate: CommandLine, served: ServedEngine) -> None:
    pymigrate.apply(FILE)
    assert "environments/e updated" in pymigrate.apply(FILE.replace(", labels: {tier: gold}", ""))
    found = served.do(served.engine.store.read(lambda unit: unit.resources.get("environments/e")))
    assert found is not None
    assert b"gold" not in found.body


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("{owner: Ann}", "{ownr: Ann}", "did you mean `owner`?"),
        ("{owner: Ann}", "{users: -1}", "plan.yaml:9:8: spec.users: can't be negative"),
        ("relation: items}, target", "relation: 7}, target", "must be text"),
        ("connection: legacy, relation: items", "connection: legcy, relation: items", "did you mean `legacy`?"),
        ("dependencies: [a]", "dependencies: [b]", "b → b"),
        ("dependencies: [a]", "dependencies: [aa]", "did you mean `a`?"),
        ("metadata: {name: sales, environment: e}", "metadata: {name: sales}", "metadata.environment"),
        ("metadata: {name: sales, environment: e}", "metadata: [sales]", "must be a map"),
        ("metadata: {name: sales, environment: e}", "metadata: {name: 7, environment: e}", "metadata.name"),
        ("metadata: {name: sales, environment: e}", "metadata: {name: sales, environment: f}", "there are `e`"),
        ("{tier: gold}", "{tier: 1}", "must be text"),
    ],
)
def test_a_definition_that_is_wrong_is_told_with_its_field(
    pymigrate: CommandLine, before: str, after: str, says: str
) -> None:
    assert before in FILE
    assert says in " ".join(pymigrate.apply(FILE.replace(before, after), code=1))


def test_what_another_side_declares_is_refused_with_whose_it_is(pymigrate: CommandLine, served: ServedEngine) -> None:
    served.do(served.engine.declare({}))
    assert "managed by api" in " ".join(pymigrate.apply(FILE, code=1))


def test_a_file_that_is_too_large_is_not_read(pymigrate: CommandLine) -> None:
    assert "more than 4,194,304 bytes" in " ".join(pymigrate.apply("#" * (4 * 1024 * 1024 + 1), code=1))


def test_a_plan_is_checked_and_run_to_its_end(pymigrate: CommandLine) -> None:
    pymigrate.apply(FILE)
    assert pymigrate("validate", PLAN) == "1. a\n2. b\n"
    said = pymigrate("start", PLAN, "--trigger", "day=1")
    name = said.splitlines()[0]
    assert "b.items: published, 10 rows" in said
    assert f"{name}: succeeded" in said
    assert "succeeded" in pymigrate("watch", name)
    assert "a/orders" in pymigrate("report", name)
    assert f"{name} succeeded 20 rows" in pymigrate("status")
    assert pymigrate("status", "--environment", "e") == pymigrate("status")


def test_a_connection_is_tried_with_a_version_of_its_secrets_and_lanes_tell_where_they_stand(
    served: ServedEngine,
) -> None:
    pymigrate = CommandLine(served.home, connection_commands)
    pymigrate.apply(FILE)
    said = pymigrate("test", "environments/e/connections/legacy", "--secret-version", "AWSPENDING")
    assert said.startswith("environments/e/connections/legacy Scripted 1 in ")
    name = pymigrate("start", PLAN).splitlines()[0]
    told = pymigrate("lanes", name).splitlines()
    assert [line.startswith(f"{name}/lanes/") and line.endswith(" done 10 rows") for line in told] == [True, True]


def test_what_would_be_declared_is_printed_as_statements_with_comments(
    pymigrate: CommandLine, served: ServedEngine
) -> None:
    pymigrate.apply(FILE)
    ddl = plan_pb2.TargetDdl(statements=["CREATE TABLE items ();", "CREATE INDEX i;"], notes=["one\nnote"])
    found = run_pb2.Inspection(source=connection_pb2.RelationSchema(relation="items", rows=1), ddl=ddl)
    served.outcomes["inspect items"] = worker_pb2.TaskResult(inspect=found)
    assert "-- b/items\nCREATE TABLE items ();\nCREATE INDEX i;\n-- one note\n" in pymigrate("validate", PLAN, "--ddl")


def test_a_plan_whose_systems_lack_something_is_told_dataset_by_dataset(
    pymigrate: CommandLine, served: ServedEngine
) -> None:
    pymigrate.apply(FILE)
    served.outcomes["inspect items"] = run_pb2.Failure(reason="SOURCE_MISSING", message="there is no `items`")
    assert "phases.b.datasets.items: there is no `items`" in pymigrate("validate", PLAN, code=1)
    assert "phases.b.datasets.items: there is no `items`" in pymigrate("start", PLAN, code=1)


def test_a_system_that_does_not_answer_is_not_taken_for_the_engine(
    pymigrate: CommandLine, served: ServedEngine
) -> None:
    pymigrate.apply(FILE)
    away = run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="can't connect to the database", is_temporary=True)
    served.outcomes["inspect"] = away
    said = pymigrate("start", PLAN, code=1)
    assert "can't connect to the database" in said
    assert "pymigrate serve" not in said


def test_a_run_that_fails_ends_the_command_with_why(pymigrate: CommandLine, served: ServedEngine) -> None:
    pymigrate.apply(FILE)
    served.outcomes["verify orders"] = run_pb2.Failure(reason="VERIFICATION_FAILED", message="10 rows against 9")
    said = pymigrate("start", PLAN, code=1)
    assert "10 rows against 9" in said
    name = said.splitlines()[0]
    served.outcomes.clear()
    assert "running" in pymigrate("retry", name)
    assert "succeeded" in pymigrate("watch", name)
    assert "can't be made paused any more" in pymigrate("pause", name, code=1)


def test_a_run_is_paused_resumed_and_cancelled(pymigrate: CommandLine, served: ServedEngine) -> None:
    pymigrate.apply(FILE)
    held = run_pb2.StartRunRequest(parent=PLAN, run_id="r")
    held.run.desired_state = run_pb2.DESIRED_STATE_PAUSED
    client = served.client()
    ask(client, client.runs.StartRun, held)
    client.channel.close()
    assert pymigrate("pause", RUN) == f"{RUN} paused\n"
    assert "cancelled" in pymigrate("cancel", RUN)
    assert "ended as cancelled" in pymigrate("watch", RUN, code=1)


def test_a_trigger_has_a_name_and_a_value(pymigrate: CommandLine) -> None:
    assert "name=value" in pymigrate("start", PLAN, "--trigger", "day", code=1)


def test_an_engine_that_is_gone_or_was_never_there_is_told_with_what_to_do(
    pymigrate: CommandLine, tmp_path: Path
) -> None:
    (pymigrate.home / "endpoint").write_text("127.0.0.1:1\n")
    assert "does not answer: start it with `pymigrate serve" in pymigrate("status", code=1).replace("\n", " ")
    (pymigrate.home / "endpoint").unlink()
    assert "no engine serves from" in pymigrate("status", code=1)


def test_environments_are_gone_through_page_by_page(pymigrate: CommandLine) -> None:
    document = "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {{name: e{}}}\n"
    pymigrate.apply("---\n".join(document.format(number) for number in range(120)))
    assert pymigrate("status") == ""


def test_a_terminal_shows_a_bar_a_lane(served: ServedEngine) -> None:
    served.do(served.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])}))
    client = served.client()
    ask(client, client.runs.StartRun, run_pb2.StartRunRequest(parent=PLAN, run_id="r"))
    screen = io.StringIO()
    run = progress.follow(client, RUN, Console(file=screen, force_terminal=True, width=140))
    client.channel.close()
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED
    assert "a.orders" in screen.getvalue()
    assert "b.items" in screen.getvalue()
    assert "━" in screen.getvalue()


def test_whoever_follows_a_run_goes_on_when_the_engine_comes_back(served: ServedEngine) -> None:
    served.do(served.engine.declare({"a": phase("orders")}))
    held = run_pb2.StartRunRequest(parent=PLAN, run_id="r")
    held.run.desired_state = run_pb2.DESIRED_STATE_PAUSED
    client, other = served.client(), served.client()
    ask(client, client.runs.StartRun, held)
    pictures: list[run_pb2.WatchRunResponse] = []
    first = threading.Event()

    def follow() -> None:
        for picture in progress._pictures(client, RUN):
            pictures.append(picture)
            first.set()

    following = threading.Thread(target=follow)
    following.start()
    assert first.wait(60)
    served.stop()
    served.start()
    grpc.channel_ready_future(other.channel).result(60)
    ask(other, other.runs.ResumeRun, run_pb2.ResumeRunRequest(name=RUN))
    following.join(60)
    other.channel.close()
    client.channel.close()
    assert pictures[-1].run.state == run_pb2.RUN_STATE_SUCCEEDED
    sequences = [event.sequence for picture in pictures for event in picture.events]
    assert sequences == sorted(set(sequences))
    assert sequences[-1] == int(pictures[-1].resume_token)


def test_what_is_refused_while_following_is_not_tried_again(served: ServedEngine) -> None:
    client = served.client()
    with pytest.raises(grpc.RpcError) as error:
        list(progress._pictures(client, RUN))
    client.channel.close()
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_gate_is_approved_and_what_was_published_is_rolled_back(pymigrate: CommandLine, served: ServedEngine) -> None:
    pymigrate.apply(FILE.replace("    b:\n", "    b:\n      gates: {look: {point: before_start}}\n"))
    said = pymigrate("start", PLAN, "--no-follow")
    name = said.splitlines()[0]
    assert "did you mean `look`" in pymigrate("approve", name, "b", "loook", code=1)
    assert pymigrate("approve", name, "b", "look").startswith(name)
    assert "succeeded" in pymigrate("watch", name)
    assert f"{name} rolled_back" in pymigrate("rollback", name, "--phase", "a")
    assert "there is no phase `c`" in pymigrate("rollback", name, "--phase", "c", code=1)


def test_a_run_that_its_policy_holds_up_is_approved_by_somebody_with_a_token_of_their_own(
    served: ServedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pymigrate = CommandLine(served.home, token_commands)
    pymigrate.apply(FILE.replace("spec: {displayName: E}", "spec: {policy: {approvalsMin: 1}}"))
    name = pymigrate("start", PLAN, "--no-follow").splitlines()[0]
    assert f"local started {name}: somebody else must approve it" in pymigrate("approve", name, code=1)
    made, said = pymigrate("token", "--purpose", "Ann approves").splitlines()
    holder = said.split()[1]
    monkeypatch.setenv("PYMIGRATE_TOKEN", made)
    assert pymigrate("approve", name).startswith(name)
    assert "makes no other one" in pymigrate("token", code=1)
    monkeypatch.delenv("PYMIGRATE_TOKEN")
    assert "succeeded" in pymigrate("watch", name)
    client = served.client()
    run = client.runs.GetRun(run_pb2.GetRunRequest(name=name), **client.options)
    client.channel.close()
    assert run.phases["a"].gates["environment-1"].approver == holder


def test_a_rollback_that_can_not_be_done_ends_the_command_with_why(
    pymigrate: CommandLine, served: ServedEngine
) -> None:
    pymigrate.apply(FILE)
    name = pymigrate("start", PLAN).splitlines()[0]
    served.outcomes["rollback"] = run_pb2.Failure(reason="CANNOT_UNDO", message="orders was changed since")
    assert "orders was changed since" in pymigrate("rollback", name, code=1)


def test_what_is_sealed_is_not_rolled_back_any_more(pymigrate: CommandLine, served: ServedEngine) -> None:
    pymigrate.apply(FILE)
    name = pymigrate("start", PLAN).splitlines()[0]
    pymigrate("seal", name, "--phase", "b")
    assert "sealed or being sealed" in pymigrate("rollback", name, "--phase", "b", code=1)
