"""Channels of other packages: found by their names, and held to what a channel promises whatever they do."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.factory import build_channel
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.channel import ANSWER_CHARACTERS_MAX, Channel, Sent
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import notification_pb2 as pb
from tests.letters import letter

SECRET = "s3cret-option"
# What a package may bring: a channel whose text is run when a letter is sent.
PACKAGE = """
import asyncio
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.ports.channel import Sent
from pymigrate.engine.testing.secrets import MemorySecrets

class Made:
    def __init__(self, options):
        self.options = options
    async def send(self, letter):
        {body}
    async def close(self):
        {closing}

def raises(options):
    raise RuntimeError("no " + options.secrets["token"].reveal())

def nothing(options):
    return object()
"""


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Channel]:
    """Installs a package for this process, and gives its channel."""

    def brought(body: str = "pass", closing: str = "pass", at: str = "Made", kind: str = "own") -> Channel:
        module = f"own_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(PACKAGE.format(body=body, closing=closing))
        info = tmp_path / "own-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pymigrate.channels]\nown = {module}:{at}\ngone = nowhere:gone\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        plugin = pb.PluginChannel(kind=kind, options={"server": "here", "token": "env://TOKEN"})
        declared = pb.NotificationChannel(plugin=plugin, try_seconds_max=0.2)
        return build_channel(declared, MemorySecrets({"TOKEN": SECRET}), OutgoingAddresses())

    return brought


async def test_a_plugin_is_given_its_options_and_the_secrets_that_they_refer_to(bring: Callable[..., Channel]) -> None:
    channel = bring(
        "return Sent(TryOutcome.ACCEPTED, f'{self.options.options} {sorted(self.options.secrets)}', is_delivered=True)"
    )
    sent = await channel.send(letter())
    assert sent == Sent(TryOutcome.ACCEPTED, "{'server': 'here'} ['token']", is_delivered=True)


@pytest.mark.parametrize(
    ("body", "outcome", "said"),
    [
        ("raise ValueError('a defect')", TryOutcome.PERMANENT, "the channel `own` failed: ValueError: a defect"),
        ("raise SystemExit(1)", TryOutcome.PERMANENT, "the channel `own` failed: SystemExit: 1"),
        ("raise ConnectionResetError('gone')", TryOutcome.UNKNOWN, "failed: ConnectionResetError: gone"),
        ("await asyncio.Event().wait()", TryOutcome.UNKNOWN, "the channel `own` did not answer within 0.2 s"),
        ("return True", TryOutcome.PERMANENT, "answered with bool instead of Sent"),
        ("return Sent(TryOutcome.TRANSIENT, self.options.secrets['token'].reveal())", TryOutcome.TRANSIENT, "***"),
        ("return Sent(TryOutcome.ACCEPTED, 'x' * 10_000)", TryOutcome.ACCEPTED, "xxx"),
    ],
)
async def test_whatever_a_plugin_does_is_an_outcome(
    bring: Callable[..., Channel], body: str, outcome: TryOutcome, said: str
) -> None:
    sent = await bring(body).send(letter())
    assert sent.outcome is outcome
    assert said in sent.answer
    assert SECRET not in sent.answer
    assert len(sent.answer) <= ANSWER_CHARACTERS_MAX


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "onw"}, "no channel `onw`; did you mean `own`"),
        ({"kind": "gone"}, "`gone` can't be imported: ModuleNotFoundError"),
        ({"at": "missing"}, "`own` can't be imported: AttributeError"),
        ({"at": "raises"}, "`own` can't be made: RuntimeError: no ***"),
        ({"at": "nothing"}, "`own` is no channel: it has no `async def send`"),
    ],
)
async def test_a_plugin_that_can_not_be_used_says_why_at_each_try(
    bring: Callable[..., Channel], given: dict[str, str], said: str
) -> None:
    channel = bring(**given)
    for _ in range(2):
        sent = await channel.send(letter())
        assert sent.outcome is TryOutcome.PERMANENT
        assert said in sent.answer
    await channel.close()


@pytest.mark.parametrize(("closing", "told"), [("raise RuntimeError('no')", ["RuntimeError"]), ("pass", [])])
async def test_a_plugin_is_closed_whatever_it_says_to_that(
    bring: Callable[..., Channel], closing: str, told: list[str]
) -> None:
    channel = bring(closing=closing)
    with capture_logs() as logged:
        await channel.close()
    assert [each["error"] for each in logged] == told


async def test_a_cancelled_try_is_no_outcome(bring: Callable[..., Channel]) -> None:
    trying = asyncio.create_task(bring("await asyncio.Event().wait()").send(letter()))
    await asyncio.sleep(0)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying


async def test_a_plugin_whose_secret_is_not_there_works_from_when_it_is(bring: Callable[..., Channel]) -> None:
    bring("return Sent(TryOutcome.ACCEPTED)")
    secrets = MemorySecrets()
    plugin = pb.PluginChannel(kind="own", options={"token": "env://LATER"})
    channel = build_channel(pb.NotificationChannel(plugin=plugin), secrets, OutgoingAddresses())
    before = await channel.send(letter())
    secrets.put("LATER", SECRET)
    after = await channel.send(letter())
    await channel.close()
    assert (before.outcome, "env://LATER" in before.answer) == (TryOutcome.TRANSIENT, True)
    assert after.outcome is TryOutcome.ACCEPTED


async def test_a_channel_of_a_kind_that_is_not_known_may_be_known_to_another_dispatcher() -> None:
    declared = pb.NotificationChannel(name="environments/e/notificationChannels/c")
    sent = await build_channel(declared, MemorySecrets(), OutgoingAddresses()).send(letter())
    assert (sent.outcome, declared.name in sent.answer) == (TryOutcome.TRANSIENT, True)
