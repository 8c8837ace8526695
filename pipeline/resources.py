"""What stages are handed when they open: models by name, and local copies of files that the manifest names."""

from __future__ import annotations

from pathlib import Path

from corpus.errors import SourceError
from stages.stage import Scorer


class LocalResources:
    """The resources of one worker process."""

    def scorer(self, model: str) -> Scorer:
        from quality_models.registry import load_scorer

        return load_scorer(model)

    def local_path(self, location: str) -> Path:
        if "://" not in location:
            path = Path(location)
            if not path.is_file():
                raise SourceError(f"there is no file {location}", fix="paths are relative to where the run is started")
            return path
        import fsspec

        # fsspec's file cache names copies by a hash of the URL and checks them against the remote file
        protocol = location.split("://", 1)[0]
        with fsspec.open(f"filecache::{location}", filecache={"check_files": True}, **{protocol: {}}) as file:
            return Path(file.name)
