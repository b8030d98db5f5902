"""Which tokens a masked language model must guess, and what it sees in their place."""

from __future__ import annotations

import numpy as np

_MASKED = 0.8  # of the chosen tokens; half of the rest become another token, half stay


def mask_tokens(
    token_ids: np.ndarray,
    is_real: np.ndarray,
    *,
    mask_token_id: int,
    ordinary_ids: np.ndarray,
    generator: np.random.Generator,
    mask_share: float = 0.15,
) -> tuple[np.ndarray, np.ndarray]:
    """Hides a share of the tokens of each text, one at least.

    Of the chosen tokens 80 % become the mask token, 10 % a random token, 10 % stay as they are.

    Args:
        token_ids: int32 `(batch, tokens)`.
        is_real: bool `(batch, tokens)`, False for padding and special tokens, never chosen.
        mask_token_id: int.
        ordinary_ids: int `(n,)`, the tokens to draw random ones from.
        generator: source of chance.
        mask_share: float in (0, 1). Defaults to 0.15.

    Returns: int32 `(batch, tokens)`, what the model sees, and bool `(batch, tokens)`, True where
        it must guess.

    Example:
        >>> ids, is_real = np.array([[2, 7, 8, 3]]), np.array([[False, True, True, False]])
        >>> options = {"mask_token_id": 4, "ordinary_ids": np.arange(5, 9)}
        >>> seen, chosen = mask_tokens(ids, is_real, generator=np.random.default_rng(0), **options)
        >>> int(chosen.sum()), bool((chosen & ~is_real).any())
        (1, False)

    Reference: Devlin et al., 2019, doi:10.18653/v1/N19-1423
    """
    scores = np.where(is_real, generator.random(token_ids.shape), 2.0)
    ranks = scores.argsort(axis=1).argsort(axis=1)
    num_real = is_real.sum(axis=1)
    num_chosen = np.minimum(np.maximum(np.rint(num_real * mask_share), 1), num_real)
    is_chosen = ranks < num_chosen[:, None]
    fate = generator.random(token_ids.shape)
    random_ids = generator.choice(ordinary_ids, size=token_ids.shape)
    replaced = np.where(fate < (1.0 + _MASKED) / 2.0, random_ids, token_ids)
    replaced = np.where(fate < _MASKED, mask_token_id, replaced)
    return np.where(is_chosen, replaced, token_ids).astype(np.int32), is_chosen
