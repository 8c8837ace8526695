"""How the kernels of this folder are compiled, and the names of the arrays they work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint32]
Rows = NDArray[np.int32]
Matrix = NDArray[np.float32]
Registers = NDArray[np.int64]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel() -> Callable[[_Function], _Function]:
    """Decorator of all passes over a page.

    They allocate nothing, so numba need not count references (``_nrt``): counting them at every view of a row made the
    tokenizer forty times slower. Inlining (``forceinline``) saves passing a dozen arrays from call to call, which made
    it three times slower.
    """
    options: dict[str, Any] = {"cache": True, "forceinline": True, "_nrt": False}
    return cast(Callable[[_Function], _Function], njit(**options))
