"""A connector and a channel of another package that do with their secrets whatever they should not."""

import logging
import os
import sys
import threading
import time
import warnings

from pymigrate.engine.ports.channel import ChannelOptions, Letter, Sent
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target

HANG_SECONDS = 600


class LeakyConnector:
    """Says its secret in the way that the option `how` names."""

    kind = "leaky"

    def open_source(self, system: SystemSpec) -> Source:
        """Never opens anything."""
        value = system.secrets["token"].reveal()
        print(f"printed {value}")  # noqa: T201 (what it is for)
        print(f"printed {value!r}", file=sys.stderr)  # noqa: T201 (what it is for)
        logging.getLogger("leaky").error("logged %s of %r", value, {"token": value})
        warnings.warn(f"warned of {value}", stacklevel=1)
        thread = threading.Thread(target=_fail, args=(value,))
        thread.start()
        thread.join()
        match system.options["how"]:
            case "abort":
                os.abort()
            case "hang":
                time.sleep(HANG_SECONDS)  # noqa: TID251 (a driver that hangs)
        try:
            _fail(value)
        except RuntimeError as error:
            raise ValueError(f"raised {value.encode()!r}") from error
        raise AssertionError

    def open_target(self, system: SystemSpec) -> Target:
        """None."""
        raise NotImplementedError(system.secrets["token"].reveal())


def _fail(value: str) -> None:
    raise RuntimeError(f"failed with {value}")


class LeakyChannel:
    """Raises with its secret."""

    def __init__(self, options: ChannelOptions) -> None:
        self._value = options.secrets["token"].reveal()

    async def send(self, letter: Letter) -> Sent:
        """Never sends anything."""
        print(self._value)  # noqa: T201 (what it is for)
        logging.getLogger("leaky").warning("sends %s with %s", letter.key, self._value)
        raise RuntimeError(f"can't send with {self._value}")

    async def close(self) -> None:
        """Fails, too."""
        raise RuntimeError(self._value)
