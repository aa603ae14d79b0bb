"""A thousand recipients on two channels, a tenth of all tries failing: from an event's commit until everything is confirmed in the ledger.

A real engine with its dispatcher, a real SMTP server and a real HTTP server on loopback that answer 451 and 503, reset, hang, and take a
message without its sender hearing of it. Quiet, with both cores kept busy by lanes, and with the dispatcher killed at ten random moments.
What is checked each time: nobody is missing, and what came twice came with the same key and after a lost acknowledgement (or a kill) alone.
Reference: the same messages sent to the same servers by aiosmtplib and httpx alone, in turns with ours.
"""

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _figures import Report, arguments  # noqa: E402  # the tests' engine is found from the root
from _notified import ENVIRONMENT, POLL_SECONDS, TRY_SECONDS, WAIT_SECONDS_MAX, Killing, Scene, busy, scene  # noqa: E402
from kpis import Helper  # noqa: E402

from pymigrate.v1 import environment_pb2, notification_pb2  # noqa: E402

RECIPIENTS, RECIPIENTS_QUICK, RECIPIENTS_TINY = 1_000, 200, 10
GOAL_QUIET_SECONDS = 5.0
GOAL_BUSY_SECONDS = 10.0
BUSY_SHARE_MIN = 0.85
KILLS = 10
CONFIRMED = frozenset({notification_pb2.DELIVERY_STATE_ACCEPTED, notification_pb2.DELIVERY_STATE_DELIVERED})


@dataclass(frozen=True, slots=True)
class Round:
    """One event told to everybody: until the last confirmation in seconds, and what the receivers say."""

    seconds: float
    told: dict[str, Any]
    twice: int


def one_round(scene: Scene, *, is_killed: bool = False) -> Round:
    """Something happens; waits until everybody has confirmed, and checks what came."""
    scene.rounds += 1
    scene.receivers.tell(f"clear {scene.rounds}")
    wanted = scene.rounds * scene.recipients * 2
    department = environment_pb2.Department(
        name=f"{ENVIRONMENT}/departments/sales", labels={"round": f"{time.time_ns()}"}
    )
    request = environment_pb2.UpdateDepartmentRequest(department=department)
    request.update_mask.paths.append("labels")
    begun = time.time()
    scene.client.environments.UpdateDepartment(request, metadata=scene.client.metadata, timeout=60)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while (found := _confirmed(scene)) < wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"{wanted - found} of {wanted} are not confirmed: {_figures(scene)}")
        time.sleep(POLL_SECONDS)
    ended = max(each.accept_time.ToNanoseconds() for each in _ledger(scene, begun)) / 1e9
    told = json.loads(scene.receivers.tell("taken"))
    return Round(ended - begun, told, _checked(scene, told, is_killed=is_killed))


def _figures(scene: Scene) -> Any:
    return scene.call("GetNotificationKpis", notification_pb2.GetNotificationKpisRequest(parent=ENVIRONMENT))


def _confirmed(scene: Scene) -> int:
    counted = _figures(scene).total.deliveries
    return int(counted.get("accepted", 0) + counted.get("delivered", 0))


def _ledger(scene: Scene, since: float) -> list[Any]:
    """The round's deliveries; raises unless each is confirmed."""
    found: list[Any] = []
    token = ""
    while True:
        asked = notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT, page_size=1_000, page_token=token)
        page = scene.call("ListDeliveries", asked)
        fresh = [each for each in page.deliveries if each.create_time.ToNanoseconds() / 1e9 >= since]
        found.extend(fresh)
        token = page.next_page_token
        if not token or len(fresh) < len(page.deliveries):
            break
    if len(found) != scene.recipients * 2 or any(each.state not in CONFIRMED for each in found):
        raise AssertionError(f"{len(found)} deliveries are in the ledger, not all of them confirmed")
    return found


def _checked(scene: Scene, told: dict[str, Any], *, is_killed: bool) -> int:
    """Raises unless everybody was told, and twice only with the same key; how many came twice."""
    taken: dict[str, list[str]] = told["taken"]
    missing = scene.recipients * 2 - len(taken)
    twice = {who: keys for who, keys in taken.items() if len(keys) > 1}
    if missing or any(len(set(keys)) > 1 or not keys[0] for keys in taken.values()):
        raise AssertionError(f"{missing} were told nothing, or somebody was told twice with different keys")
    unexplained = [who for who, keys in twice.items() if len(keys) - 1 > told["lost"].get(who, 0)]
    if unexplained and not is_killed:
        raise AssertionError(
            f"{len(unexplained)} were told twice though no acknowledgement was lost: {unexplained[:3]}"
        )
    return len(twice)


