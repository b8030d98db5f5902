from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.seeds import child_generator, child_seed

NAMES = st.lists(st.text(max_size=5) | st.integers(), max_size=4)


@given(seed=st.integers(), names=NAMES)
def test_a_child_seed_fits_every_library(seed: int, names: list[object]) -> None:
    assert 0 <= child_seed(seed, *names) < 2**31


@given(seeds=st.lists(st.integers(0, 10**6), unique=True, min_size=2, max_size=2))
def test_other_seeds_and_other_names_give_other_children(seeds: list[int]) -> None:
    a, b = seeds
    assert child_seed(a, "shuffle") != child_seed(b, "shuffle")
    assert child_seed(a, "shuffle", 1) != child_seed(a, "negatives", 1)
    assert child_seed(a, "shuffle", 1) != child_seed(a, "shuffle", 11)
    assert child_seed(a, "ab", "c") != child_seed(a, "a", "bc")


def test_a_child_seed_is_the_same_on_every_machine() -> None:
    digest = hashlib.sha256(b"7\x1fshuffle\x1f3").hexdigest()
    assert child_seed(7, "shuffle", 3) == int(digest[:8], 16) // 2


def test_a_child_seed_does_not_depend_on_pythons_hash_seed() -> None:
    code = "from tfrec_llm.seeds import child_seed; print(child_seed(7, 'shuffle', 'é'))"
    values = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert values == {f"{child_seed(7, 'shuffle', 'é')}\n"}


def test_generators_of_one_purpose_agree_and_of_two_do_not() -> None:
    first = child_generator(7, "a").integers(0, 2**32, 100)
    np.testing.assert_array_equal(first, child_generator(7, "a").integers(0, 2**32, 100))
    assert not np.array_equal(first, child_generator(7, "b").integers(0, 2**32, 100))
    assert not np.array_equal(first, child_generator(8, "a").integers(0, 2**32, 100))
