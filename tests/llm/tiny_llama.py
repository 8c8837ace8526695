"""Makes a tiny language model with random weights: run by the interpreter that has torch and transformers.

    python tiny_llama.py FOLDER

A LlamaForCausalLM of half a million parameters (heads of 64: the least that vLLM's CPU kernels take), a BPE tokenizer
trained on a few sentences, and a chat template. What it says is noise; the servers and clients around it are real.
"""

from __future__ import annotations

import sys
from pathlib import Path

SENTENCES = [
    "The heart pumps blood through the arteries and the veins of the body.",
    "A contract is an agreement that a court will enforce between two parties.",
    "The compiler translates source code into instructions for the machine.",
    "Which cells carry oxygen, and how does a court decide what a contract means?",
    '{"questions": ["What is a cell?", "How does a court decide?"]} yes no 0 1 2 3 4 5 6 7 8 9',
]
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def main(folder: Path) -> None:
    """Write the model into ``folder``."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES * 20, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
