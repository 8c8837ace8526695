"""Where a Hugging Face model keeps its neurons: the two matrices of every feed-forward, found by structure.

A neuron is one input of the second matrix: ``act(w x)`` in a plain feed-forward, ``act(g x) * (u x)`` in a gated one.
Only local folders of safetensors and JSON are opened, with the classes of the installed library, never with code of the
folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from corpus.errors import ModelError
from training.model_folder import CONFIG, model_digest

Kind = Literal["decoder", "encoder", "encoder-decoder"]
PAIRS = (
    ("down_proj", ("gate_proj", "up_proj")),  # LLaMA and most of today's decoders; Arcee
    ("fc2", ("fc1",)),  # OPT, BART, Phi
    ("c_proj", ("c_fc",)),  # GPT-2
    ("wo", ("wi_0", "wi")),  # T5
    ("output.dense", ("intermediate.dense",)),  # BERT, RoBERTa, ELECTRA
    ("lin2", ("lin1",)),  # DistilBERT
    ("dense_4h_to_h", ("dense_h_to_4h",)),  # GPT-NeoX, BLOOM, Falcon
    ("fc_out", ("fc_in",)),  # GPT-J
)
"""Name of the second matrix, and beside it the first: of a gated feed-forward the one that is activated."""
_AGAIN = "name a local folder with config.json and safetensors, as save_pretrained(folder) of transformers writes it"


class FeedForward(NamedTuple):
    """The two matrices of one layer."""

    first: nn.Module
    second: nn.Module

    @property
    def neurons(self) -> int:
        return _widths(self.second)[0]

    def input_weights(self) -> Tensor:
        """What each neuron reads, without biases: [neurons, hidden], float32 on the CPU."""
        weight = self.first.get_parameter("weight").detach()
        return (weight.t() if isinstance(self.first, Conv1D) else weight).float().cpu()


@dataclass(frozen=True)
class Opened:
    """A model in evaluation mode, and its neurons."""

    model: nn.Module
    kind: Kind
    layers: tuple[FeedForward, ...]
    """Of an encoder-decoder: the encoder's alone, as in the paper."""
    config: Any
    device: torch.device

    @property
    def neurons(self) -> int:
        """Per layer."""
        return self.layers[0].neurons

    @property
    def pad(self) -> int:
        """A token id for places that are masked out."""
        return int(getattr(self.config, "pad_token_id", None) or 0)

    def encode(self, ids: Tensor, mask: Tensor) -> None:
        """Run the part with the neurons on ``ids`` and ``mask`` [rows, length]."""
        part: Any = self.model
        (part.get_encoder() if self.kind == "encoder-decoder" else part)(input_ids=ids, attention_mask=mask)


class Anatomy(NamedTuple):
    """What the configuration alone tells."""

    kind: Kind
    layers: int
    neurons: int
    vocab: int
    positions: int | None
    """Longest sequence; None where positions are relative."""


