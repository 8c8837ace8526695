"""The main job beside datatrove's FineWeb recipe, on the same WARC files, in one run on one machine.

usage: python benchmarks/end_to_end.py --crawl DIR [--rounds 3] [--workers 1 2] [--executors local ray]
           [--peer-python PYTHON --peer-recipe SCRIPT --peer-model lid.176.ftz] [--json]

Ours runs ``manifests/wanjuan.yaml`` whole: URL lists, extraction, language, line editing, all signals, rules, exact and
near deduplication with verification, safety, PII, quality, rank cut, shards. The peer's recipe has no safety and no
quality stage. CPU seconds are those of the whole process tree (children of children too, start-up included), sampled
from the operating system ten times a second; pages are the HTML pages of the crawl. Rounds alternate between systems,
and medians are printed, because the machine is noisy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
SAMPLE_EVERY_S = 0.1


def measured(command: list[str]) -> tuple[float, float, str]:
    """Run a command; returns wall seconds, CPU seconds of its whole process tree, and its standard output."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        process = psutil.Popen(command, cwd=ROOT, stdout=said, stderr=errors)
        used: dict[tuple[int, float], float] = {}
        while process.poll() is None:
            _sample(process, used)
            time.sleep(SAMPLE_EVERY_S)
        wall = time.perf_counter() - began
        said.seek(0)
        text = said.read()
        errors.seek(0)
        complaint = errors.read()[-2000:]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}\n{text[-2000:]}{complaint}")
    return wall, sum(used.values()), text


def _sample(process: psutil.Process, used: dict[tuple[int, float], float]) -> None:
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return
    for member in family:
        try:
            times = member.cpu_times()
            used[member.pid, member.create_time()] = times.user + times.system
        except psutil.Error:  # it ended between the listing and the question
            continue


def ours(crawl: Path, executor: str, workers: int) -> dict[str, Any]:
    """One run of the main manifest into an empty folder."""
    out = Path(tempfile.mkdtemp(prefix="bench-"))
    settings = (f"source.paths=['{crawl}/*.warc.gz']", f"output.path={out}")
    settings = (*settings, f"executor.kind={executor}", f"executor.workers={workers}", "executor.dashboard=false")
    command = [sys.executable, "-m", "pipeline.cli", "run", "manifests/wanjuan.yaml", "--json"]
    try:
        wall, cpu, said = measured(command + [part for setting in settings for part in ("--set", setting)])
        result = json.loads(said.strip().splitlines()[-1])
        stages: dict[str, float] = {}
        for record in out.glob(".work/*/*/seconds.json"):
            seconds = json.loads(record.read_text())
            stages["other"] = stages.get("other", 0.0) + seconds.pop("total") - sum(seconds.values())
            for stage, took in seconds.items():
                stages[stage] = stages.get(stage, 0.0) + took
    finally:
        shutil.rmtree(out, ignore_errors=True)
    ledger = result["ledger"]
    pages = ledger["read"] - ledger["rejected"].get("record/not_response@1", 0)
    return {
        "system": f"ours, {executor}, {workers} workers",
        **_rates(pages, wall, cpu),
        "kept": ledger["kept"],
        "digest": result["digest"],
        "stages": stages,
        "ledger": ledger,
    }


def peer(arguments: argparse.Namespace, workers: int) -> dict[str, Any]:
    """One run of the peer's recipe."""
    out = Path(tempfile.mkdtemp(prefix="bench-peer-"))
    command = [arguments.peer_python, arguments.peer_recipe, str(arguments.crawl), str(out), arguments.peer_model]
    try:
        wall, cpu, said = measured([*command, str(workers)])
    finally:
        shutil.rmtree(out, ignore_errors=True)
    result = json.loads(said.strip().splitlines()[-1])
    return {"system": f"datatrove, {workers} workers", **_rates(result["read"], wall, cpu), "kept": result["kept"]}


def _rates(pages: int, wall: float, cpu: float) -> dict[str, Any]:
    return {"pages": pages, "wall_s": wall, "cpu_s": cpu, "pages_per_s": pages / wall, "pages_per_core_s": pages / cpu}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median CPU time, with the spread of all."""
    runs = sorted(runs, key=lambda run: run["cpu_s"])
    chosen = dict(runs[len(runs) // 2])
    chosen["rounds"] = len(runs)
    chosen["wall_s"] = statistics.median(run["wall_s"] for run in runs)
    chosen["pages_per_s"] = chosen["pages"] / chosen["wall_s"]
    chosen["pages_per_core_s_all"] = [round(run["pages_per_core_s"], 1) for run in runs]
    return chosen


def main() -> None:
    """Run all systems in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crawl", type=lambda text: Path(text).absolute(), required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--executors", nargs="+", default=["local"])
    parser.add_argument("--peer-python")
    parser.add_argument("--peer-recipe")
    parser.add_argument("--peer-model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {}
    for number in range(arguments.rounds):
        for executor in arguments.executors:
            for workers in arguments.workers:
                run = ours(arguments.crawl, executor, workers)
                runs.setdefault(run["system"], []).append(run)
        if arguments.peer_python and number < arguments.peer_rounds:
            run = peer(arguments, 1)
            runs.setdefault(run["system"], []).append(run)
    found = [median(group) for group in runs.values()]
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    print("| system | pages/s | pages/s/core | wall s | CPU s | kept |\n|---|---|---|---|---|---|")
    for run in found:
        rates = " | ".join(f"{run[key]:.1f}" for key in ("pages_per_s", "pages_per_core_s", "wall_s", "cpu_s"))
        print(f"| {run['system']} | {rates} | {run['kept']} |")
    shares = found[0]["stages"]
    print("\n| stage | share |\n|---|---|")
    for stage, seconds in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"| {stage} | {seconds / sum(shares.values()):.1%} |")
    print("\n" + json.dumps(found[0]["ledger"], indent=1))


if __name__ == "__main__":
    main()
