import numpy as np

from tfrec_llm.keras_api import keras_nlp
from tfrec_llm.testing.tiny_models import WORD_PIECES, tiny_preset


def test_one_seed_gives_one_model(tmp_path):
    def weights(name, seed):
        folder = tiny_preset(tmp_path / name, seed=seed)
        return keras_nlp.models.Backbone.from_preset(str(folder)).get_weights()

    first, same, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_the_vocabulary_has_no_token_twice_and_some_chinese():
    assert len(set(WORD_PIECES)) == len(WORD_PIECES)
    assert "书" in WORD_PIECES
