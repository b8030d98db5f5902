from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.token_rows import token_rows
from tfrec_llm.testing.tiny_models import WORD_PIECES, tiny_preset


def test_rows_hold_the_place_in_the_vocabulary_plus_one(tiny_encoder: Any) -> None:
    rows = token_rows(tiny_encoder, ["king queen", "", "sea"])
    pieces = [[WORD_PIECES[n - 1] for n in row if n] for row in rows]
    assert pieces == [["[CLS]", "king", "queen", "[SEP]"], ["[CLS]", "[SEP]"], list(pieces[2])]
    assert pieces[2][1] == "sea" and rows.dtype == np.int32 and rows.shape == (3, 16)


def test_a_long_text_fills_its_row_and_no_more(tiny_encoder: Any) -> None:
    row = token_rows(tiny_encoder, ["the " * 50])[0]
    assert (row > 0).all() and WORD_PIECES[row[-1] - 1] == "[SEP]"


def test_a_token_with_the_number_of_the_padding_is_told_from_it(tmp_path: Path) -> None:
    # GPT-2 pads with token 0, which stands for something in the texts too.
    encoder = TextEncoder.from_preset(tiny_preset(tmp_path, "gpt2"), max_tokens=8)
    row = token_rows(encoder, ["a"])[0]
    token_ids, starts = encoder.tokenise(["a"])
    assert 0 in token_ids and np.count_nonzero(row) == starts[1] == len(token_ids)


def test_no_texts_give_no_rows(tiny_encoder: Any) -> None:
    assert token_rows(tiny_encoder, []).shape == (0, 16)
