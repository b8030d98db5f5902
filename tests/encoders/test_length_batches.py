import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.encoders.length_batches import length_batches


def test_no_texts_make_no_batches():
    assert list(length_batches(np.zeros(0, np.int64), 4, 64)) == []


def test_equal_lengths_keep_their_order():
    (rows, width), (rest, _) = length_batches(np.full(5, 7), 4, 64)
    assert (rows.tolist(), width, rest.tolist()) == ([0, 1, 2, 3], 8, [4])


@given(
    st.lists(st.integers(2, 50), max_size=60), st.integers(1, 9), st.sampled_from([50, 52, 56, 64])
)
def test_each_text_comes_once_and_fits(lengths, batch_size, max_tokens):
    lengths = np.array(lengths, np.int64)
    batches = list(length_batches(lengths, batch_size, max_tokens))
    seen = [row for rows, _ in batches for row in rows.tolist()]
    assert sorted(seen) == list(range(len(lengths)))
    for rows, width in batches:
        assert len(rows) <= batch_size
        assert lengths[rows].max() <= width <= max_tokens
        assert width < lengths[rows].max() + 8
        assert width % 8 == 0 or width == max_tokens
    widths = [width for _, width in batches]
    assert widths == sorted(widths, reverse=True)
