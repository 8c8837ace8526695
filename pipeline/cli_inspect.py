"""Commands that look at what a run has left: status, explain, search, whatif, verify, report, models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli_options import FAILED, NOTHING, Json, Output

app = typer.Typer()


@app.command()
def status(output: Output, as_json: Json = False) -> None:
    """What a run is doing, or where it stopped; of a training, how far each phase is."""
    from corpus.storage import open_store
    from pipeline import console
    from pipeline.phase_logs import is_training, progress, progress_line
    from pipeline.status import read_status

    if is_training(Path(output)):
        phases = progress(Path(output))
        if as_json:
            typer.echo(json.dumps({"output": output, "phases": phases}))
        else:
            console.print_rows([(phase["phase"], progress_line(phase)) for phase in phases])
        return
    found = read_status(open_store(output))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        rows: list[tuple[str, Any]] = [(key, found.get(key)) for key in ("output", "state", "run_id", "executor")]
        for phase, state in found.get("phases", {}).items():
            rows.append((phase, f"{state['done']}/{state['total']} tasks, {state['resumed']} from before"))
        rows += [("trouble", line) for line in found.get("trouble", [])]
        if found["published"]:
            rows.append(("published", found["published"]["digest"]))
        console.print_rows(rows)
    if found["state"] == "empty":
        raise typer.Exit(NOTHING)


@app.command()
def explain(
    output: Output,
    document: Annotated[str, typer.Argument(metavar="URL-OR-ID", help="A document's URL or id.")],
    as_json: Json = False,
) -> None:
    """Show everything that was decided about a document, and why; in a token corpus, the rows that hold it."""
    from corpus.storage import open_store
    from pipeline.explain import explain_document, print_explanation, published
    from pipeline.tokenize_explain import find_rows, print_rows_of

    store = open_store(output)
    manifest = published(store)
    tokens = "tokens" in manifest.files
    found = find_rows(store, manifest, document) if tokens else explain_document(store, document)
    if as_json:
        typer.echo(json.dumps({"documents": found}, default=str))
    else:
        for entry in found:
            print_rows_of(document, entry) if tokens else print_explanation(entry)
    if not found:
        raise typer.Exit(NOTHING)


@app.command()
def search(
    index: Annotated[
        str, typer.Argument(metavar="INDEX", help="Folder (or URL) of an index: OUTPUT/index of a harvest.")
    ],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many documents.")] = 10,
    as_json: Json = False,
) -> None:
    """Ask the index of a harvest one question and show the passages that answer best."""
    from corpus.storage import open_store
    from pipeline.harvest.ask import print_hits, search_index

    hits = search_index(open_store(index), query, k=k)
    if as_json:
        typer.echo(json.dumps({"hits": hits}))
    else:
        print_hits(hits)
    if not hits:
        raise typer.Exit(NOTHING)


@app.command()
def whatif(
    output: Output,
    change: Annotated[list[str], typer.Option("--rule", metavar="RULE.min=VALUE", help="A bound to change.")] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """What other rule bounds would have kept, from the recorded signals, without running anything again."""
    from corpus.storage import open_store
    from pipeline.whatif import print_whatif, what_if

    found = what_if(open_store(output), change)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        print_whatif(found)


@app.command()
def verify(output: Output, as_json: Json = False) -> None:
    """Check every published file against the manifest: hashes, rows, and the ledger."""
    from corpus.storage import open_store
    from pipeline import console
    from pipeline.verify import verify_corpus

    found = verify_corpus(open_store(output))
    if as_json:
        typer.echo(json.dumps({"sound": not found.faults, **found.__dict__}))
    else:
        console.out.print(f"{found.files} files, {found.rows} rows, {found.bytes / 1e6:.1f} MB, digest {found.digest}")
        for fault in found.faults:
            console.out.print(console.safe(f"fault: {fault}"))
        console.out.print("sound" if not found.faults else "NOT SOUND")
    if found.faults:
        raise typer.Exit(FAILED)


@app.command()
def report(output: Output, as_json: Json = False) -> None:
    """Write the dataset card (README.md) and the report (report.html) of a run anew; of a training the report."""
    from corpus.storage import open_store
    from pipeline.explain import published
    from pipeline.phase_logs import is_training
    from pipeline.report import write_report
    from pipeline.tokenize_card import write_token_card
    from pipeline.training_report import write_training_report

    store = open_store(output)
    if is_training(Path(output)):
        written = [write_training_report(Path(output)).name]
    else:
        manifest = published(store)
        written = (write_token_card if "tokens" in manifest.files else write_report)(store, manifest)
    typer.echo(json.dumps({"output": store.root, "written": written}) if as_json else "\n".join(written))


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show the card of this model.")] = None,
    as_json: Json = False,
) -> None:
    """List the installed scorers, or show the card of one."""
    from pipeline.models import describe_model, list_models, print_card, print_models

    if name is not None:
        info = describe_model(name)
        typer.echo(info.card.model_dump_json()) if as_json else print_card(info)
        return
    found = list_models()
    typer.echo(json.dumps({"models": found})) if as_json else print_models(found)
