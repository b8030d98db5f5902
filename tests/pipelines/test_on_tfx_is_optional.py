from __future__ import annotations

from importlib.util import find_spec

import pytest

from tfrec_llm.errors import MissingPackageError


@pytest.mark.skipif(find_spec("tfx") is not None, reason="TFX is installed here")
def test_without_tfx_the_part_that_needs_it_says_where_to_get_it() -> None:
    with pytest.raises(MissingPackageError, match=r"Python 3.10 \(make tfx-install\).*`tfx`"):
        import tfrec_llm.pipelines.on_tfx  # noqa: F401
