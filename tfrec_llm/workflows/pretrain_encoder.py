"""A file of texts → a language model of one's own, as a preset folder."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

from tfrec_llm.data.columns import is_number, joined_text
from tfrec_llm.data.file_formats import read_raw_table
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.progress import Progress, Silent

_TXT = (".txt", ".txt.gz")
_MAX_REJECTED_SHARE = 0.5


def pretrain_encoder(
    texts: str | Path,
    *,
    out: str | Path,
    text_columns: list[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Reads a corpus and pretrains a language model on it.

    Args:
        texts: CSV, TSV or JSONL (or these and `.gz`) or Parquet file, one text a row; or `.txt`
            (or `.txt.gz`) in UTF-8, one text a line.
        out: folder of the preset, which must not exist.
        text_columns: columns of a table, joined in this order. `None` takes every column that
            holds more than numbers, so name the text where there are ids too.
        progress: listener.
        settings: of `tfrec_llm.pretraining.pretrain.pretrain`.

    Returns: dict of `preset`, `texts`, `held_out_texts`, `vocabulary`, `added_tokens`, `weights`,
        `best_epoch`, `held_out_accuracy`, `most_frequent_token_accuracy`, `held_out_halves`,
        `held_out_loss`, `seconds` and `total_seconds`; the whole learning curve is in
        OUT/pretraining.json.

    Raises:
        DataError: when the file cannot be used.
        UsageError: when a setting is wrong.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    out = Path(out).expanduser()
    if out.exists():  # before the corpus is read
        raise UsageError(f"{out} exists already. Give a new folder for the preset.")
    corpus = read_corpus(texts, text_columns)

    # Here, not above: a fault in the file is told before TensorFlow is loaded.
    from tfrec_llm.pretraining.pretrain import pretrain

    report = pretrain(corpus, out, progress=progress, **settings)
    best = report["epochs"][report["best_epoch"]]
    names = ("texts", "held_out_texts", "vocabulary", "added_tokens", "weights", "best_epoch")
    return {
        "preset": str(out),
        **{name: report[name] for name in names},
        "held_out_accuracy": best["held_out_accuracy"],
        "most_frequent_token_accuracy": report["most_frequent_token_accuracy"],
        "held_out_halves": best["held_out_halves"],
        "held_out_loss": best["held_out_loss"],
        "seconds": report["seconds"],
        "total_seconds": time.perf_counter() - began,
    }


def read_corpus(texts: str | Path, text_columns: list[str] | None = None) -> list[str]:
    r"""Reads the texts of a table or of the lines of a `.txt` file, the empty ones left out.

    Args:
        texts: see `pretrain_encoder`.
        text_columns: see `pretrain_encoder`.

    Returns: str each, in the order of the file.

    Raises:
        DataError: when the file cannot be read, a column is missing or no text is left.
        UsageError: when columns are named for a file that has none.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "texts.txt"
        >>> _ = path.write_text("space opera\n\nlove story\n")
        >>> read_corpus(path)
        ['space opera', 'love story']
    """
    path = Path(texts).expanduser()
    if path.name.lower().endswith(_TXT):
        if text_columns:
            raise UsageError(f"{path} has lines and no columns. Leave out --text-column.")
        found = [line.strip() for line in _lines(path)]
    else:
        raw = read_raw_table(path, "texts")
        raw.require_good_share(_MAX_REJECTED_SHARE)
        for column in text_columns or []:
            raw.require_column(column, "text_column")
        columns = text_columns or [
            name for name in raw.columns if not raw.frame.select(is_number(name).all()).item()
        ]
        found = raw.frame.select(joined_text(columns).alias("text"))["text"].to_list()
    corpus = [text for text in found if text]
    if not corpus:
        raise DataError(f"{path} holds no text. Give a file with one text a row or line.")
    return corpus


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path} does not exist or is no file. Check the path.")
    try:
        opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8-sig") as file:
            return list(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}). Save the file as UTF-8.") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}. Check that the file is whole.") from error
