"""The rules and the scrape configuration of examples/monitoring, as Prometheus' own promtool reads and tries them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from pymigrate.engine.main import cli
from pymigrate.engine.ports.metric_families import FAMILIES
from tests.dashboards import families, queries, variables
from tests.servers import absent

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "examples/monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))
UNIT_TESTS = sorted((MONITORING / "tests").glob("*.yml"))
SEVERITIES = {"critical", "warning", "none"}
SECONDS_MAX = 60


def rules(kind: str) -> list[dict[str, Any]]:
    """Every rule of a kind, `alert` or `record`."""
    return [
        rule
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


ALERTS = [rule["alert"] for rule in rules("alert")]


@pytest.fixture(scope="module")
def promtool() -> str:
    """The promtool on PATH."""
    return shutil.which("promtool") or absent("promtool (Debian: prometheus)")


def tried(*command: str | Path) -> None:
    """Runs a promtool command, which must find nothing wrong."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_rules(promtool: str) -> None:
    tried(promtool, "check", "rules", "--lint=all", "--lint-fatal", *RULES)


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_rules_tell_and_keep_silent_as_their_unit_tests_say(promtool: str, file: Path) -> None:
    tried(promtool, "test", "rules", file)


def test_a_rule_that_is_changed_fails_its_unit_test(promtool: str, tmp_path: Path) -> None:
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    alerts = tmp_path / "monitoring/rules/alerts.yml"
    alerts.write_text(alerts.read_text().replace('state="failed"} == 1', 'state="failed"} == 2'))
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "monitoring/tests/runs.yml"],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 1
    assert "a run that fails is told at once" in done.stdout + done.stderr


def test_promtool_accepts_the_scrape_configuration_with_a_token_file(promtool: str, tmp_path: Path) -> None:
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    token = tmp_path / "token"
    token.write_text("secret\n")
    configuration = tmp_path / "monitoring/prometheus.yml"
    text = configuration.read_text()
    assert "/etc/prometheus/pymigrate-token" in text
    configuration.write_text(text.replace("/etc/prometheus/pymigrate-token", str(token)))
    tried(promtool, "check", "config", configuration)


def test_a_page_that_uses_up_every_budget_is_still_taken() -> None:
    jobs = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    (job,) = (job for job in jobs if job["job_name"] == "pymigrate")
    # A histogram has a line for every bucket, for +Inf, for its sum and its count.
    lines = sum(family.series_max * (len(family.buckets) + 3 if family.buckets else 1) for family in FAMILIES)
    assert 100_000 < lines < job["sample_limit"]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tried_both_firing_and_silent(alert: str) -> None:
    expected = [
        bool(each["exp_alerts"])
        for file in UNIT_TESTS
        for case in yaml.safe_load(file.read_text())["tests"]
        for each in case.get("alert_rule_test", [])
        if each["alertname"] == alert
    ]
    assert set(expected) == {True, False}


@pytest.mark.parametrize("record", [rule["record"] for rule in rules("record")])
def test_a_recorded_series_is_tried(record: str) -> None:
    tried_ones = [
        each["expr"]
        for file in UNIT_TESTS
        for case in yaml.safe_load(file.read_text())["tests"]
        for each in case.get("promql_expr_test", [])
    ]
    assert any(record in expression for expression in tried_ones)


@pytest.mark.parametrize("rule", rules("alert"), ids=ALERTS)
def test_an_alert_says_how_grave_it_is_what_to_do_and_where_its_runbook_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in SEVERITIES
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook"}
    assert annotations["summary"].strip().endswith(".")
    page, _, anchor = annotations["runbook"].partition("#")
    headings = re.findall(r"^### (\w+)\n(.+)", (ROOT / page).read_text(), re.MULTILINE)
    assert {heading.lower(): heading for heading, _ in headings}[anchor] == rule["alert"]


def test_the_guide_has_a_heading_for_every_alert_and_for_no_other() -> None:
    guide = (ROOT / "docs/monitoring.md").read_text()
    assert re.findall(r"^### (PyMigrate\w+)$", guide, re.MULTILINE) == ALERTS


def test_every_command_that_an_alert_or_the_guide_tells_to_run_is_one() -> None:
    texts = [(MONITORING / "rules/alerts.yml").read_text(), (ROOT / "docs/monitoring.md").read_text()]
    told = {name for text in texts for name in re.findall(r"`pymigrate\s+([a-z]+)", text)}
    assert {"report", "retry", "rollback"} <= told <= set(get_command(cli.build()).commands)  # type: ignore[attr-defined]


def test_whatever_rules_and_dashboards_ask_for_is_a_family_of_the_engine() -> None:
    asked = [query.expression for query in queries()] + [variable.expression for variable, _ in variables()]
    named = families([*asked, *(rule["expr"] for kind in ("alert", "record") for rule in rules(kind))])
    assert len(named) > 30
    assert named <= {family.name for family in FAMILIES}


def test_no_two_alerts_have_one_name() -> None:
    assert len(set(ALERTS)) == len(ALERTS)
