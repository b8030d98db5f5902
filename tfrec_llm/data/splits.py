"""Checked tables → what is trained on and what is held out, by four protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.streamed_interactions import Interactions
from tfrec_llm.data.time_gaps import gap_buckets
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.seeds import child_generator

PROTOCOLS = ("leave_one_out", "random", "temporal", "cold_items")
_EVENT_COLUMNS = ["user_id", "item_number", "position"]
_TRAIN, _VALIDATION, _TEST, _COLD = "train", "validation", "test", "cold"
_DROPPED = "dropped"


@dataclass(frozen=True)
class Split:
    """Interactions to train on, and held-out cases.

    Attributes:
        protocol: one of `PROTOCOLS`.
        train: frame of `user_id` (String), `item_number` (Int32) and `position` (Int64, as in
            the dataset, so with gaps), sorted by user and position. Where the data has times
            also `gap` (Int32), the time between an item and the one before it in this frame, as
            a bucket of `time_gaps`.
        train_and_validation: the same with the validation targets, for the refit before the test.
        validation: cases to choose settings by; histories lie in `train`.
        test: cases to read once, at the end; histories lie in `train_and_validation`, but those
            of cold users are in neither.
        cold_item_numbers: int32 `(n,)`, sorted, the items that protocol `cold_items` took from
            training; empty for the others.
        cold_user_ids: users of the test without any interaction in `train_and_validation`.
        text_only: the test cases of cold users that have text, with their histories emptied.
        num_cases: `validation` and `test` → how many cases there were, where these are a seeded
            sample of them or might be; empty where they are all.

    From shards both training parts are `StreamedInteractions` instead of frames.
    """

    protocol: str
    train: Interactions
    train_and_validation: Interactions
    validation: Queries
    test: Queries
    cold_item_numbers: np.ndarray
    cold_user_ids: frozenset[str]
    text_only: Queries
    num_cases: Mapping[str, int] = field(default_factory=dict)


def split(
    dataset: Dataset,
    catalogue: Catalogue,
    *,
    protocol: str = "leave_one_out",
    cold_user_share: float = 0.05,
    cold_item_share: float = 0.1,
    test_share: float = 0.1,
    train_share: float = 1.0,
    seed: int = 7,
) -> Split:
    """Holds out a validation and a test part.

    - `leave_one_out`: the last interaction of a user is the test, the one before it validation,
      the rest training. Users with fewer than three are training only.
    - `random`: the same with one random interaction as test and one as validation.
    - `temporal`: one cut in time for all users. The newest `test_share` is the test, as much
      before it validation; equal times are never parted, and each part has one time at least.
      Each held-out interaction is a case; its history is what the user did before the part began.
    - `cold_items`: a share of the items loses every interaction from training and validation;
      these are the test. The history is what else the user took before the target (without
      order: all that they took besides cold items). A target with no such history is left out.
      Validation is the last remaining interaction of users with two or more of them.

    In the first two a share of the users with three interactions or more is kept out of training
    and validation: cold users, tested on the same target, with all before it (`random`: all but
    it) as history. In `temporal` cold users are those who come after the cut.

    With a `train_share` below 1 only a part of the training interactions is kept, drawn from all
    of them alike; with one seed a smaller part lies within a larger one. The cases and their
    targets stay, but what was dropped stands in no history either, as in a shop with less data: a
    user may be left without any. Histories of cold users by share are not thinned.

    What is drawn depends on the seed and on the ids, not on the order of rows.

    Args:
        dataset: the checked tables.
        catalogue: the items, all of the dataset's among them.
        protocol: one of `PROTOCOLS`.
        cold_user_share: float in [0, 1), rounded to whole users; one user at least stays warm.
        cold_item_share: float in (0, 1), rounded to whole items, at least one.
        test_share: float in (0, 0.5), rounded to whole interactions, at least one.
        train_share: float in (0, 1], rounded to whole interactions, at least one.
        seed: int, the seed of the run.

    Returns: the split. Cases come in the order of the dataset's interactions.
    Raises: UsageError for an unknown protocol or a share out of bounds; DataError when the data
        has no order and the protocol needs one, or is too small to hold anything out.

    Example:
        >>> from tfrec_llm.data.tables import read_tables
        >>> items = pl.DataFrame({"item_id": list("abc"), "title": ["A", "B", "C"]})
        >>> clicks = pl.DataFrame({"user_id": list("uuuv"), "item_id": list("abca")})
        >>> data = read_tables(items, clicks)
        >>> parts = split(data, Catalogue(data.items))
        >>> parts.train["item_number"].to_list(), parts.test.targets.tolist()
        ([0, 0], [2])
    """
    _check_arguments(protocol, cold_user_share, cold_item_share, test_share, train_share)
    if not dataset.has_order and protocol in ("leave_one_out", "temporal"):
        raise DataError(
            f"protocol {protocol} needs interactions in order, and {dataset.name} has none: "
            "set split.protocol: random, or name the column of times in data.columns.timestamp"
        )
    events = _events(dataset, catalogue)
    cold_items = np.empty(0, dtype=np.int32)
    if protocol == "temporal":
        parts = _parts_by_time(events, test_share)
    elif protocol == "cold_items":
        cold_items = _draw_items(events, cold_item_share, seed)
        parts = _parts_by_item(events, cold_items, dataset.has_order, seed)
    else:
        ranks = _newest_first(events) if protocol == "leave_one_out" else _at_random(events, seed)
        parts = _parts_by_user(events, ranks, cold_user_share, seed)
    events = events.with_columns(
        parts.alias("part"), _thinned(events, parts, train_share, seed).alias("kept_part")
    )
    return _assemble(protocol, events, cold_items, dataset)


def _check_arguments(
    protocol: str,
    cold_user_share: float,
    cold_item_share: float,
    test_share: float,
    train_share: float,
) -> None:
    if protocol not in PROTOCOLS:
        raise UsageError(f"protocol {protocol!r} is unknown; take one of {', '.join(PROTOCOLS)}")
    if not 0.0 <= cold_user_share < 1.0:
        raise UsageError(f"cold_user_share must lie in [0, 1), got {cold_user_share}")
    if not 0.0 < cold_item_share < 1.0:
        raise UsageError(f"cold_item_share must lie in (0, 1), got {cold_item_share}")
    if not 0.0 < test_share < 0.5:
        raise UsageError(f"test_share must lie in (0, 0.5), got {test_share}")
    if not 0.0 < train_share <= 1.0:
        raise UsageError(f"train_share must lie in (0, 1], got {train_share}")


def _events(dataset: Dataset, catalogue: Catalogue) -> pl.DataFrame:
    """Returns the interactions with item numbers, and users as numbers in ascending order."""
    events = dataset.interactions.with_columns(
        pl.Series("item_number", catalogue.numbers(dataset.interactions["item_id"])),
        (pl.col("user_id").rle_id()).cast(pl.Int64).alias("user_number"),
        pl.len().over("user_id").alias("num_of_user"),
    )
    unknown = events.filter(pl.col("item_number") < 0)
    if unknown.height:
        raise DataError(
            f"the catalogue lacks item {unknown['item_id'][0]!r}, which has interactions; "
            "build it from the items of the same dataset"
        )
    return events


# Parts: one word for each interaction.


def _parts_by_user(
    events: pl.DataFrame, ranks: pl.Series, cold_user_share: float, seed: int
) -> pl.Series:
    longest = int(events["num_of_user"].max() or 0)  # type: ignore[arg-type]
    if longest < 3:
        raise DataError(
            "this protocol needs a user with three interactions or more, to train on, to validate "
            f"and to test; the longest history has {longest}"
        )
    has_three = pl.col("num_of_user") >= 3
    users = events.filter(has_three)["user_id"].unique().sort()
    num_cold = min(round(cold_user_share * len(users)), len(users) - 1)
    drawn = child_generator(seed, "cold_users").permutation(len(users))[:num_cold]
    is_cold = pl.col("user_id").is_in(users.gather(drawn).implode())
    part = (
        pl.when(~has_three)
        .then(pl.lit(_TRAIN))
        .when(pl.col("rank") == 0)
        .then(pl.lit(_TEST))
        .when(is_cold)
        .then(pl.lit(_COLD))
        .when(pl.col("rank") == 1)
        .then(pl.lit(_VALIDATION))
        .otherwise(pl.lit(_TRAIN))
    )
    return events.with_columns(ranks.alias("rank")).select(part).to_series()


def _newest_first(events: pl.DataFrame) -> pl.Series:
    """Returns the place of each interaction in its user's history, 0 for the last."""
    reverse = pl.int_range(pl.len()).reverse().over("user_id")
    return events.select(reverse).to_series()


