"""What was changed from other sides while a source was suspended: corrected, or told, and never mistaken for anything else."""

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.kinds import DEPARTMENTS
from pymigrate.engine.domain.errors import RepositoryUnavailable
from pymigrate.v1 import environment_pb2, git_source_pb2
from tests.unit.application.gitops.sourced import ME, NAME, Sourced, applied, department

SALES = "environments/prod/departments/sales"


async def drifted(**fields: Any) -> Sourced:
    """One whose department somebody has described otherwise while it was suspended, and that goes on."""
    scene = await applied(**fields)
    await scene.sources.suspend(NAME, "a night shift", ME)
    await redescribe(scene, "by hand")
    return scene


async def redescribe(scene: Sourced, text: str) -> None:
    changed = environment_pb2.Department(name=SALES, display_name=text)
    mask = FieldMask(paths=["display_name"])
    await scene.store.transact(lambda unit: scene.catalog.update(unit, DEPARTMENTS, changed, mask, ME))


async def described(scene: Sourced) -> str:
    return (await scene.store.read(lambda unit: scene.catalog.get(unit, DEPARTMENTS, SALES))).display_name


async def test_while_a_source_is_suspended_its_drift_is_told_and_left() -> None:
    scene = await drifted()
    sha = scene.push({"c.yaml": department("hr")})
    await scene.passed()
    status, conditions = await scene.status(), await scene.conditions()
    assert (status.is_suspended, status.suspend_reason, status.suspended_by) == (True, "a night shift", "me")
    assert (conditions["Applied"], status.seen_commit) == ("!SUSPENDED", sha)
    assert (conditions["InSync"], [each.name for each in status.drift]) == ("!DRIFTED", [SALES])
    assert await described(scene) == "by hand"
    writes = scene.store.writes
    await scene.passed()
    assert scene.store.writes == writes


async def test_drift_is_corrected_when_a_source_goes_on() -> None:
    scene = await drifted()
    await scene.passed()
    await scene.sources.resume(NAME, ME)
    outcome = await scene.passed()
    assert outcome.result == "corrected"
    assert await described(scene) == ""
    revision = (await scene.revisions())[-1]
    assert revision.state == git_source_pb2.GIT_REVISION_STATE_CORRECTED
    assert [(each.name, each.fields[0].path) for each in revision.changes] == [(SALES, "display_name")]
    assert [action for _, action, _ in await scene.audited("correct")] == [f"correct {revision.commit}"]
    assert (await scene.conditions())["InSync"] == "IN_SYNC"
    writes = scene.store.writes
    assert (await scene.passed()).result == "unchanged"
    assert scene.store.writes == writes


async def test_drift_that_is_only_to_be_told_stays() -> None:
    scene = await drifted(driftPolicy="DRIFT_POLICY_REPORT")
    await scene.sources.resume(NAME, ME)
    assert (await scene.passed()).result == "drifted"
    assert (await scene.conditions())["InSync"] == "!DRIFTED"
    assert await described(scene) == "by hand"
    writes = scene.store.writes
    await scene.passed()
    assert scene.store.writes == writes
    await scene.again().passed()
    assert scene.store.writes == writes


async def test_drift_that_somebody_took_back_is_none() -> None:
    scene = await drifted()
    await redescribe(scene, "")
    await scene.sources.resume(NAME, ME)
    assert (await scene.passed()).result == "unchanged"
    assert len(await scene.revisions()) == 1
    assert (await scene.conditions())["InSync"] == "IN_SYNC"


async def test_what_was_deleted_is_made_again() -> None:
    scene = await applied()
    await scene.sources.suspend(NAME, "", ME)
    await scene.store.transact(lambda unit: scene.catalog.delete(unit, DEPARTMENTS, SALES, "", ME))
    await scene.sources.resume(NAME, ME)
    assert (await scene.passed()).result == "corrected"
    assert "departments/sales" in await scene.names()


async def test_an_engine_that_starts_again_finds_drift_that_came_meanwhile() -> None:
    scene = await drifted()
    await scene.sources.resume(NAME, ME)
    assert (await scene.again().passed()).result == "corrected"
    assert await described(scene) == ""


async def test_drift_is_corrected_by_the_copy_while_the_repository_is_away() -> None:
    scene = await drifted()
    await scene.sources.resume(NAME, ME)
    scene.hosted.failure = RepositoryUnavailable("away")
    await scene.passed()
    assert await described(scene) == ""
    assert (await scene.conditions())["Available"] == "!REPOSITORY_UNAVAILABLE"
    assert (await scene.conditions())["InSync"] == "IN_SYNC"


async def test_drift_is_corrected_by_the_good_commit_while_the_newest_is_broken() -> None:
    scene = await drifted()
    await scene.sources.resume(NAME, ME)
    scene.push({"c.yaml": "[}"})
    assert (await scene.passed()).result == "refused"
    assert await described(scene) == ""
    assert [each.state for each in await scene.revisions()][1:] == [
        git_source_pb2.GIT_REVISION_STATE_REFUSED,
        git_source_pb2.GIT_REVISION_STATE_CORRECTED,
    ]
    assert (await scene.conditions())["Valid"] == "!DEFINITIONS_INVALID"


async def test_a_source_that_only_looks_corrects_nothing_by_itself() -> None:
    scene = await drifted()
    await scene.change("sync_mode", syncMode="SYNC_MODE_DRY_RUN")
    await scene.sources.resume(NAME, ME)
    assert (await scene.passed()).result == "drifted"
    assert await described(scene) == "by hand"
