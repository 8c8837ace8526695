"""Training one fastText classifier, in a process of its own: ``python -m quality_models.fit SETTINGS.json``.

Why a child process: the training of fastText 0.9.2 now and then stops with "Encountered NaN", for it reads memory
that it has not set. With ``MALLOC_PERTURB_`` in the environment from the start, and one thread, it never did, and the
same input gives the same bytes. An environment variable of the C library can only be set before a process begins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from corpus.errors import ModelError
from quality_models.recipe import FastText


def fit(lines: Path, weights: Path, settings: FastText) -> None:
    """Train on a fastText file (``__label__x tokens``) and write a quantised model. About a minute."""
    job = lines.with_suffix(".job.json")
    job.write_text(json.dumps({"lines": str(lines), "weights": str(weights), "settings": settings.model_dump()}))
    environment = {**os.environ, "MALLOC_PERTURB_": "255", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "quality_models.fit", str(job)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    job.unlink()
    if done.returncode:
        raise ModelError(
            f"training failed: {done.stderr.strip()[-500:]}", where=str(lines), fix="see the message of fastText above"
        )


def _train_here(job: Path) -> None:
    import fasttext

    task = json.loads(job.read_text())
    settings = FastText.model_validate(task["settings"])
    model = fasttext.train_supervised(
        input=task["lines"],
        dim=settings.dim,
        lr=settings.lr,
        epoch=settings.epoch,
        wordNgrams=settings.ngrams,
        minCount=settings.min_count,
        bucket=settings.bucket,
        loss="softmax",
        thread=1,
        seed=settings.seed,
        verbose=0,
    )
    if settings.features:
        model.quantize(
            input=task["lines"], cutoff=settings.features, retrain=True, qnorm=True, dsub=settings.dsub,
            epoch=1, lr=settings.lr / 5, thread=1, verbose=0,
        )  # fmt: skip
    model.save_model(task["weights"])


if __name__ == "__main__":
    _train_here(Path(sys.argv[1]))