def _at_random(events: pl.DataFrame, seed: int) -> pl.Series:
    """Returns a random place for each interaction among its user's, whatever the row order."""
    order = events.select(pl.arg_sort_by("user_id", "item_id")).to_series().to_numpy()
    keys = np.empty(len(order))
    keys[order] = child_generator(seed, "held_out").random(len(order))
    rank = pl.col("key").rank("ordinal").over("user_id").cast(pl.Int64) - 1
    return events.with_columns(pl.Series("key", keys)).select(rank).to_series()


def _parts_by_time(events: pl.DataFrame, test_share: float) -> pl.Series:
    if events["timestamp"].null_count():
        raise DataError(
            "protocol temporal needs the time of every interaction: name its column in "
            "data.columns.timestamp, or set split.protocol: leave_one_out"
        )
    times = events["timestamp"].to_numpy()
    distinct = np.unique(times)
    if len(distinct) < 3:
        raise DataError(
            "protocol temporal needs interactions at three different times at least, to train on, "
            f"to validate and to test; here are {len(times)} at {len(distinct)} times. "
            "Take more data or finer times, or set split.protocol: leave_one_out"
        )
    ascending = np.sort(times)
    num_held_out = max(1, round(test_share * len(times)))
    test_from = max(ascending[-num_held_out], distinct[2])
    older = ascending[ascending < test_from]
    validation_from = max(older[-min(num_held_out, len(older))], distinct[1])
    part = np.where(
        times >= test_from, _TEST, np.where(times >= validation_from, _VALIDATION, _TRAIN)
    )
    return pl.Series("part", part.tolist())


