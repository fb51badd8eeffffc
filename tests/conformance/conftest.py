from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def no_vmap_fallback() -> Iterator[None]:
    """What has no rule for vmap, and would be looped over, raises."""
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(True)
