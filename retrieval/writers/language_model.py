"""Queries from a language model: questions around each seed (breadth), a line of thought for each question (depth).

"Query of CC" (arXiv 2401.14624): question extension is sampled several times at a raised temperature, so that facets
differ; thoughts are chain-of-thought reasoning that becomes a query itself, so that documents with reasoning in them
are found. Prompts are data (``retrieval/prompts``), with versions. Seeds are untrusted text: they reach the model
fenced, and what it answers is only ever a query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from pydantic import Field, model_validator

from corpus.settings import Settings
from llm.client import Generation, Refusal, Request
from llm.config import Endpoint, Sampling, Serve
from llm.prompts import Prompt, load_prompt
from retrieval.cleaning import split_lines, strip_marker
from retrieval.queries import Kind, Query

PROMPTS: Final = Path(__file__).parents[1] / "prompts"
PLACES: Final[Mapping[Kind, Mapping[str, str]]] = {
    kind: {"domain": "", "seed": "", "count": ""} for kind in ("question", "thought")
}
"""The places that a prompt may have."""

_SEED_STEP: Final = 1000  # between the sampling seeds of the samples of one prompt: retries use the seeds between


class LanguageModel(Settings):
    """Have a language model write the queries."""

    kind: Literal["language_model"]
    endpoint: Endpoint | None = None
    """A server that is there already, with an OpenAI-compatible face."""
    serve: Serve | None = None
    """A vLLM server that the run starts and stops."""
    questions: int = Field(default=10, ge=1, le=100)
    """Questions asked for in one answer."""
    samples: int = Field(default=4, ge=1, le=100)
    """Answers asked for each seed, with different sampling seeds."""
    thoughts: int = Field(default=1, ge=0, le=10)
    """Lines of thought for each new question."""
    question_sampling: Sampling = Sampling(temperature=1.0, max_tokens=512)
    """How questions are sampled."""
    thought_sampling: Sampling = Sampling(temperature=0.7, max_tokens=300)
    """How thoughts are sampled."""
    structured: bool = False
    """Have the server keep questions to a JSON schema, where it can; else a list is read line by line."""
    prompts: str | None = None
    """Folder with prompts of your own: question.yaml and thought.yaml."""
    max_refused_share: float = Field(default=0.5, ge=0, le=1)
    """The run fails when more than this share of the requests of a round ends without a usable answer."""

    @model_validator(mode="after")
    def _check(self) -> LanguageModel:
        if (self.endpoint is None) == (self.serve is None):
            raise ValueError("a language model has either endpoint or serve")
        return self

    def prompt(self, kind: Kind) -> Prompt:
        """The prompt for `question` or `thought`."""
        return load_prompt((Path(self.prompts) if self.prompts else PROMPTS) / f"{kind}.yaml")


class Asker(Protocol):
    """What is needed of a client."""

    def generate(self, requests: Sequence[Request]) -> list[Generation | Refusal]: ...


class Answers(NamedTuple):
    """What the model wrote: drafts in order, and how many requests ended in which refusal."""

    drafts: list[Query]
    requests: int
    refused: dict[str, int]
    prompt_tokens: int
    completion_tokens: int


def write(asker: Asker, parents: Sequence[Query], kind: Kind, config: LanguageModel, round_number: int) -> Answers:
    """Ask for queries of ``kind`` (``question`` or ``thought``) about each of ``parents``."""
    prompt = config.prompt(kind)
    sampling = config.question_sampling if kind == "question" else config.thought_sampling
    count = config.samples if kind == "question" else config.thoughts
    schema = _schema(config.questions) if kind == "question" and config.structured else None
    asked: list[tuple[Query, Request]] = []
    for parent in parents:
        messages = prompt.messages({"domain": parent.domain, "seed": parent.text, "count": str(config.questions)})
        for number in range(count):
            seeded = sampling.model_copy(update={"seed": sampling.seed + number * _SEED_STEP})
            asked.append((parent, Request(messages=messages, sampling=seeded, schema=schema, tag=parent.id)))
    answers = asker.generate([request for _, request in asked])
    drafts: list[Query] = []
    refused: Counter[str] = Counter()
    tokens = [0, 0]
    for (parent, request), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Refusal):
            refused[answer.cause] += 1
            continue
        tokens[0] += answer.prompt_tokens
        tokens[1] += answer.completion_tokens
        drafts += _drafts(answer, request, parent, kind, prompt, round_number)
    return Answers(drafts, len(asked), dict(sorted(refused.items())), tokens[0], tokens[1])


def _drafts(
    answer: Generation, request: Request, parent: Query, kind: Kind, prompt: Prompt, round_number: int
) -> Iterator[Query]:
    for text in _texts(answer, kind):
        yield Query(
            id="",
            text=text,
            kind=kind,
            round=round_number,
            domain=parent.domain,
            parent=parent.id,
            seed=parent.seed,
            origin=f"{prompt.name}@{prompt.version} {answer.engine}".strip(),
            model=answer.model,
            sampling=request.sampling.model_copy(update={"seed": answer.sampling_seed}).model_dump_json(),
        )


def _texts(answer: Generation, kind: Kind) -> Iterator[str]:
    if kind == "thought":
        yield " ".join(strip_marker(answer.text).split())
    elif isinstance(answer.value, Mapping):
        yield from (str(text) for text in answer.value.get("questions", ()))
    else:
        yield from (line for line in split_lines(answer.text) if line)


def _schema(count: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"questions": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": count}},
        "required": ["questions"],
        "additionalProperties": False,
    }
