"""The process that one candidate is measured in: ``python -m benchmarks.loaders.child ORDER`` (an order is JSON).

The last line of output is the result, as JSON. A candidate whose library is missing answers ``{"skipped": reason}``.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

MARK = "RESULT "
Order = dict[str, Any]


def opened(order: Order) -> tuple[Any, Iterator[Any]]:
    """The stream, from a saved state if the order names one, and its batches."""
    from benchmarks.loaders.stream import open_stream

    stream = open_stream(order["candidate"], spec_of(order))
    if order.get("state"):
        stream.load(pickle.loads(Path(order["state"]).read_bytes()))
    return stream, stream.batches()


def spec_of(order: Order) -> Any:
    from benchmarks.loaders.stream import Spec

    return Spec(**{**order["spec"], "folder": Path(order["spec"]["folder"])})


def digests(batch: Any) -> list[str]:
    """A digest per row of a batch, over inputs and labels."""
    import xxhash

    rows = zip(batch.inputs.numpy(), batch.labels.numpy(), strict=True)
    return [xxhash.xxh3_64_hexdigest(row.tobytes() + labels.tobytes()) for row, labels in rows]


def speed(order: Order) -> Any:
    """Tokens/s and CPU seconds from opening on, over an epoch and at least ``seconds``; the time to the first batch."""
    busy, began = cpu_seconds(), time.perf_counter()
    stream, batches = opened(order)
    tokens, count, first, took = 0, 0, 0.0, 0.0
    while took < order["seconds"] or count < order["epoch"]:
        batch = next(batches, None)
        if batch is None:
            batches = stream.batches()
            continue
        tokens, count = tokens + batch.inputs.numel(), count + 1
        took = time.perf_counter() - began
        first = first or took
    return {"first_s": first, "tokens_per_s": tokens / took, "cpu_s_per_m": (cpu_seconds() - busy) / tokens * 1e6}


def cpu_seconds() -> float:
    """User and system time of this process, its finished children and its living ones."""
    found = os.times()
    ticks = 0
    for process in Path("/proc/self/task").glob("*/children"):
        for child in process.read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return found.user + found.system + found.children_user + found.children_system + ticks / os.sysconf("SC_CLK_TCK")


def depths(order: Order) -> Any:
    """Run through an epoch, saving the state at each of ``depths`` and the digests of the batch that follows it."""
    stream, batches = opened(order)
    following: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    done = 0
    for depth in order["depths"]:
        if any(batch is None for batch in (next(batches, None) for _ in range(depth - done))):
            break
        sizes[str(depth)] = save(stream, Path(order["states"]) / f"{depth}.state")
        after = next(batches, None)
        if after is None:
            break
        following[str(depth)], done = digests(after), depth + 1
    return {"following": following, "state_bytes": sizes}


def save(stream: Any, path: Path) -> int:
    """Write the state in one step; returns its bytes as JSON (or, where it is none, as a pickle)."""
    state = stream.state()
    path.with_suffix(".new").write_bytes(pickle.dumps(state))
    path.with_suffix(".new").replace(path)
    try:
        return len(json.dumps(state))
    except TypeError:
        return path.stat().st_size


def resume(order: Order) -> Any:
    """Seconds from opening to the batch after the saved state, and its digests (none where no batch follows)."""
    began = time.perf_counter()
    _, batches = opened(order)
    batch = next(batches, None)
    return {"seconds": time.perf_counter() - began, "rows": [] if batch is None else digests(batch)}


def run(order: Order) -> Any:
    """The digests of ``steps`` batches; afterwards the state is saved where ``save`` says."""
    stream, batches = opened(order)
    found = [digests(batch) for batch in islice(batches, order["steps"])]
    if order.get("save"):
        save(stream, Path(order["save"]))
    return found


def train(order: Order) -> Any:
    """Log the digests of every batch and save the state after every third, until killed."""
    stream, batches = opened(order)
    with Path(order["log"]).open("a") as log:
        for step, batch in enumerate(batches):
            log.write(json.dumps(digests(batch)) + "\n")
            log.flush()
            if step % 3 == 2:
                save(stream, Path(order["save"]))
                Path(order["save"]).with_suffix(".step").write_text(str(step))
            time.sleep(0.02)


def weigh(order: Order) -> Any:
    """Change the weights to ``new`` from step ``at`` on while running; rows per domain at each step, and digests."""
    from benchmarks.loaders.stream import NotOfferedError

    stream, batches = opened(order)
    domains, rows = [], []
    for step, batch in enumerate(islice(batches, order["steps"])):
        rows.append(digests(batch))
        domains.append([] if batch.domain is None else batch.domain.tolist())
        if step == order["told"]:
            try:
                stream.set_weights(order["new"], order["at"])
            except NotOfferedError as reason:
                return {"no": str(reason)}
            save(stream, Path(order["save"]))
    return {"domains": domains, "rows": rows}


TASKS: dict[str, Callable[[Order], Any]] = {task.__name__: task for task in (speed, depths, resume, run, train, weigh)}


def module_of(candidate: str) -> Any:
    from benchmarks.loaders.stream import import_candidate

    return import_candidate(candidate)


def join(order: Order) -> None:
    """Join the other ranks, as a launcher and a trainer would."""
    world, rank = order["spec"].get("world", 1), order["spec"].get("rank", 0)
    if world > 1:
        import torch.distributed as dist

        dist.init_process_group("gloo", init_method=f"file://{order['meet']}", rank=rank, world_size=world)


def main() -> None:
    """Do what the order says."""
    order: Order = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {order["core"]})
    try:
        join(order)
        module_of(order["candidate"])  # times are those of a process with its libraries imported
        result = TASKS[order["task"]](order)
    except ImportError as error:
        result = {"skipped": f"{error.name or error} is not installed" if error.name else str(error)}
    print(f"\n{MARK}{json.dumps(result)}", flush=True)


if __name__ == "__main__":
    main()