def _draw_items(events: pl.DataFrame, cold_item_share: float, seed: int) -> np.ndarray:
    """Returns the numbers of the items to hide, drawn from the sorted ids of those in use."""
    used = events.select("item_id", "item_number").unique().sort("item_id")
    if used.height < 2:
        raise DataError(
            "protocol cold_items needs interactions with two different items at least; "
            f"here is {used.height}"
        )
    num_cold = min(max(1, round(cold_item_share * used.height)), used.height - 1)
    drawn = child_generator(seed, "cold_items").permutation(used.height)[:num_cold]
    return np.sort(used["item_number"].to_numpy()[drawn]).astype(np.int32)


def _parts_by_item(
    events: pl.DataFrame, cold_items: np.ndarray, has_order: bool, seed: int
) -> pl.Series:
    is_cold = np.isin(events["item_number"].to_numpy(), cold_items)
    warm = events.filter(~pl.Series(is_cold))
    ranks = _newest_first(warm) if has_order else _at_random(warm, seed)
    is_last = warm.select((ranks == 0) & (pl.len().over("user_id") >= 2)).to_series().to_numpy()
    part = np.full(events.height, _TEST, dtype=object)
    part[~is_cold] = np.where(is_last, _VALIDATION, _TRAIN)
    return pl.Series("part", part.tolist(), dtype=pl.String)


def _thinned(events: pl.DataFrame, parts: pl.Series, train_share: float, seed: int) -> pl.Series:
    """Returns the parts, those training interactions that are not kept as `_DROPPED`."""
    train = events.with_columns(parts.alias("part")).with_row_index("row")
    rows = train.filter(pl.col("part") == _TRAIN).sort("user_id", "item_id")["row"].to_numpy()
    if train_share == 1.0 or not len(rows):
        return parts
    order = child_generator(seed, "train_share").permutation(len(rows))
    kept = np.array(parts.to_list(), dtype=object)
    kept[rows[order[max(1, round(train_share * len(rows))) :]]] = _DROPPED
    return pl.Series(kept.tolist(), dtype=pl.String)


# From parts to frames and cases.


