import re

import pytest

from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.text.stop_words import MAX_STOP_WORDS, check_stop_words, load_stop_words, own_list


def written(tmp_path, content):
    path = tmp_path / "words.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_file_gives_its_words_plain_and_once(tmp_path):
    path = written(tmp_path, "\ufeff# shop\nBook # all\n\n Ｂook\r\n小说\nDon’t\n")
    assert load_stop_words(path) == ("book", "小说", "don't")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("book\nsuch as\n", "line 2: the stop word 'such as' holds a space"),
        ("book\n\nc++\n", "line 3: the stop word 'c\\+\\+' must be letters and digits"),
        ("-\n", "line 1: the stop word '-' must be letters"),
        (b"book\n\xff\xfe\n", "line 2 is not UTF-8 \\(byte 1\\)"),
        ("# nothing\n", "holds no stop word"),
        ("\n".join(f"w{i}" for i in range(MAX_STOP_WORDS + 1)), "more than 2000"),
    ],
)
def test_a_faulty_file_is_refused_with_its_place(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}.*{message}"):
        load_stop_words(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="gone.txt cannot be read: No such file"):
        load_stop_words(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("book", "must be a list of words, got the text 'book'"),
        ([3], "got 3 in it"),
        (["a b"], "'a b' holds a space"),
        ([""], "'' is empty"),
        ([f"w{i}" for i in range(MAX_STOP_WORDS + 1)], "at most 2000 words, got 2001"),
    ],
)
def test_faulty_words_in_python_are_refused(words, message):
    with pytest.raises(UsageError, match=message):
        check_stop_words(words)


@pytest.mark.parametrize(("name", "least"), [("en", 150), ("zh", 100), ("zh_particles", 5)])
def test_our_own_lists_are_full_plain_and_without_repeats(name, least):
    words = own_list(name)
    assert len(words) >= least and list(check_stop_words(words)) == sorted(words)


def test_a_word_that_is_kept_is_no_stop_word():
    stop_words = {*own_list("en"), *own_list("zh"), *own_list("zh_particles")}
    assert not stop_words & set(own_list("zh_kept"))
