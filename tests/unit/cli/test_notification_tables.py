"""Deliveries, dry runs and figures of notifications as they read at a prompt."""

import io
from typing import Any

from google.protobuf import json_format
from rich.console import Console
from rich.table import Table

from pymigrate.engine.entrypoints.cli.notification_tables import (
    deliveries_table,
    delivery_lines,
    figures_table,
    preview_lines,
    tries_table,
)
from pymigrate.v1 import notification_pb2

NAME = "environments/prod/deliveries/d1"
DEAD = {
    "name": NAME,
    "state": "DELIVERY_STATE_DEAD",
    "severity": "SEVERITY_ERROR",
    "rule": "failures",
    "stakeholder": "ann",
    "address": "work",
    "channel": "mail",
    "to": "ann@example.com",
    "subject": "flights failed",
    "body": "It failed.\nLook at it.",
    "eventCount": 3,
    "duplicates": 2,
    "template": "short",
    "templateVersion": 4,
    "tries": [{"time": "2026-01-01T00:00:00Z", "seconds": 0.5, "outcome": "permanent", "answer": "550 no such user"}],
    "failure": {"reason": "REFUSED", "message": "550 no such user"},
    "mayBeRepeated": True,
}


def delivery(**fields: Any) -> notification_pb2.NotificationDelivery:
    return json_format.ParseDict({**DEAD, **fields}, notification_pb2.NotificationDelivery())


def cells(grid: Table, title: str) -> list[str]:
    """A column of a table, from its head to its end."""
    (column,) = [column for column in grid.columns if column.header == title]
    return [str(cell) for cell in column.cells]


def test_a_delivery_is_listed_with_where_it_stands_and_where_it_goes() -> None:
    grid = deliveries_table([delivery()])
    assert cells(grid, "delivery") == ["d1"]
    assert cells(grid, "state") == ["dead"]
    assert cells(grid, "address") == ["work (mail)"]
    assert cells(grid, "tries") == ["1"]


def test_a_delivery_without_a_way_is_listed_with_its_reason() -> None:
    homeless = delivery(
        state="DELIVERY_STATE_UNDELIVERABLE",
        channel="",
        to="",
        address="",
        subject="",
        failure={"message": "no address"},
    )
    grid = deliveries_table([homeless])
    assert cells(grid, "address") == ["-"]
    assert cells(grid, "subject") == ["no address"]


def test_a_delivery_is_told_with_its_text_and_every_try() -> None:
    told = list(delivery_lines(delivery()))
    assert told[0] == f"{NAME} dead: 550 no such user"
    assert "  to           ann, ann@example.com by mail" in told
    assert "  events       3, and 2 the same" in told
    assert "  template     short, version 4" in told
    assert "  came twice   perhaps: the answer to a try was lost" in told
    assert told[-2:] == ["    It failed.", "    Look at it."]
    assert cells(tries_table(delivery()), "answer") == ["550 no such user"]


def test_what_a_delivery_does_not_have_is_left_out() -> None:
    told = "\n".join(delivery_lines(delivery(mayBeRepeated=False, template="")))
    assert "came twice" not in told
    assert "template" not in told
    assert "accepted" not in told


def test_a_dry_run_tells_who_would_get_what_and_why() -> None:
    answer = notification_pb2.PreviewNotificationsResponse(steps=["`failures` matches"])
    answer.deliveries.add(delivery=delivery(state="DELIVERY_STATE_PENDING", failure={}), because=["on duty"], body="x")
    told = list(preview_lines(answer))
    assert told[0] == "`failures` matches"
    assert told[2].startswith("ann: pending, ann@example.com by mail")
    assert told[3:] == ["  - on duty", "  flights failed", "    x"]


def test_a_dry_run_that_reaches_nobody_says_so() -> None:
    assert list(preview_lines(notification_pb2.PreviewNotificationsResponse())) == ["nobody would be told"]


def test_figures_are_told_for_all_each_rule_and_each_channel() -> None:
    figures = {
        "deliveries": {"accepted": 9, "dead": 1},
        "agreed": 10,
        "confirmedInTime": 8,
        "late": 2,
        "shareInTime": 0.8,
    }
    quick = figures | {"confirmSeconds": {"p50": 0.5, "p90": 61}}
    document = {"name": "environments/e", "total": figures, "rules": {"failures": quick}, "channels": {"mail": figures}}
    grid = figures_table(json_format.ParseDict(document, notification_pb2.NotificationKpis()))
    assert cells(grid, "of") == ["all", "rule failures", "channel mail"]
    assert cells(grid, "P90") == ["-", "1 min 01 s", "-"]
    assert cells(grid, "share in time") == ["80.0%"] * 3
    assert cells(grid, "by state")[0] == "9 accepted, 1 dead"


def test_what_others_wrote_is_neither_markup_nor_told_to_the_terminal() -> None:
    wrote = "[/red] \x1b[2J [bold]x 3\N{NO-BREAK SPACE}%"
    answered = delivery(subject=wrote, tries=[{"outcome": "permanent", "answer": wrote}], body=wrote)
    plain = wrote.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert cells(deliveries_table([answered]), "subject") == [plain]
    assert cells(tries_table(answered), "answer") == [plain]
    assert f"    {plain}" in list(delivery_lines(answered))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(deliveries_table([answered]))
    assert plain in console.export_text()