def _assemble(
    protocol: str, events: pl.DataFrame, cold_items: np.ndarray, dataset: Dataset
) -> Split:
    train = events.filter(pl.col("kept_part") == _TRAIN)
    train_and_validation = events.filter(pl.col("kept_part").is_in([_TRAIN, _VALIDATION]))
    before_test = [_TRAIN, _VALIDATION, _COLD]
    texts = dict(dataset.users.select("user_id", "text").iter_rows())
    hides_items = protocol == "cold_items"
    has_times = bool((events["timestamp"].to_numpy() > 0).any())

    def as_train(frame: pl.DataFrame) -> pl.DataFrame:
        columns = frame.select(_EVENT_COLUMNS)
        return columns.with_columns(gap=pl.Series(_gaps(frame))) if has_times else columns

    validation = _queries(
        events.filter(pl.col("part") == _VALIDATION), train, train, texts, has_times=has_times
    )
    targets = events.filter(pl.col("part") == _TEST)
    only_before = hides_items and dataset.has_order
    if hides_items:  # whom to ask does not depend on what is kept of the training part
        whole = events.filter(pl.col("part").is_in(before_test))
        start, stop = _history_bounds(targets, whole, only_before)
        targets = targets.filter(pl.Series(stop > start))
    test = _queries(
        targets,
        events.filter(pl.col("kept_part").is_in(before_test)),
        train_and_validation,
        texts,
        has_times=has_times,
        only_before=only_before,
    )
    for part, found in (("training", train), ("validation", validation), ("test", test)):
        if len(found) == 0:
            raise DataError(
                f"protocol {protocol} leaves nothing for the {part}: it needs users who took two "
                "items that stay in training, and users who took a hidden item after one that "
                f"stays. Here are {events.height} interactions, and {len(cold_items)} items are "
                "hidden. Take more data, another split.cold_item_share or another seed"
            )
    cold_rows = np.flatnonzero(test.is_cold_user).tolist()
    with_text = test.take([i for i in cold_rows if test.texts[i].strip()])
    nothing = np.empty(0, dtype=np.int32)
    return Split(
        protocol=protocol,
        train=as_train(train),
        train_and_validation=as_train(train_and_validation),
        validation=validation,
        test=test,
        cold_item_numbers=cold_items,
        cold_user_ids=frozenset(test.user_ids[i] for i in cold_rows),
        text_only=replace(with_text, histories=[nothing] * len(with_text), gaps=None),
    )


def _gaps(events: pl.DataFrame) -> np.ndarray:
    """Returns the time between each interaction and the one before it among these of a user."""
    return gap_buckets(events["timestamp"].to_numpy(), events["user_number"].to_numpy())


def _queries(
    targets: pl.DataFrame,
    histories: pl.DataFrame,
    known: pl.DataFrame,
    texts: dict[str, str],
    *,
    has_times: bool,
    only_before: bool = False,
) -> Queries:
    """Makes a case of each target.

    Args:
        targets: the held-out interactions.
        histories: interactions that may stand in a history, sorted by user and position.
        known: interactions trained on; a user who has none here is cold.
        texts: user id to text.
        has_times: whether the cases are given the gaps of their histories.
        only_before: leaves out what comes after the target.
    """
    start, stop = _history_bounds(targets, histories, only_before)
    items = histories["item_number"].to_numpy()
    gaps = _gaps(histories) if has_times else None
    bounds = list(zip(start, stop, strict=True))
    user_ids = targets["user_id"].to_list()
    known_users = known["user_number"].to_numpy()
    return Queries(
        user_ids=user_ids,
        histories=[items[a:b] for a, b in bounds],
        texts=[texts.get(user_id, "") for user_id in user_ids],
        targets=targets["item_number"].to_numpy(),
        is_cold_user=~np.isin(targets["user_number"].to_numpy(), known_users),
        gaps=None if gaps is None else [gaps[a:b] for a, b in bounds],
    )


def _history_bounds(
    targets: pl.DataFrame, histories: pl.DataFrame, only_before: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first row of each target's history, and the row after its last."""
    users = targets["user_number"].to_numpy()
    history_users = histories["user_number"].to_numpy()
    start = np.searchsorted(history_users, users, side="left")
    if not only_before:
        return start, np.searchsorted(history_users, users, side="right")
    positions, history_positions = targets["position"], histories["position"]
    stride = 1 + max(pl.concat([positions, history_positions]).to_list(), default=0)
    keys = history_users * stride + history_positions.to_numpy()
    return start, np.searchsorted(keys, users * stride + positions.to_numpy())
