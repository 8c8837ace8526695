"""Where our own language model servers run: beside the driver, or in Ray actors that hold the GPUs.

With GPUs under Ray each replica is an actor with ``num_gpus``: Ray finds a node that has them and tells the server
through CUDA_VISIBLE_DEVICES which they are. On a cluster a server listens on its node's address, like Ray's own
servers: the network between the nodes must be a private one. A server that dies is started again by its actor, at the
same address.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from corpus.errors import ModelError
from llm.config import Endpoint, Serve
from llm.server import LOOPBACK, VllmServer, endpoint_of, serve

WATCH_S = 2.0


class ServerActor:
    """One server on a node of the cluster. Ray makes it an actor."""

    def __init__(self, config: Serve, command: Sequence[str] | None, *, local: bool) -> None:
        import ray

        host = LOOPBACK if local else ray.util.get_node_ip_address()
        self._server = VllmServer(config, host=host, command=command)

    def start(self) -> str:
        """Start and wait; returns the base address."""
        self._server.start()
        return self._server.url

    def look_after(self) -> None:
        """Start it again if it has died, as often as the configuration allows."""
        if not self._server.alive() and self._server.restarts < self._server.config.restarts:
            self._server.restart()

    def stop(self) -> None:
        """End the server."""
        self._server.stop()


@contextmanager
def served(config: Serve, *, command: Sequence[str] | None = None) -> Iterator[Endpoint]:
    """Run the servers of ``config`` as long as the block lasts. Raises ``ModelError``."""
    import ray

    if config.gpus == 0 or not ray.is_initialized():
        with serve(config, command=command) as endpoint:
            yield endpoint
        return
    _check_gpus(config)
    local = len(ray.nodes()) == 1
    kind = ray.remote(num_cpus=0, num_gpus=config.gpus)(ServerActor)
    actors: list[Any] = [kind.remote(config, command, local=local) for _ in range(config.replicas)]
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(actors, ended), name="server watch", daemon=True)
    try:
        urls = ray.get([actor.start.remote() for actor in actors])
        watch.start()
        yield endpoint_of(config, urls)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, ModelError) else error from None
    finally:
        ended.set()
        if watch.is_alive():
            watch.join()
        ray.get([actor.stop.remote() for actor in actors])
        for actor in actors:
            ray.kill(actor)


def _check_gpus(config: Serve) -> None:
    """Without enough GPUs Ray would wait for them for ever."""
    import ray

    there, wanted = ray.cluster_resources().get("GPU", 0), config.gpus * config.replicas
    if there < wanted:
        raise ModelError(
            f"{config.replicas} replicas with {config.gpus} GPUs each need {wanted} GPUs, the cluster has {there:g}",
            where="harvest.writer.serve",
            fix="lower replicas or gpus; gpus: 0 serves on CPU",
        )


def _watch(actors: Sequence[Any], ended: threading.Event) -> None:
    import ray

    while not ended.wait(WATCH_S):
        for actor in actors:
            try:
                ray.get(actor.look_after.remote())
            except ray.exceptions.RayError:
                continue  # clients see it as unreachable and say so
