"""Untrusted text on its way into a prompt: control tokens neutralised, length bounded, and a fence around it.

A crawled page or a generated query may try to speak with the voice of the system or the user. Models read roles from
control tokens, so none may come from data: they are taken out, together with characters that hide text from people.
The fence carries a name made from a hash of the text, which the text cannot know. This does not make injection
impossible, a model may still believe what it reads; so nothing that a model answers is ever more than data either.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_TOKENS: Final = re.compile(
    r"<\|[^|<>\n]{1,60}\|>"  # ChatML, Llama 3, Phi, Qwen: <|im_start|>
    r"|<\uff5c[^<>\n]{1,60}\uff5c>"  # DeepSeek, with full-width bars
    r"|</?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|system|user|assistant|tool|tool_call|think)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|IMG)\]"
    r"|<</?SYS>>"
    r"|^[ \t]*#{2,}[ \t]*(?:Instruction|Input|Response|System|User|Assistant|Human)[ \t]*:"
    r"|^[ \t]*(?:System|User|Assistant|Human)[ \t]*:(?=[ \t]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_HIDDEN: Final = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
    "|[\U000e0000-\U000e0fff]|[\ud800-\udfff]"
)
_LINE_ENDS: Final = re.compile("[\u2028\u2029]")
_SIGNS: Final = re.compile(r"[<>|\uff5c\[\]#:]")  # each token has one of them
_PASSES: Final = 8  # tokens inside tokens, so deep
LIMIT: Final = 8000  # characters


def neutralised(text: str) -> str:
    """``text`` without control tokens of chat templates and without hidden characters. Idempotent.

    Tokens nested more deeply than anybody writes by accident cost the text all brackets, bars, hashes and colons:
    so the time stays proportional to the length.
    """
    text = _LINE_ENDS.sub("\n", _HIDDEN.sub("", text))
    for _ in range(_PASSES):
        cleaned = _TOKENS.sub(" ", text)
        if cleaned == text:
            return text
        text = cleaned  # taking one out may have put another together
    return _SIGNS.sub(" ", text)


def fenced(text: str, *, limit: int = LIMIT) -> str:
    """``text`` as data: neutralised, cut to ``limit`` characters, between two lines that it does not contain."""
    body = neutralised(
        neutralised(text)[:limit].strip()
    ).strip()  # a cut may have made a token: "System:" of "System:x"
    name = hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()[:12]
    return f"[data {name}]\n{body}\n[end of data {name}]"
