"""The commands of impact analysis against a served engine: what they print, and what they say of what can't be."""

from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli import impact_commands
from pymigrate.v1 import run_pb2, worker_pb2
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine, ask
from tests.unit.application.engines import PLAN, phase

RUN = f"{PLAN}/runs/r"


@pytest.fixture
def pymigrate(served: ServedEngine) -> CommandLine:
    """The command line of an engine with a plan of two phases."""
    served.do(served.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])}))
    found = worker_pb2.Probed(open_seconds=0.5, verify_seconds=0.1, publish_seconds=0.1, is_whole=True)
    found.chunks.add(rows=10, bytes=1_000, seconds=2.0)
    served.outcomes["probe"] = worker_pb2.TaskResult(probe=found)
    return CommandLine(served.home, impact_commands)


def variants(home: Path, text: str) -> str:
    file = home / "variants.yaml"
    file.write_text(text)
    return str(file)


def test_an_impact_is_told_as_lines_and_tables(pymigrate: CommandLine) -> None:
    said = pymigrate("impact", PLAN, "--draws", "20", "--probe-seconds", "2")
    assert said.startswith(f"{PLAN}: ")
    assert "critical   a → b" in said
    assert "phases, P50 (P90) of 20 rehearsals" in said
    assert "measured" in said
    assert "departments" in said


def test_an_impact_is_json_of_the_contracts_shape_too(pymigrate: CommandLine) -> None:
    found = pymigrate.json("impact", PLAN, "--draws", "20", "--seed", "3", "--probe-seconds", "-1")
    assert (found["plan"], found["draws"], found["seed"]) == (PLAN, 20, 3)
    assert found["phases"]["a"]["datasets"]["orders"]["basis"] == "statistics"
    assert found["summary"]["rating"] in {"low", "moderate", "high", "critical"}


def test_what_was_measured_is_measured_again_where_that_is_asked_for(
    pymigrate: CommandLine, served: ServedEngine
) -> None:
    pymigrate("impact", PLAN, "--draws", "1", "--probe-seconds", "2")
    served.outcomes["probe"] = run_pb2.Failure(reason="SYSTEM_UNAVAILABLE", message="away", is_temporary=True)
    kept = pymigrate.json("impact", PLAN, "--draws", "1", "--probe-seconds", "2")
    again = pymigrate.json("impact", PLAN, "--draws", "1", "--probe-seconds", "2", "--remeasure")
    assert "unknowns" not in kept["phases"]["a"]["datasets"]["orders"]
    assert again["phases"]["a"]["datasets"]["orders"]["unknowns"] == ["how long it takes: away"]


@pytest.mark.parametrize(
    ("start", "moment"),
    [
        ("2026-12-24T22:00:00+01:00", "2026-12-24T21:00:00Z"),
        ("2026-12-24T22:00:00", "2026-12-24T22:00:00Z"),
        ("2026-12-24", "2026-12-24T00:00:00Z"),
    ],
)
def test_a_start_is_read_with_its_zone_or_as_utc(pymigrate: CommandLine, start: str, moment: str) -> None:
    found = pymigrate.json("impact", PLAN, "--draws", "1", "--probe-seconds", "-1", "--start", start)
    assert found["startTime"] == moment


@pytest.mark.parametrize("start", ["soon", "2026-13-01", "0001-01-01T00:00:00+05:00"])
def test_a_start_that_is_none_is_told_with_how_it_is_written(pymigrate: CommandLine, start: str) -> None:
    said = pymigrate("impact", PLAN, "--start", start, code=1)
    assert said == f"`{start}` is no moment: write it as 2026-12-24T22:00:00+01:00\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--start", "2099-01-01"), "start_time: lies more than a year ahead"),
        (("--draws", "1001"), "draws: is 1 to 1,000; 0 means 200"),
        (("--probe-seconds", "0.5"), "probe_seconds_max: is 1 to 600 seconds, or -1 to probe nothing"),
    ],
)
def test_what_the_engine_refuses_is_told_with_its_field(
    pymigrate: CommandLine, arguments: tuple[str, ...], says: str
) -> None:
    assert pymigrate("impact", PLAN, *arguments, code=1) == f"{says}\n"


def test_a_plan_that_is_not_there_is_told_with_the_nearest_name(pymigrate: CommandLine) -> None:
    assert "did you mean `p`" in pymigrate("impact", f"{PLAN}p", code=1)


