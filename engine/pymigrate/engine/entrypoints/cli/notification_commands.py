"""The commands of notifications: who would be told, who was, and what an operator does about it."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import typer

from pymigrate.engine.entrypoints.cli.client import Client, connected, fail
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.engine.entrypoints.cli.notification_tables import (
    deliveries_table,
    delivery_line,
    delivery_lines,
    figures_table,
    preview_lines,
    tries_table,
)
from pymigrate.v1 import notification_pb2
from pymigrate.v1.shape import enum_number

EnvironmentName = Annotated[str, typer.Argument(help="environments/<environment>")]
DeliveryName = Annotated[str, typer.Argument(help="environments/<environment>/deliveries/<delivery>")]
ChannelName = Annotated[str, typer.Argument(help="environments/<environment>/notificationChannels/<channel>")]
SeverityWord = Annotated[str, typer.Option(help="info, warning, error or critical; without it that of the type.")]
PAGE_SIZE = 1_000

notifications = typer.Typer(help="Tell who is told what, and what became of it.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the application, below one word."""
    app.add_typer(notifications, name="notifications")


@notifications.command()
def preview(
    environment: EnvironmentName,
    event: Annotated[str, typer.Argument(help="The type of event, as phase.failed.")],
    home: Home = HOME_DEFAULT,
    subject: Annotated[str, typer.Option(help="What it happens to, by its resource name.")] = "",
    severity: SeverityWord = "",
    plan: Annotated[str, typer.Option(help="The plan, by its last segment.")] = "",
    phase: Annotated[str, typer.Option(help="The phase, by its last segment.")] = "",
    department: Annotated[str, typer.Option(help="The department, by its last segment.")] = "",
    run: Annotated[str, typer.Option(help="The run, by its resource name.")] = "",
    reason: Annotated[str, typer.Option(help="The reason of a failure, as SOURCE_UNAVAILABLE.")] = "",
    rule: Annotated[str, typer.Option(help="The rule that finds it, of a figure, a drift or a window.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell who would get what for an event, and why, or why not. Nothing is sent."""
    message = notification_pb2.NotificationEvent(
        type=event, subject=subject, plan=plan, phase=phase, department=department, run=run, rule=rule
    )
    message.severity = _number(notification_pb2.Severity, "--severity", severity)
    if reason:
        message.failure.reason = reason
    with connected(home) as client:
        request = notification_pb2.PreviewNotificationsRequest(parent=environment, event=message)
        answer = client.notifications.PreviewNotifications(request, **client.options)
        if as_json:
            print_json(answer)
            return
        for line in preview_lines(answer):
            typer.echo(line)


@notifications.command()
def deliveries(
    environment: EnvironmentName,
    home: Home = HOME_DEFAULT,
    stakeholder: Annotated[str, typer.Option(help="Only what this one was told, by its last segment.")] = "",
    rule: Annotated[str, typer.Option(help="Only what this rule told, by its last segment.")] = "",
    state: Annotated[str, typer.Option(help="Only those that stand so, as dead or undeliverable.")] = "",
    run: Annotated[str, typer.Option(help="Only those that tell of this run, by its resource name.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List who was told what, the newest first; as JSON, a line each."""
    with connected(home) as client:
        request = notification_pb2.ListDeliveriesRequest(
            parent=environment, stakeholder=stakeholder, rule=rule, run=run, page_size=min(limit, PAGE_SIZE)
        )
        request.state = _number(notification_pb2.DeliveryState, "--state", state)
        found = list(islice(_pages(client, request), limit))
        if as_json:
            for each in found:
                print_json(each, is_line=True)
            return
        console().print(deliveries_table(found))


@notifications.command()
def delivery(name: DeliveryName, home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Show a delivery: its text, every try, and what came of it."""
    with connected(home) as client:
        request = notification_pb2.GetDeliveryRequest(name=name)
        found = client.notifications.GetDelivery(request, **client.options)
        if as_json:
            print_json(found)
            return
        for line in delivery_lines(found):
            typer.echo(line)
        if found.tries:
            console().print(tries_table(found))


@notifications.command()
def acknowledge(name: DeliveryName, home: Home = HOME_DEFAULT) -> None:
    """Say that somebody has seen a delivery and acts: nobody is told next."""
    _ask("AcknowledgeDelivery", notification_pb2.AcknowledgeDeliveryRequest(name=name), home)


@notifications.command()
def redrive(name: DeliveryName, home: Home = HOME_DEFAULT) -> None:
    """Try a dead or undeliverable delivery again from the beginning, with the same key."""
    _ask("RedriveDelivery", notification_pb2.RedriveDeliveryRequest(name=name), home)


@notifications.command(name="test-channel")
def try_channel(
    name: ChannelName,
    to: Annotated[str, typer.Argument(help="Where the message goes, as the channel takes it.")] = "",
    home: Home = HOME_DEFAULT,
) -> None:
    """Send a message through a channel to see whether it works; its delivery tells what comes of it."""
    _ask("TestNotificationChannel", notification_pb2.TestNotificationChannelRequest(name=name, to=to), home)


@notifications.command()
def kpis(
    environment: EnvironmentName,
    home: Home = HOME_DEFAULT,
    window: Annotated[float, typer.Option(min=0, help="How far back, in seconds; 0 for a day.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Tell in figures how notifications fare: told, confirmed in time, late or not at all, by rule and by channel."""
    with connected(home) as client:
        request = notification_pb2.GetNotificationKpisRequest(parent=environment, window_seconds=window)
        found = client.notifications.GetNotificationKpis(request, **client.options)
        if as_json:
            print_json(found)
            return
        console().print(figures_table(found))


def _ask(method: str, request: Any, home: Any) -> None:
    with connected(home) as client:
        found = getattr(client.notifications, method)(request, **client.options)
        typer.echo(delivery_line(found))


def _number(enum: Any, option: str, word: str) -> Any:
    """The number of an enum's word; 0 of an empty one. Ends the command with the words that there are."""
    try:
        return enum_number(enum.DESCRIPTOR, word) if word else 0
    except ValueError as error:
        fail(f"{option}: {error}")


def _pages(
    client: Client, request: notification_pb2.ListDeliveriesRequest
) -> Iterator[notification_pb2.NotificationDelivery]:
    while True:
        page = client.notifications.ListDeliveries(request, **client.options)
        yield from page.deliveries
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
