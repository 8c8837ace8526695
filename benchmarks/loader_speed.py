"""Loaders side by side: the same mixture of the same tokens, each in a fresh process on one core.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/loader_speed.py --folder FOLDER [--tokens N] [--python PYTHON]

The corpus is generated once per size (``loaders/corpus.py``) and kept in FOLDER. ``--python`` names an interpreter that
has the other libraries (mosaicml-streaming, litdata, datasets, torchdata) beside what the product needs; all candidates
run in it, and those whose library is missing are reported as skipped.

All candidates give batches of int64 tensors, inputs and labels, of ``--batch`` rows; none uses worker processes. Ours
gives document ids as well. Columns:

    tokens/s      from opening on, over an epoch and at least --seconds, on one core (all processes are pinned to it)
    CPU s/M       user and system seconds of all processes per million tokens
    peak MB       largest proportional set size of all processes, libraries included; mapped files count as far as read
    first, s      from opening to the first batch, libraries imported
    resume, s     the same with a state loaded that was saved at 1, 50 and 99 % of an epoch; ``!`` marks a state after
                  which other rows came (or none) than in the run that saved it; ``ended``: the stream did before
    state, B      of the state at 50 %, as JSON

and three checks (``loaders/checks.py``), each decided by doing it. Nothing runs beside a measurement but what watches
it, from another core; files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.loaders.checks import CHECKS, run_checks
from benchmarks.loaders.corpus import WEIGHTS, make_corpus
from benchmarks.loaders.measure import Bench, ChildError
from benchmarks.loaders.stream import CANDIDATES

DEPTHS = (0.01, 0.5, 0.99)
MEASURED = ("tokens_per_s", "cpu_s_per_m", "peak_mb", "first_s")
HEAD = ("loader", "tokens/s", "CPU s/M", "peak MB", "first, s", "resume 1/50/99 %, s", "state, B", *CHECKS)
Row = dict[str, Any]


def measure(bench: Bench, candidate: str, seconds: float, epoch: int) -> Row:
    """One repeat of the speed of one candidate."""
    return dict(bench.ask(candidate, "speed", seconds=seconds, epoch=epoch))


def resumes(bench: Bench, candidate: str, epoch: int, repeats: int) -> Row:
    """Seconds to the batch after a state, at three depths of an epoch of ``epoch`` batches, and whether it is right."""
    steps = [max(1, int(depth * epoch)) for depth in DEPTHS]
    with tempfile.TemporaryDirectory() as place:
        saved = bench.ask(candidate, "depths", depths=steps, states=place)
        found: Row = {"resume": [], "state_bytes": saved["state_bytes"].get(str(steps[1]))}
        for step in steps:
            expected = saved["following"].get(str(step))
            if expected is None:
                found["resume"].append("ended")
                continue
            tries = [bench.ask(candidate, "resume", state=f"{place}/{step}.state") for _ in range(repeats)]
            right = all(one["rows"] == expected for one in tries)
            found["resume"].append(f"{statistics.median(one['seconds'] for one in tries):.2f}{'' if right else '!'}")
    return found


def compare(bench: Bench, wanted: list[str], epoch: int, arguments: argparse.Namespace) -> list[Row]:
    """A row per candidate. Repeats go round all candidates, so that a slow minute of the machine meets them all."""
    rows = {candidate: Row(loader=CANDIDATES[candidate]) for candidate in wanted}
    for candidate, row in rows.items():
        try:
            first = measure(bench, candidate, 1.0, 1)  # kernels are compiled, files are read
            row.update({"skipped": first["skipped"]} if "skipped" in first else {})
        except ChildError as error:
            row["failed"] = str(error)
    alive = [candidate for candidate in wanted if not rows[candidate].keys() & {"skipped", "failed"}]
    rounds = [{c: measure(bench, c, arguments.seconds, epoch) for c in alive} for _ in range(arguments.repeats)]
    for candidate in alive:
        row = rows[candidate]
        row.update({key: statistics.median(found[candidate][key] for found in rounds) for key in MEASURED})
        row["runs"] = [found[candidate]["tokens_per_s"] for found in rounds]
        print(f"{row['loader']}: {row['tokens_per_s'] / 1e6:.1f} M tokens/s", file=sys.stderr, flush=True)
        try:
            row.update(resumes(bench, candidate, epoch, arguments.repeats))
        except ChildError as error:
            row.update(resume=[str(error)], state_bytes=None)
        row["checks"] = run_checks(bench, candidate)
    return list(rows.values())


def table(rows: list[Row]) -> str:
    """The table, and below it what else the checks found."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    notes = []
    for row in rows:
        if "checks" not in row:
            lines.append(f"| {row['loader']} | {row.get('skipped') or row.get('failed')} |" + " |" * (len(HEAD) - 2))
            continue
        cells = [f"{row['tokens_per_s'] / 1e6:.2f} M", f"{row['cpu_s_per_m']:.3f}", f"{row['peak_mb']:.0f}"]
        cells += [f"{row['first_s']:.2f}", " / ".join(row["resume"]), f"{row['state_bytes'] or '-'}"]
        cells += [answer.partition(":")[0] for answer in row["checks"].values()]
        lines.append(f"| {row['loader']} | {' | '.join(cells)} |")
        notes += [f"- {row['loader']}, {what}: {text}" for what, text in row["checks"].items() if ":" in text]
    return "\n".join([*lines, "", *notes])


def main() -> None:
    """Make the corpus, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where corpora are kept")
    parser.add_argument("--tokens", type=int, default=50_000_000, help="size of the corpus, roughly")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a measurement of speed, at least")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the other libraries")
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    folder = make_corpus(arguments.folder.absolute(), arguments.tokens, arguments.length, arguments.seed)
    tokens = sum(json.loads((folder / "done.json").read_text()).values()) // 4
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[:-1]))
    bench = Bench(arguments.python, cores[-1], folder, WEIGHTS, arguments.batch, arguments.length)
    rows = compare(bench, arguments.only, tokens // arguments.length // arguments.batch, arguments)
    print(f"{tokens:,} tokens, rows of {arguments.length}, batches of {arguments.batch}, one core\n\n{table(rows)}")
    if arguments.json:
        print(json.dumps({"tokens": tokens, "rows": rows}))


if __name__ == "__main__":
    main()