@contextmanager
def hooked(layers: tuple[FeedForward, ...], act: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Call ``act`` with each layer's number and neurons [rows, length, neurons]; what it returns replaces them."""

    def hook(number: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def call(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
            changed = act(number, inputs[0])
            return None if changed is None else (changed, *inputs[1:])

        return call

    handles = [layer.second.register_forward_pre_hook(hook(number)) for number, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def look(folder: Path) -> Anatomy:
    """The anatomy of the model in ``folder``, without its weights. Raises ``ModelError``."""
    check_files(folder)
    config = _config(folder)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    kind = _kind(model, config)
    layers = find_layers(_body(model, kind), config, where=str(folder))
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and "roberta" in config.model_type:
        positions -= config.pad_token_id + 1  # its positions are counted from behind the padding id
    return Anatomy(kind, len(layers), layers[0].neurons, config.vocab_size, positions)


def open_folder(folder: Path, device: torch.device, *, head: bool = False) -> Opened:
    """Open the model in ``folder`` in float32; with ``head`` its output layer too. Raises ``ModelError``."""
    check_files(folder)
    config = _config(folder)
    loader = _headed(config) if head else transformers.AutoModel
    try:
        with _quiet():
            model, told = loader.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"the model cannot be opened: {error}", where=str(folder), fix=_AGAIN) from None
    kind = _kind(model.base_model, config)
    # of an encoder-decoder that is only recorded nothing but the encoder counts; a pooler is never run
    lacking = [name for name in told["missing_keys"] if "pooler" not in name]
    if kind == "encoder-decoder" and not head:
        lacking = [name for name in lacking if not name.startswith("decoder.")]
    if lacking or told["mismatched_keys"]:
        named = sorted(lacking) or [str(found[0]) for found in told["mismatched_keys"]]
        what = f"weights are missing or of another shape: {', '.join(named[:5])}"
        fix = "a perturbation needs the output layer of the pre-training; leave it out, or save the model with it"
        raise ModelError(what, where=str(folder), fix=fix if head else _AGAIN)
    return _opened(model, config, device, where=str(folder))


def fresh_model(folder: Path, seed: int, device: torch.device) -> Opened:
    """A model of the same configuration with the library's random weights."""
    config = _config(folder)
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(seed)
        model = transformers.AutoModel.from_config(config, dtype=torch.float32)
    return _opened(model, config, device, where=str(folder))


def config_digest(folder: Path) -> str:
    """Identity of a configuration."""
    return hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()


def find_layers(body: nn.Module, config: Any, *, where: str) -> tuple[FeedForward, ...]:
    """The feed-forwards of ``body`` in their order. Raises ``ModelError`` where they are not one per layer."""
    modules = dict(body.named_modules())
    found = []
    for path, second in modules.items():
        for name, firsts in PAIRS:
            if path != name and not path.endswith(f".{name}"):
                continue
            beside = (modules.get(path.removesuffix(name) + first) for first in firsts)
            first = next((module for module in beside if module is not None), None)
            if first is not None and _widths(first)[1] == _widths(second)[0] > 0:
                found.append(FeedForward(first, second))
    wanted = getattr(config, "num_hidden_layers", len(found))
    if not found or len(found) != wanted or len({layer.neurons for layer in found}) > 1:
        looked = ", ".join(f"{'/'.join(firsts)} -> {name}" for name, firsts in PAIRS)
        what = f"{len(found)} feed-forwards found in {wanted} layers of a {config.model_type!r} model"
        if len({layer.neurons for layer in found}) > 1:
            what = "the layers have different numbers of neurons"
        fix = f"a layer needs one feed-forward of two matrices; looked for {looked}"
        raise ModelError(what, where=where, fix=fix)
    return tuple(found)


def check_files(folder: Path) -> None:
    """Raise ``ModelError`` where the folder holds no configuration or no safetensors."""
    if not (folder / CONFIG).is_file():
        raise ModelError(f"no {CONFIG} here", where=str(folder), fix=_AGAIN)
    if not any(folder.glob("*.safetensors")):
        model_digest(folder)  # says what is there instead


def _widths(module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a matrix; zeros for anything else."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return int(module.weight.shape[0]), int(module.weight.shape[1])
    return 0, 0


def _config(folder: Path) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).partition("\n")[0]
        fix = "only architectures of the installed transformers are opened, never code of the folder"
        raise ModelError(f"the configuration cannot be used: {first}", where=str(folder / CONFIG), fix=fix) from None


def _kind(base: nn.Module, config: Any) -> Kind:
    if isinstance(getattr(base, "encoder", None), nn.Module) and isinstance(getattr(base, "decoder", None), nn.Module):
        return "encoder-decoder"
    masked = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    return "encoder" if masked else "decoder"


def _headed(config: Any) -> Any:
    """The class with an output layer for the kind of model."""
    if type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return transformers.AutoModelForSeq2SeqLM
    masked = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    return transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM


def _body(base: nn.Module, kind: Kind) -> nn.Module:
    return base.encoder if kind == "encoder-decoder" else base  # type: ignore[return-value]


def _opened(model: Any, config: Any, device: torch.device, *, where: str) -> Opened:
    kind = _kind(model.base_model, config)
    layers = find_layers(_body(model.base_model, kind), config, where=where)
    return Opened(model.eval().to(device), kind, layers, config, device)


@contextmanager
def _quiet() -> Iterator[None]:
    """The library tells progress and advice on the console; errors are raised all the same."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
