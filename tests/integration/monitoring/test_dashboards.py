"""The dashboards of examples/monitoring as files: what Grafana would refuse or draw wrongly. What they ask is asked in the e2e tests."""

import itertools
import re
from pathlib import Path

import pytest
import yaml

from tests.dashboards import FILES, MONITORING, dashboard, panels, queries

COLUMNS = 24
BUILT_IN = {"__rate_interval", "__url_time_range", "__data"}
EACH = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@EACH
def test_panels_have_numbers_of_their_own_and_lie_beside_each_other(file: Path) -> None:
    board = dashboard(file)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [panel["gridPos"] for panel in board["panels"]]
    for place in places:
        assert 0 <= place["x"] <= place["x"] + place["w"] <= COLUMNS
    for one, other in itertools.combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_below, (one, other)


@EACH
def test_everything_is_asked_of_the_data_source_that_the_reader_picks(file: Path) -> None:
    board = dashboard(file)
    asked = [panel["datasource"] for panel in panels(board)]
    asked += [target["datasource"] for panel in panels(board) for target in panel["targets"]]
    asked += [each["datasource"] for each in board["templating"]["list"] if each["type"] == "query"]
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in asked)


@EACH
def test_every_variable_that_is_used_is_declared_and_the_other_way_round(file: Path) -> None:
    declared = {each["name"] for each in dashboard(file)["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", file.read_text())) - BUILT_IN
    assert used == declared


@EACH
def test_a_panel_says_what_it_shows_and_in_which_unit(file: Path) -> None:
    titles = [panel["title"] for panel in panels(dashboard(file))]
    assert len(set(titles)) == len(titles)
    for panel in panels(dashboard(file)):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0


@EACH
def test_a_table_s_columns_are_those_that_its_overrides_and_its_order_name(file: Path) -> None:
    for panel in panels(dashboard(file)):
        if panel["type"] != "table":
            continue
        organize = panel["transformations"][-1]["options"]
        columns = set(organize["renameByName"].values())
        assert {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]} <= columns
        assert panel["options"]["sortBy"][0]["displayName"] in columns
        values = {f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value" for target in panel["targets"]}
        named = {*organize["renameByName"], *organize["excludeByName"]}
        assert values <= named


@EACH
def test_a_dashboard_leads_to_the_other_by_its_name(file: Path) -> None:
    names = {dashboard(other)["uid"] for other in FILES}
    board = dashboard(file)
    assert {link["url"].removeprefix("/d/") for link in board["links"]} == names - {board["uid"]}


def test_recorded_series_that_dashboards_ask_for_are_recorded() -> None:
    rules = yaml.safe_load((MONITORING / "rules/recording.yml").read_text())
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"]}
    asked = {name for query in queries() for name in re.findall(r"\w+(?::\w+)+", query.expression)}
    assert asked <= recorded
    assert asked


def test_grafana_is_told_where_the_dashboards_and_the_prometheus_are() -> None:
    provisioning = MONITORING / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://127.0.0.1:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards/pymigrate.yml").read_text())["providers"]
    guide = (MONITORING.parents[1] / "docs/monitoring.md").read_text()
    assert f"`{provider['options']['path']}`" in guide
