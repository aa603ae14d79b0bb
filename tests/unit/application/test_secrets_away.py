"""A secret backend that is away for a minute delays what needs it, and nothing else; nothing fails."""

import asyncio

from pymigrate.engine.application.kinds import CONNECTIONS, PHASES
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import connection_pb2, run_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, PlayedHost, phase

AWAY = run_pb2.Failure(
    reason="SECRETS_UNAVAILABLE", message="connection legacy: the vault is sealed", is_temporary=True
)
LOOK_SECONDS = 5


async def test_who_needs_no_secret_of_it_goes_on_and_who_does_goes_on_when_it_is_back(engine: Engine) -> None:
    await engine.declare({"needing": phase("orders", "items")})
    other, free = phase("other"), connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/free.db"))
    other.datasets["other"].source.connection = "free"

    def work(unit: Unit) -> None:
        engine.catalog.create(unit, CONNECTIONS, ENVIRONMENT, "free", free, ME)
        engine.catalog.create(unit, PHASES, PLAN, "free", other, ME)

    await engine.store.transact(work)
    host = PlayedHost(engine)
    await host.register()
    run = asyncio.create_task(engine.runs.start(run_pb2.StartRunRequest(parent=PLAN, run_id="r"), ME))
    while not run.done():
        await host.work()
        await asyncio.sleep(0)
    name = (await run).name
    for _ in range(60 // LOOK_SECONDS):
        while task := await host.claim():
            is_held_up = task.WhichOneof("work") == "copy" and task.copy.dataset.source.name.endswith("/legacy")
            await host.finish(task, AWAY if is_held_up else None)
        engine.clock.advance(LOOK_SECONDS)
    seen = await engine.runs.get(name)
    assert seen.phases["free"].state == run_pb2.PHASE_STATE_PUBLISHED
    assert seen.phases["needing"].state == run_pb2.PHASE_STATE_STAGING
    engine.clock.advance(120)
    await host.work()
    assert (await engine.runs.get(name)).state == run_pb2.RUN_STATE_SUCCEEDED
