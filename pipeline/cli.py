"""The command line: ``pipeline run | validate | status | explain | search | whatif | verify | report | ...``.

Exit codes: 0 done; 1 the run or check failed; 2 the command or the manifest is wrong; 3 nothing found; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from corpus.errors import CorpusError, ManifestError, StorageError
from pipeline import cli_inspect
from pipeline.cli_options import FAILED, INTERRUPTED, WRONG, Json, ManifestPath, Overrides

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    help="Turn web crawls into training corpora, with nothing lost and every decision on record.",
)
app.add_typer(cli_inspect.app)


@app.command()
def run(manifest: ManifestPath, overrides: Overrides = [], as_json: Json = False) -> None:  # noqa: B006
    """Run a manifest to a published corpus, or go on where an earlier run stopped; or train the model it describes."""
    from pipeline import console
    from pipeline.manifest import Manifest, load_manifest
    from pipeline.report import write_report
    from pipeline.run import run as run_manifest
    from pipeline.status import StatusFile
    from pipeline.task import Place
    from pipeline.tokenize import load_tokenize, tokenize
    from pipeline.tokenize_card import write_token_card
    from pipeline.training import load_recipe, train

    recipe = load_recipe(manifest, overrides)
    if recipe is not None:
        trained = train(recipe, lambda line: console.err.print(console.safe(line)))
        if as_json:
            typer.echo(trained.to_json())
        else:
            console.print_rows([("model", trained.model), ("sha256", trained.sha256)])
            console.print_rows([(name, f"{value:.4f}") for name, value in trained.metrics.items()])
        return
    loaded = load_tokenize(manifest, overrides) or load_manifest(manifest, overrides)
    bars = console.BarProgress() if console.is_terminal() and not as_json else None
    seconds = console.Seconds()
    place = Place(loaded.output.path, loaded.output.storage_options)
    status = StatusFile(place.open())
    try:
        watchers = console.Watchers(bars or console.PlainProgress(), seconds, status)
        result = run_manifest(loaded, watchers) if isinstance(loaded, Manifest) else tokenize(loaded, watchers)
    except KeyboardInterrupt:
        console.err.print("interrupted; run the same command again to go on")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if bars is not None:
            bars.close()
    (write_report if isinstance(loaded, Manifest) else write_token_card)(place.open(), result.manifest)
    if as_json:
        typer.echo(result.to_json())
    else:
        console.print_result(result, seconds)


@app.command()
def validate(manifest: ManifestPath, overrides: Overrides = [], as_json: Json = False) -> None:  # noqa: B006
    """Check a manifest and its inputs without doing any work; show the plan."""
    from pipeline import console
    from pipeline.chain import open_chain
    from pipeline.harvest.run import check_harvest
    from pipeline.manifest import load_manifest
    from pipeline.notes import notes
    from pipeline.plan import check_columns, make_plan
    from pipeline.tokenize import load_tokenize, planned_rows
    from pipeline.training import check_recipe, load_recipe
    from stages.read import plan_units

    recipe, tokens = load_recipe(manifest, overrides), load_tokenize(manifest, overrides)
    if recipe is not None or tokens is not None:
        facts = check_recipe(recipe) if recipe is not None else planned_rows(tokens) if tokens is not None else {}
        typer.echo(json.dumps({"valid": True, **facts})) if as_json else console.print_rows(list(facts.items()))
        return
    loaded = load_manifest(manifest, overrides)
    check_columns(loaded)
    open_chain([stage for stage in loaded.stages if stage.scope == "batch"])  # lists and models are there and sound
    if loaded.harvest is not None:
        check_harvest(loaded.harvest)
    plan = make_plan(loaded, plan_units(loaded.source))
    phases = [(segment.phase, [stage.kind for stage in segment.stages]) for segment in plan.segments]
    if as_json:
        units = [{"path": unit.path, "start": unit.start, "end": unit.end} for unit in plan.units]
        typer.echo(json.dumps({"valid": True, "run_id": plan.run_id, "units": units, "phases": dict(phases)}))
        return
    console.print_rows([("run", plan.run_id), ("units", len(plan.units)), *((p, ", ".join(k)) for p, k in phases)])
    for line in notes(loaded):
        console.out.print(console.safe(line))


@app.command()
def export(
    tokens: Annotated[str, typer.Argument(metavar="TOKENS", help="Folder (or URL) of a token corpus.")],
    form: Annotated[str, typer.Argument(metavar="FORM", help="mds, litdata, datatrove or huggingface.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write; must not exist, or be empty.")],
    split: Annotated[str, typer.Option(help="train or held_out.")] = "train",
    as_json: Json = False,
) -> None:
    """Write a token corpus in the format of another loader."""
    from training.data.source import open_tokens
    from training.export import EXPORTERS

    if form not in EXPORTERS:
        raise ManifestError(f"no form {form!r}", fix=f"one of: {', '.join(EXPORTERS)}")
    corpus = open_tokens(tokens, split)
    EXPORTERS[form](corpus, folder)
    rows = sum(domain.rows for domain in corpus.domains.values())
    typer.echo(json.dumps({"folder": str(folder), "rows": rows}) if as_json else f"{rows} rows in {folder}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of manifests, for editors."""
    from pipeline.manifest import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, sort_keys=True))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the WARC files.")],
    pages: Annotated[int, typer.Option(help="How many pages, about.")] = 3000,
    as_json: Json = False,
) -> None:
    """Write a small made-up crawl to try things on (deterministic; nothing is downloaded)."""
    from pipeline.sample import generate

    truth = generate(folder, pages=pages)
    typer.echo(
        json.dumps({"folder": str(folder), "records": truth.read}) if as_json else f"{truth.read} records in {folder}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors of the user's making become messages and exit codes; others keep their traceback."""
    from pipeline import console

    try:
        app(arguments)
    except ManifestError as error:
        console.print_error(error)
        sys.exit(WRONG)
    except CorpusError as error:
        console.print_error(error)
        sys.exit(FAILED)
    except OSError as error:
        fix = "check the path, the rights on it and the room on the disk, then run the same command again"
        console.print_error(StorageError(str(error), fix=fix))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
