"""The reference of kube_operator.py: a controller of Runs on kopf that gives each its first condition and does nothing else.

Level-triggered by `on.event`, which is the fastest way that kopf has: no finalizer, no annotation, one write.
"""

import asyncio
import logging
import sys
from typing import Any

import kopf

GROUP, VERSION, PLURAL = "pymigrate.io", "v1alpha1", "runs"
SERVER_SECONDS = 300
REQUEST_SECONDS = 30
BATCH_SECONDS = 0.01


@kopf.on.startup()
async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """As is advised for many objects: no peering, no scanning, no posting of events, short batches."""
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.batching.worker_limit = None
    settings.batching.batch_window = BATCH_SECONDS
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.watching.server_timeout = SERVER_SECONDS


@kopf.on.event(GROUP, VERSION, PLURAL)
async def observed(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
    """One write for each generation."""
    generation = body["metadata"]["generation"]
    if body.get("status", {}).get("observedGeneration") == generation or "deletionTimestamp" in body["metadata"]:
        return
    patch.status["observedGeneration"] = generation
    patch.status["conditions"] = [
        {"type": "Reconciling", "status": "True", "reason": "Observed", "observedGeneration": generation}
    ]


def main(namespace: str) -> None:
    """Runs until it is told to end. KUBECONFIG names the cluster."""
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(kopf.operator(namespaces=[namespace], standalone=True))


if __name__ == "__main__":
    main(sys.argv[1])
