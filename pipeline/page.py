"""HTML pages from templates beside this file: escaped, self-contained, their policy allows their own style alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def render(template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """The page as HTML; ``style_hash`` is given to the template for its Content-Security-Policy."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    home = Path(__file__).parent
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(home),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= dict(filters or {})
    style = (home / template).read_text("utf-8").partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(style_hash=digest, **values)