@pytest.mark.parametrize("is_nested", [False, True])
def test_what_ifs_are_told_as_a_table_of_what_differs(pymigrate: CommandLine, is_nested: bool) -> None:
    text = "shorter: {phases: {b: {isLeftOut: true}}}\nlater: {startTime: 2026-12-24T22:00:00Z}\n"
    if is_nested:
        text = "variants:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    file = variants(pymigrate.home, text)
    said = pymigrate("impact", PLAN, "--draws", "20", "--probe-seconds", "-1", "--what-if", file)
    assert "what differs" in said
    told = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if "│" in line]
    assert ["shorter", "phases/b", "", "there", "left out", ""] in told
    found = pymigrate.json("impact", PLAN, "--draws", "20", "--probe-seconds", "-1", "--what-if", file)
    assert found["variants"].keys() == {"shorter", "later"}
    assert found["variants"]["later"]["startTime"] == "2026-12-24T22:00:00Z"
    assert {row["variant"] for row in found["differences"]} >= {"shorter"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no variants: write them by name"),
        ("[]", "holds no variants"),
        ("a: {}\n---\nb: {}", "holds no variants"),
        ("variants: {}", "holds no variants"),
        ("v: {lanesMx: 3}", "variants.v.lanesMx: there is no such field; did you mean `lanesMax`?"),
        ("v: {startTime: soon}", "variants.v.startTime: must be a time"),
        (
            "v: {schedule: {windows: {n: {start: 22:00}}}}",
            "1:37: numbers with colons are of base 60 to some readers of YAML and text to others: quote it",
        ),
        ("v: [", "is not YAML"),
        ("a: &a {}\nb: *a", ":2:4: aliases are not allowed"),
        pytest.param("#" * (4 * 1024 * 1024 + 1), "more than 4,194,304 bytes", id="too large"),
        ("v: {lanesMax: -7}", "variants.v.lanes_max"),
        ("v: {phases: {aa: {lanes: 2}}}", "did you mean `a`?"),
    ],
)
def test_a_file_of_variants_that_is_wrong_is_told_with_where(pymigrate: CommandLine, text: str, says: str) -> None:
    said = pymigrate("impact", PLAN, "--what-if", variants(pymigrate.home, text), code=1)
    assert says in said


def test_a_file_that_is_not_there_is_told(pymigrate: CommandLine) -> None:
    assert "does not exist" in pymigrate("impact", PLAN, "--what-if", str(pymigrate.home / "none.yaml"), code=2)


def test_a_run_is_forecast_and_its_estimate_shown(pymigrate: CommandLine, served: ServedEngine) -> None:
    client = served.client("api")
    ask(client, client.runs.StartRun, run_pb2.StartRunRequest(parent=PLAN, run_id="r"))
    client.channel.close()
    assert "succeeded" in pymigrate("watch", RUN)
    assert f"{RUN}, P50 (P90)" in pymigrate("forecast", RUN)
    assert pymigrate.json("forecast", RUN)["endTime"].keys() == {"p50", "p90"}
    assert "nothing was estimated" in pymigrate("estimate", RUN, code=1)
    served.do(served.engine.followups.step())
    assert "a/orders (statistics)" in pymigrate("estimate", RUN)
    found = pymigrate.json("estimate", RUN)
    assert found["phases"].keys() == {"a", "b"}
    assert found["phases"]["a"]["downtime"]["actualSeconds"] >= 0


def test_what_has_not_happened_yet_is_none_in_json(pymigrate: CommandLine, served: ServedEngine) -> None:
    client = served.client("api")
    held = run_pb2.StartRunRequest(parent=PLAN, run_id="r", run=run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED))
    ask(client, client.runs.StartRun, held)
    client.channel.close()
    served.do(served.engine.followups.step())
    assert pymigrate.json("estimate", RUN)["drift"] == "NaN"
    said = pymigrate("forecast", RUN)
    assert "not known: When the run is resumed: it is reckoned as if that were now." in said


@pytest.mark.parametrize("command", ["forecast", "estimate"])
def test_a_run_that_is_not_there_is_told(pymigrate: CommandLine, command: str) -> None:
    assert "there is no" in pymigrate(command, f"{PLAN}/runs/none", code=1)


def test_without_an_engine_the_commands_say_how_to_start_one(tmp_path: Path) -> None:
    alone = CommandLine(tmp_path, impact_commands)
    for arguments in (("impact", PLAN), ("forecast", RUN), ("estimate", RUN)):
        assert f"no engine serves from {tmp_path}" in alone(*arguments, code=1)
