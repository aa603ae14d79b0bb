"""Declared objects of notifications in the store: what they need must be there, and what others need stays."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.notification_kinds import (
    ALERT_RULES,
    NOTIFICATION_CHANNELS,
    NOTIFICATION_TEMPLATES,
    ON_CALL_SCHEDULES,
    SILENCES,
    STAKEHOLDERS,
)
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition
from pymigrate.v1 import notification_pb2
from tests.unit.application import noticed
from tests.unit.application.engines import ENVIRONMENT, ME, Engine


@pytest.fixture
async def declared(engine: Engine) -> Engine:
    """An engine with an environment that declares one of each."""
    await noticed.declare_notices(engine)
    return engine


async def refused(engine: Engine, work: Any) -> dict[str, str]:
    """The fields that a refused unit of work names, with the reasons."""
    with pytest.raises(InvalidDefinition) as error:
        await engine.store.transact(work)
    return {problem.field: problem.description for problem in error.value.problems}


async def update(engine: Engine, kind: Kind[Any], name: str, *paths: str, **fields: Any) -> Any:
    message = noticed.read(kind, {"name": f"{ENVIRONMENT}/{kind.collection}/{name}", **fields})
    mask = FieldMask(paths=paths)
    return await engine.store.transact(lambda unit: engine.catalog.update(unit, kind, message, mask, ME))


async def delete(engine: Engine, kind: Kind[Any], name: str) -> None:
    full = f"{ENVIRONMENT}/{kind.collection}/{name}"
    await engine.store.transact(lambda unit: engine.catalog.delete(unit, kind, full, "", ME))


def test_a_noun_of_several_words_is_spelled_as_requests_have_it() -> None:
    kinds = (ALERT_RULES, NOTIFICATION_CHANNELS, NOTIFICATION_TEMPLATES, ON_CALL_SCHEDULES, SILENCES, CONNECTIONS)
    assert [kind.noun for kind in kinds] == [
        *("alert_rule", "notification_channel", "notification_template"),
        *("on_call_schedule", "silence", "connection"),
    ]


async def test_a_new_object_that_names_what_is_not_there_is_refused(declared: Engine) -> None:
    wrong = noticed.BOB | {"addresses": {"hook": {"channel": "hok"}}}
    found = await refused(declared, lambda unit: noticed.add(declared, unit, STAKEHOLDERS, "eve", wrong))
    assert "did you mean `hook`?" in found["stakeholder.addresses.hook.channel"]
    wrong = {"recipients": {"stakeholders": ["an"]}, "template": "shrt"}
    found = await refused(declared, lambda unit: noticed.add(declared, unit, ALERT_RULES, "x", wrong))
    assert "did you mean `ann`?" in found["alert_rule.recipients.stakeholders"]
    assert "did you mean `short`?" in found["alert_rule.template"]


async def test_rules_do_not_lie_below_one_another_in_a_circle(declared: Engine) -> None:
    def work(unit: Any) -> None:
        message = notification_pb2.AlertRule(name=f"{ENVIRONMENT}/alertRules/failures", parent_rule="lag")
        declared.catalog.update(unit, ALERT_RULES, message, FieldMask(paths=["parent_rule"]), ME)

    found = await refused(declared, work)
    assert "failures → lag → failures" in found["alert_rule.parent_rule"]


@pytest.mark.parametrize(
    ("kind", "name", "by"),
    [
        (NOTIFICATION_CHANNELS, "mail", "stakeholders/ann"),
        (STAKEHOLDERS, "ann", "alertRules/lag"),
        (STAKEHOLDERS, "bob", "alertRules/failures"),
        (ALERT_RULES, "failures", "alertRules/lag"),
        (NOTIFICATION_TEMPLATES, "short", "alertRules/failures"),
        (ON_CALL_SCHEDULES, "nights", "alertRules/failures"),
        (DEPARTMENTS, "sales", "stakeholders/ann"),
    ],
)
async def test_what_another_object_names_is_not_deleted(declared: Engine, kind: Kind[Any], name: str, by: str) -> None:
    with pytest.raises(FailedPrecondition, match=f"needed by {ENVIRONMENT}/{by}"):
        await delete(declared, kind, name)


async def test_a_stakeholder_who_takes_turns_is_not_deleted(declared: Engine) -> None:
    await delete(declared, ALERT_RULES, "lag")
    with pytest.raises(FailedPrecondition, match=r"needed by .*/onCallSchedules/nights"):
        await delete(declared, STAKEHOLDERS, "ann")


async def test_objects_go_in_the_order_in_which_they_name_one_another(declared: Engine) -> None:
    for kind, name, _ in reversed(noticed.DECLARED):
        await delete(declared, kind, name)
    await delete_environment(declared)
    assert await declared.store.read(lambda unit: unit.resources.get(ENVIRONMENT)) is None
    assert not await declared.store.read(lambda unit: unit.resources.has_children(ENVIRONMENT))


async def delete_environment(engine: Engine) -> None:
    await delete(engine, DEPARTMENTS, "sales")
    await engine.store.transact(lambda unit: engine.catalog.delete(unit, ENVIRONMENTS, ENVIRONMENT, "", ME))


async def test_an_environment_that_still_tells_somebody_is_not_deleted(declared: Engine) -> None:
    with pytest.raises(FailedPrecondition, match="still holds objects"):
        await declared.store.transact(lambda unit: declared.catalog.delete(unit, ENVIRONMENTS, ENVIRONMENT, "", ME))


async def test_a_channel_does_not_become_another_kind(declared: Engine) -> None:
    def work(unit: Any) -> None:
        message = noticed.read(NOTIFICATION_CHANNELS, noticed.HOOK)
        message.name = f"{ENVIRONMENT}/notificationChannels/mail"
        declared.catalog.update(unit, NOTIFICATION_CHANNELS, message, FieldMask(), ME)

    found = await refused(declared, work)
    assert "the notification channel is smtp" in found["notification_channel.webhook"]


async def test_a_webhook_keeps_its_url_while_somebody_is_reached_by_it(declared: Engine) -> None:
    def work(unit: Any) -> None:
        message = notification_pb2.NotificationChannel(
            name=f"{ENVIRONMENT}/notificationChannels/hook", webhook=notification_pb2.WebhookChannel()
        )
        declared.catalog.update(unit, NOTIFICATION_CHANNELS, message, FieldMask(paths=["webhook"]), ME)

    assert "stakeholders/bob is reached by it" in (await refused(declared, work))["notification_channel.webhook.url"]


async def test_a_template_counts_the_writes_that_changed_a_text(declared: Engine) -> None:
    first = await update(declared, NOTIFICATION_TEMPLATES, "short", "display_name", displayName="Short")
    assert first.version == 1
    texts = {"en": {"subject": "{{ event.type }}!", "body": "x"}}
    second = await update(declared, NOTIFICATION_TEMPLATES, "short", "texts", texts=texts)
    assert second.version == 2
    same = await update(declared, NOTIFICATION_TEMPLATES, "short", "texts", texts=texts)
    assert (same.version, same.etag) == (2, second.etag)


async def test_a_template_written_whole_keeps_its_count(declared: Engine) -> None:
    whole = await update(declared, NOTIFICATION_TEMPLATES, "short", **noticed.SHORT, version=7)
    assert whole.version == 1
    assert whole.etag.endswith("-1")


async def test_nobody_sets_the_version_of_a_template(declared: Engine) -> None:
    def work(unit: Any) -> None:
        message = notification_pb2.NotificationTemplate(
            name=f"{ENVIRONMENT}/notificationTemplates/short", version=7, display_name="x"
        )
        declared.catalog.update(unit, NOTIFICATION_TEMPLATES, message, FieldMask(paths=["version"]), ME)

    assert "`version` can't be set" in (await refused(declared, work))["update_mask"]
