"""Channels of other packages, found by their entry points, and held to what a channel promises: a try ends in time, and with an outcome."""

import asyncio
import inspect
from collections.abc import Callable
from importlib.metadata import entry_points

import structlog

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.channel import Channel, ChannelOptions, ChannelPlugin, Letter, Sent

log = structlog.get_logger(__name__)
ENTRY_POINTS = "pymigrate.channels"
CLOSE_SECONDS_MAX = 5.0


class PluginChannelGuard:
    """Another package's channel: what it raises becomes an outcome that names it, and it is not waited for beyond a try's limit."""

    def __init__(self, kind: str, channel: Channel, options: ChannelOptions) -> None:
        self._kind = kind
        self._channel = channel
        self._answers = Answers(options.secrets.values())
        self._try_seconds_max = options.try_seconds_max

    async def send(self, letter: Letter) -> Sent:
        """Tries once. What the network does to a plugin leaves open whether it was sent; any other error is the plugin's own."""
        try:
            async with asyncio.timeout(self._try_seconds_max):
                sent: object = await self._channel.send(letter)
        except TimeoutError:
            said = f"the channel `{self._kind}` did not answer within {self._try_seconds_max:g} s"
            return Sent(TryOutcome.UNKNOWN, said)
        except OSError as error:
            return Sent(TryOutcome.UNKNOWN, self._failed(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever another package raises is told)
            return Sent(TryOutcome.PERMANENT, self._failed(error))
        if not isinstance(sent, Sent):
            said = f"the channel `{self._kind}` answered with {type(sent).__name__} instead of Sent"
            return Sent(TryOutcome.PERMANENT, said)
        return Sent(sent.outcome, self._answers.said(sent.answer), sent.retry_after_seconds, sent.is_delivered)

    async def close(self) -> None:
        """Ends what the plugin has open, as far as it does so."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self._channel.close()
        except Exception as error:  # noqa: BLE001 (the channel is given up, whatever it says to that)
            log.warning("channel.not_closed", kind=self._kind, error=type(error).__name__)

    def _failed(self, error: BaseException) -> str:
        return self._answers.said(f"the channel `{self._kind}` failed: {type(error).__name__}: {error}")


def plugin_channel(kind: str, options: ChannelOptions) -> Channel:
    """The channel that an entry point brings. Raises InvalidDefinition, which names the plugin and what is wrong with it."""
    make = _found(kind)
    try:
        channel = make(options)
    except InvalidDefinition:
        raise
    except Exception as error:  # noqa: BLE001 (its cause may hold a secret of the options)
        said = f"`{kind}` can't be made: {type(error).__name__}: {error}"
        raise InvalidDefinition((Problem("plugin.kind", Answers(options.secrets.values()).said(said)),)) from None
    missing = [name for name in ("send", "close") if not inspect.iscoroutinefunction(getattr(channel, name, None))]
    if missing:
        raise InvalidDefinition(
            (Problem("plugin.kind", f"`{kind}` is no channel: it has no `async def {missing[0]}`"),)
        )
    return PluginChannelGuard(kind, channel, options)


def _found(kind: str) -> Callable[[ChannelOptions], Channel]:
    known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if kind not in known:
        said = f"the dispatcher has no channel `{kind}`{nearest(kind, known)}: install the package that brings it there"
        raise InvalidDefinition((Problem("plugin.kind", said),))
    try:
        make: ChannelPlugin = known[kind].load()
    except Exception as error:
        said = f"`{kind}` can't be imported: {type(error).__name__}: {error}"
        raise InvalidDefinition((Problem("plugin.kind", said),)) from error
    return make