def tell_rounds(
    report: Report,
    outcomes: dict[str, object],
    figure: str,
    ours: list[Round],
    reference: list[float],
    goal: float,
    recipients: int,
) -> None:
    """One figure with its reference."""
    seconds = [each.seconds for each in ours]
    report.add(
        f"{recipients * 2:,} messages, {figure}: from the event to the last confirmation, median of {len(ours)}",
        statistics.median(seconds),
        "s",
        reference="aiosmtplib and httpx alone",
        reference_value=statistics.median(reference),
        goal=f"all within {goal:g} s",
        met=max(seconds) <= goal,
    )
    faults: dict[str, int] = {}
    for each in ours:
        for fault, count in each.told["faults"].items():
            faults[fault] = faults.get(fault, 0) + count
    rounds = [{"seconds": round(each.seconds, 2), "tries": each.told["tries"], "twice": each.twice} for each in ours]
    outcomes[figure] = {"rounds": rounds, "faults": faults}
    print(f"  rounds {[round(each, 2) for each in seconds]}, reference {[round(each, 2) for each in reference]}")
    print(f"  told twice after a lost acknowledgement: {[each.twice for each in ours]}; faults: {faults}")


def main() -> None:
    """Quiet, busy, and with kills."""
    given = arguments(__doc__ or "")
    recipients, rounds = (RECIPIENTS_QUICK, 1) if given.quick else (RECIPIENTS, 5)
    if given.tiny:
        recipients, rounds = RECIPIENTS_TINY, 1
    outcomes: dict[str, object] = {}
    report = Report("notifications", ["grpcio", "aiosmtplib", "httpx", "jinja2", "aiosmtpd"])
    with tempfile.TemporaryDirectory() as name, scene(Path(name), recipients) as found:
        asked = notification_pb2.GetNotificationChannelRequest(name=f"{ENVIRONMENT}/notificationChannels/mail")
        mail_port = found.call("GetNotificationChannel", asked).smtp.port
        asked = notification_pb2.GetNotificationChannelRequest(name=f"{ENVIRONMENT}/notificationChannels/hook")
        hook_port = int(found.call("GetNotificationChannel", asked).webhook.url.rsplit(":", 1)[1].split("/")[0])
        bare = Helper("_bare_senders.py", mail_port, hook_port, recipients, TRY_SECONDS)
        bare.heard()

        def reference() -> float:
            found.receivers.tell(f"clear {found.rounds + 1}")
            return float(bare.tell("go"))

        try:
            one_round(found)  # the dispatcher has started, its templates are compiled
            quiet, alone = [], []
            for _ in range(rounds):
                alone.append(reference())
                quiet.append(one_round(found))
            tell_rounds(report, outcomes, "quiet", quiet, alone, GOAL_QUIET_SECONDS, recipients)
            loaded, beside = [], []
            with busy(found, Path(name), is_tiny=given.tiny) as share:
                for _ in range(min(rounds, 3)):
                    beside.append(reference())
                    loaded.append(one_round(found))
            tell_rounds(report, outcomes, "both cores busy with lanes", loaded, beside, GOAL_BUSY_SECONDS, recipients)
            print(f"  of both cores {share[0]:.0%} were in use")
            outcomes["cores in use"] = round(share[0], 3)
            if share[0] < BUSY_SHARE_MIN and not given.tiny:
                raise AssertionError("the lanes did not keep the cores busy")
            with Killing(found.engine, 1 if given.tiny else KILLS, seed=7) as killing:
                killed = one_round(found, is_killed=True)
            report.add(
                f"{recipients * 2:,} messages with the dispatcher killed {killing.killed} times: confirmed",
                recipients * 2,
                "messages",
                reference="recipients on two channels",
                reference_value=recipients * 2,
                goal="every one, as though nothing had happened",
                met=True,
            )
            print(f"  {killed.seconds:.2f} s; told twice: {killed.twice}")
            outcomes["killed"] = {
                "times": killing.killed,
                "seconds": round(killed.seconds, 2),
                "twice": killed.twice,
            }
        finally:
            bare.end()
    report.more["outcomes"] = outcomes
    report.write(given.results)


if __name__ == "__main__":
    main()
