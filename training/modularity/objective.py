"""The loss that a model was pre-trained with, on given sequences: what a perturbation does is measured in it.

A decoder predicts the next token, an encoder the 15 % of tokens that are masked, an encoder-decoder the second half of
a sequence from the first (its own objective masks spans; halves need no knowledge of its special tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor

from corpus.errors import ModelError
from training.data.batches import IGNORE
from training.data.tokenizer import open_tokenizer
from training.modularity.anatomy import Opened
from training.modularity.record import Ids, Padded, batches

MASKED = 0.15
MASK_TOKENS = ("[MASK]", "<mask>")


def mask_token(folder: Path, kind: str) -> int | None:
    """Id of the token that stands for a hidden one; None where the model hides none. Raises ``ModelError``."""
    if kind != "encoder":
        return None
    encoder = open_tokenizer(folder).encoder
    found = next((number for name in MASK_TOKENS if (number := encoder.token_to_id(name)) is not None), None)
    if found is None:
        fix = "an encoder's loss is over masked tokens; leave the perturbation out"
        raise ModelError(f"the tokenizer has no mask token ({', '.join(MASK_TOKENS)})", where=str(folder), fix=fix)
    return found


class Objective:
    """The loss of an opened model with its output layer."""

    def __init__(self, opened: Opened, mask: int | None, *, batch: int) -> None:
        self.opened, self._mask, self._batch = opened, mask, batch
        self.padding: Tensor | None = None
        """Of the batch that is being computed, as the layers with the neurons see it: True where there is a token."""

    @torch.no_grad()
    def loss(self, sequences: Sequence[Ids]) -> float:
        """Nats per predicted token. The same tokens are masked at each call."""
        generator = torch.Generator().manual_seed(len(sequences))
        summed, count = 0.0, 0
        for part in batches(sequences, self._batch, self.opened):
            if part.ids.shape[1] < 2:
                continue  # nothing to predict
            logits, labels = self._run(part, generator)
            summed += float(
                F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum")
            )
            count += int((labels != IGNORE).sum())
        return summed / max(count, 1)

    def _run(self, part: Padded, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        model, (_, ids, mask) = self.opened.model, part
        self.padding = mask
        if self.opened.kind == "encoder-decoder":
            half = ids.shape[1] // 2
            self.padding = mask[:, :half]
            labels = ids[:, half:].masked_fill(~mask[:, half:], IGNORE)
            found = model(input_ids=ids[:, :half], attention_mask=self.padding, labels=labels)
            return found.logits, labels
        if self.opened.kind == "decoder":
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
            return logits, ids[:, 1:].masked_fill(~mask[:, 1:], IGNORE)
        assert self._mask is not None
        hidden = (torch.rand(ids.shape, generator=generator) < MASKED).to(ids.device) & mask
        logits = model(input_ids=ids.masked_fill(hidden, self._mask), attention_mask=mask).logits
        return logits, ids.masked_fill(~hidden, IGNORE)
