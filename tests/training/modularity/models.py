"""Tiny random models of every family, saved as their users would, and small recipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from training.modularity.recipe import ModularityRecipe
from training.ranks import Ranks

VOCAB = 300
WORDS = ["<pad>", "</s>", "[MASK]", *(f"w{number}" for number in range(VOCAB - 3))]
_PLAIN = {"vocab_size": VOCAB, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
_COMMON = {
    **_PLAIN,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
_T5 = {**_PLAIN, "d_model": 16, "d_ff": 24, "num_layers": 2, "num_heads": 2, "d_kv": 8, "decoder_start_token_id": 0}
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", _COMMON),
    "arcee": ("ArceeConfig", "ArceeForCausalLM", {**_COMMON, "hidden_act": "relu"}),
    "gpt2": (
        "GPT2Config",
        "GPT2LMHeadModel",
        {**_PLAIN, "n_embd": 16, "n_inner": 24, "n_layer": 2, "n_head": 2, "n_positions": 64},
    ),
    "bert": ("BertConfig", "BertForMaskedLM", _COMMON),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", {**_COMMON, "max_position_embeddings": 65}),
    "t5": ("T5Config", "T5ForConditionalGeneration", _T5),
    "gated t5": ("T5Config", "T5ForConditionalGeneration", {**_T5, "feed_forward_proj": "gated-gelu"}),
}


def save(folder: Path, family: str, seed: int = 0) -> Path:
    """A model with its output layer and a tokenizer of whole words; weights large enough to tell neurons apart."""
    config, model, settings = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = getattr(transformers, model)(getattr(transformers, config)(**settings))
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0.0, 0.3)
    made.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Words ``w0`` to ``w296``; a text ends with ``</s>``."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    """RECIPE (a file): run it in a process that may be killed."""
    recipe = ModularityRecipe.model_validate_json(Path(sys.argv[1]).read_text())
    recipe.run(Ranks.current(), lambda line: None)


if __name__ == "__main__":
    main()
