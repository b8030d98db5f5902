"""The bookshop that comes with the package: whole, varied, and worth learning from."""

from __future__ import annotations

import csv
import datetime as dt
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

import tfrec_llm
from tfrec_llm.data.bookshop.books import read_shelves
from tfrec_llm.errors import DataError

FOLDER = Path(tfrec_llm.__file__).parent / "data" / "bookshop"
TABLES = ["items.csv", "users.csv", "interactions.csv"]
Row = dict[str, str]


def _rows(path: Path) -> list[Row]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture(scope="module")
def items() -> list[Row]:
    return _rows(FOLDER / "items.csv")


@pytest.fixture(scope="module")
def users() -> list[Row]:
    return _rows(FOLDER / "users.csv")


@pytest.fixture(scope="module")
def interactions() -> list[Row]:
    return _rows(FOLDER / "interactions.csv")


@pytest.fixture(scope="module")
def histories(interactions: list[Row]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in interactions:
        found[row["user_id"]].append(row["item_id"])
    return found


@pytest.fixture(scope="module")
def text_similarity(items: list[Row]) -> npt.NDArray[np.float64]:
    texts = [f"{row['title']}. {row['author']}. {row['description']}" for row in items]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    vectors = vectorizer.fit_transform(texts)
    similarity: npt.NDArray[np.float64] = (vectors @ vectors.T).toarray()
    np.fill_diagonal(similarity, -1.0)
    return similarity


# The files


def test_the_generator_remakes_the_files_byte_for_byte(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tfrec_llm.data.bookshop.generate", "--out", str(tmp_path)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(FOLDER.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(TABLES)
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_all_tables_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.csv")) < 1_200_000


def test_ids_are_unique(items: list[Row], users: list[Row]) -> None:
    item_ids = [row["item_id"] for row in items]
    assert len(set(item_ids)) == len(item_ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", item_id) for item_id in item_ids)
    assert len({row["user_id"] for row in users}) == len(users) == 800


def test_interactions_know_their_readers_and_books_and_name_each_pair_once(
    items: list[Row], users: list[Row], interactions: list[Row]
) -> None:
    pairs = [(row["user_id"], row["item_id"]) for row in interactions]
    assert len(set(pairs)) == len(pairs)
    assert {user for user, _ in pairs} == {row["user_id"] for row in users}
    assert {item for _, item in pairs} <= {row["item_id"] for row in items}


def test_three_years_lie_in_order(interactions: list[Row]) -> None:
    times = [dt.datetime.fromisoformat(row["timestamp"]) for row in interactions]
    assert times == sorted(times)
    assert dt.datetime(2022, 1, 1) <= times[0] and times[-1] < dt.datetime(2025, 1, 1)
    assert times[-1] - times[0] > dt.timedelta(days=1000)
    own = Counter((row["user_id"], row["timestamp"]) for row in interactions)
    assert max(own.values()) == 1


def test_readers_have_three_to_forty_books(
    interactions: list[Row], histories: dict[str, list[str]]
) -> None:
    assert 9_000 <= len(interactions) <= 12_000
    lengths = [len(history) for history in histories.values()]
    assert min(lengths) == 3 and 30 < max(lengths) <= 40


# The books


def test_both_languages_are_there_in_every_table(
    items: list[Row], users: list[Row], histories: dict[str, list[str]]
) -> None:
    languages = Counter(row["language"] for row in items)
    assert languages["en"] >= 220 and languages["zh"] >= 140
    assert languages.total() == len(items)
    in_chinese = [re.search("[\u4e00-\u9fff]", row["description"]) for row in items]
    assert [bool(match) for match in in_chinese] == [row["language"] == "zh" for row in items]
    abouts = [row["about"] for row in users if row["about"]]
    assert 0.6 < len(abouts) / len(users) < 0.7
    assert 0.2 < np.mean([not about.isascii() for about in abouts]) < 0.5
    language = {row["item_id"]: row["language"] for row in items}
    both = [len({language[i] for i in history}) == 2 for history in histories.values()]
    assert 0.08 < np.mean(both) < 0.16


def test_nobody_has_read_the_unread_books_and_somebody_each_of_the_others(
    interactions: list[Row],
) -> None:
    shelves = [row for path in (FOLDER / "shelves").glob("*.csv") for row in _rows(path)]
    unread = {row["item_id"] for row in shelves if row["unread"] == "1"}
    read = {row["item_id"] for row in interactions}
    assert read == {row["item_id"] for row in shelves} - unread
    assert 0.05 <= len(unread) / len(shelves) <= 0.12
    assert "signal-from-tau" in unread


def test_no_two_descriptions_are_alike(
    items: list[Row], text_similarity: npt.NDArray[np.float64]
) -> None:
    assert len({row["description"] for row in items}) == len(items)
    assert len({(row["language"], row["title"]) for row in items}) == len(items)
    assert text_similarity.max() < 0.5


def test_books_with_similar_words_often_share_a_shelf(
    items: list[Row], text_similarity: npt.NDArray[np.float64]
) -> None:
    shelf = np.array([row["shelf"] for row in items])
    same = shelf[:, None] == shelf[None, :]
    chance = (same.sum() - len(items)) / (len(items) * (len(items) - 1))
    nearest = text_similarity.argmax(axis=1)
    assert np.mean(shelf == shelf[nearest]) > 2.5 * chance


# The readers


def test_reader_li_reads_chinese_science_fiction_up_to_three_body(
    items: list[Row], users: list[Row], histories: dict[str, list[str]]
) -> None:
    about = {row["user_id"]: row["about"] for row in users}
    assert about["reader-li"] == "喜欢阅读科幻小说，最近在追《三体》"
    history = histories["reader-li"]
    assert len(history) >= 5 and "three-body" in history[-2:]
    book = {row["item_id"]: row for row in items}
    assert {(book[i]["language"], book[i]["shelf"]) for i in history} == {("zh", "science_fiction")}
    titles = [book[item_id]["title"] for item_id in ("three-body", "three-body-2", "three-body-3")]
    assert titles == ["三体", "三体II：黑暗森林", "三体III：死神永生"]


def test_every_reader_reads_a_series_in_order(histories: dict[str, list[str]]) -> None:
    num_sequels = 0
    for history in histories.values():
        for item_id, before in (
            ("three-body-2", "three-body"),
            ("three-body-3", "three-body-2"),
        ):
            if item_id in history:
                num_sequels += 1
                assert history.index(before) < history.index(item_id)
    assert num_sequels >= 20


def test_sentences_of_readers_are_all_different(users: list[Row]) -> None:
    abouts = [row["about"] for row in users if row["about"]]
    assert len(set(abouts)) == len(abouts)


def test_readers_read_what_their_sentence_names(
    items: list[Row], users: list[Row], histories: dict[str, list[str]]
) -> None:
    theme_of = {
        row["phrase"]: row["theme"] for path in FOLDER.glob("tastes_*.csv") for row in _rows(path)
    }
    theme_of_book = {row["item_id"]: f"{row['shelf']}/{row['theme']}" for row in items}
    shares = []
    for row in users:
        about = row["about"].lower()
        named = {theme for phrase, theme in theme_of.items() if phrase.lower() in about}
        if named:
            books = histories[row["user_id"]]
            shares.append(np.mean([theme_of_book[i] in named for i in books]))
    assert len(shares) > 500
    assert np.mean(shares) > 0.3  # a theme is one of 37


def test_consecutive_books_often_share_a_shelf(
    items: list[Row], histories: dict[str, list[str]]
) -> None:
    shelf = {row["item_id"]: row["shelf"] for row in items}
    read = Counter(shelf[i] for history in histories.values() for i in history)
    chance = sum((count / read.total()) ** 2 for count in read.values())
    steps = [s for h in histories.values() for s in zip(h, h[1:], strict=False)]
    share = np.mean([shelf[a] == shelf[b] for a, b in steps])
    assert 4 * chance < share < 0.8


def test_the_last_book_is_easier_to_guess_from_the_history_than_from_popularity(
    items: list[Row], histories: dict[str, list[str]]
) -> None:
    number = {row["item_id"]: i for i, row in enumerate(items)}
    seen = np.zeros((len(histories), len(items)))
    last = []
    for row, history in enumerate(histories.values()):
        seen[row, [number[i] for i in history[:-1]]] = 1.0
        last.append(number[history[-1]])
    popularity = seen.sum(axis=0)
    together = seen.T @ seen / np.sqrt(np.outer(popularity + 5.0, popularity + 5.0))
    np.fill_diagonal(together, 0.0)

    def recall_at_10(scores: npt.NDArray[np.float64]) -> float:
        best = np.argsort(-np.where(seen > 0, -np.inf, scores), axis=1, kind="stable")[:, :10]
        return float(np.mean((best == np.array(last)[:, None]).any(axis=1)))

    by_popularity = recall_at_10(np.tile(popularity, (len(histories), 1)))
    by_history = recall_at_10(seen @ together)
    assert by_history > 4 * by_popularity
    assert by_history < 0.75  # noise keeps it from being a toy


# What a shelf file may hold

HEADER = "item_id,title,author,theme,unread,description"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item_id,title\na,A\n", f"the header must be {HEADER}"),
        (f"{HEADER}\na,A,B,crime/courtroom,0\n", "line 2: each of the 6 columns needs a value"),
        (f"{HEADER}\na,A,B,crime/courtroom,0,C,D\n", "line 2: each of the 6 columns"),
        (f"{HEADER}\na,A,B,romance/letters,0,C\n", "line 2: the theme must be crime/…, got 'rom"),
        (f"{HEADER}\na,A,B,crime/courtroom,no,C\n", "line 2: unread must be 0 or 1, got 'no'"),
        (f"{HEADER}\n" + "a,A,B,crime/courtroom,0,C\n" * 2, "line 3: the item_id 'a' is taken"),
    ],
)
def test_a_bad_shelf_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "en_crime.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(message)):
        read_shelves(tmp_path)


def test_a_folder_without_shelves_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no shelf"):
        read_shelves(tmp_path)
