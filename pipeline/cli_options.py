"""Arguments and exit codes that the commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ManifestPath = Annotated[Path, typer.Argument(metavar="MANIFEST", help="YAML file that describes the run.")]
Output = Annotated[
    str, typer.Argument(metavar="OUTPUT", help="Folder (or URL) of a corpus: the manifest's output.path.")
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a manifest value, e.g. executor.kind=local.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")]

FAILED, WRONG, NOTHING, INTERRUPTED = 1, 2, 3, 130
