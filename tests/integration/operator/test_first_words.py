"""First words: told of everything that was seen before the engine is asked about any of it."""

from pymigrate.engine.testing.cluster_faults import ClusterCall
from tests.integration.engine.served import ServedEngine
from tests.integration.operator.operated import operated

COUNT = 60
WRITE_SECONDS = 0.05


async def test_of_many_objects_at_once_each_is_told_something_before_the_engine_is_asked_about_any(
    served: ServedEngine,
) -> None:
    async with operated(served, starts=False) as scene:
        names = [f"Department prod/d{number}" for number in range(COUNT)]
        for name in names:
            await scene.apply(name, {})
        told: set[str] = set()
        asked_after: list[int] = []

        async def note(call: ClusterCall) -> None:
            if call.subresource == "status":
                if scene.engine_calls.count("ApplyDefinitions"):
                    asked_after.append(len(told))
                told.add(call.name)

        scene.cluster.faults.after.append(note)
        scene.cluster.faults.delay(WRITE_SECONDS, subresource="status", times=COUNT)
        scene.start()
        await scene.eventually(lambda: bool(asked_after))
        await scene.kill()
        assert asked_after[0] == COUNT
