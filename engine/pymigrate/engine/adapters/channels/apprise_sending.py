"""What is done in Apprise's own process: each line asks for one message to be sent, and is answered by a line when it was.

Messages are sent side by side, each on a thread of its own. Nothing is kept on disk, redirects are not followed, and the process is held to
the addresses that may be connected to.
"""

import contextvars
import json
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from apprise import Apprise, AppriseAsset, AppriseResultStatus, NotifyFormat

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.outgoing_guard import guard_process, refusals

READY = b"ready\n"
THREADS_MAX = 32
SAID_CHARACTERS_MAX = 2_000


class AppriseSending:
    """Sends as the lines say. The first line is a list of what is allowed besides the public internet."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers = answers
        self._writing = threading.Lock()
        self._asset = AppriseAsset(
            app_id="PyMigrate",
            app_desc="PyMigrate",
            image_url_mask="",
            async_mode=False,
            http_redirects=False,
            pgp_autogen=False,
            pem_autogen=False,
            storage_mode="memory",
            service_timeout=0,
        )

    def run(self, questions: IO[bytes]) -> None:
        """Answers until there are no more lines; then the process ends, whatever is still being sent."""
        allowed = json.loads(questions.readline() or b"[]")
        # Its plugins are loaded before the guard holds: some look for programs of the machine.
        Apprise(asset=self._asset).add("json://localhost")
        guard_process(OutgoingAddresses(allowed))
        self._write(READY)
        with ThreadPoolExecutor(THREADS_MAX, "sending") as threads:
            for line in questions:
                threads.submit(contextvars.Context().run, self._answer, json.loads(line))
            os._exit(0)

    def _answer(self, question: Mapping[str, Any]) -> None:
        refused: list[str] = []
        refusals.set(refused)
        try:
            answer = self._sent(question)
        except Exception as error:  # noqa: BLE001 (whatever a plugin of Apprise's raises is told)
            answer = {"is_sent": False, "said": f"{type(error).__name__}: {error}"}
        if refused and not answer["is_sent"]:
            answer |= {"is_refused": True, "said": refused[0]}
        answer["said"] = answer["said"][:SAID_CHARACTERS_MAX]
        self._write(json.dumps({"id": question["id"], **answer}).encode() + b"\n")

    def _sent(self, question: Mapping[str, Any]) -> dict[str, Any]:
        service = Apprise.instantiate(question["url"], asset=self._asset)
        if service is None:
            return {
                "is_sent": False,
                "is_refused": True,
                "said": "Apprise does not take the URL: compare it with its documentation",
            }
        sender = Apprise(asset=self._asset)
        sender.add(service)
        result = sender.notify(body=question["body"], title=question["title"], body_format=NotifyFormat.TEXT)
        attempts = [attempt for each in result for attempt in each.attempts]
        said = " ".join(str(entry.message) for attempt in attempts for entry in attempt.logs)
        is_sent = bool(attempts) and attempts[-1].status == AppriseResultStatus.SUCCESS
        return {"is_sent": is_sent, "said": said}

    def _write(self, line: bytes) -> None:
        with self._writing:
            self._answers.write(line)
            self._answers.flush()
