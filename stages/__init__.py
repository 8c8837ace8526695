"""What can be done to a batch of documents. Knows no Ray, no manifest file, no path outside its inputs."""

from __future__ import annotations

from stages.kernel_cache import key_kernel_cache

key_kernel_cache()
