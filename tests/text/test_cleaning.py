import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.text import CLEANING_LEVELS, clean_text
from tfrec_llm.text.cleaning import cleaning_sha256


def clean(text, level, **options):
    return clean_text(tf.constant([text]), level=level, **options).numpy()[0].decode()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("喜欢阅读科幻小说，最近在追《三体》", "喜欢阅读科幻小说，最近在追三体"),
        ("一本关于宇宙和科学探索的科幻小说", "关于宇宙和科学探索的科幻小说"),
        ("一本关于人工智能的科幻小说", "关于人工智能的科幻小说"),
    ],
)
def test_the_worked_example_is_cleaned_as_printed(text, cleaned):
    assert clean(text, "light") == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        # forms
        ("Ｄｕｎｅ　２ ﬁ ㎏ ｶﾞ", "Dune 2 fi kg ガ"),
        ("好，好。好！好？好：好；（好）～…", "好，好。好！好？好：好；（好）～…"),
        ("Dune™ 10² 3½ don´t (￣▽￣)", "Dune™ 10² 3½ don´t (￣▽￣)"),
        ("繁體字 简体字", "繁體字 简体字"),
        # HTML
        ("<p>One</p><p>T<b>w</b>o</p>", "One Two"),
        ('a<!-- <b> -->b<script>x < y</script>c<a href="u">d</a>', "a b cd"),
        ("<Dune> a < b <3", "<Dune> a < b <3"),
        (
            "Q&amp;A &quot;x&quot; &#39;y&#x27; &#146; caf&eacute; a&nbsp;b",
            "Q&A \"x\" 'y' ’ café a b",
        ),
        ("AT&T &bogus; &#0; &#xD800; &#9999999;", "AT&T &bogus;"),
        ("&amp;lt;b&amp;gt;twice&amp;lt;/b&amp;gt;", "twice"),
        # addresses
        ("see http://a.com/b?c=d.", "see ."),
        ("看https://a.com/b喜欢", "看 喜欢"),
        ("www.x.org and HTTPS://X.ORG/y", "and"),
        ("node.js, a.b and www alone", "node.js, a.b and www alone"),
        # emoji and what is none
        ("a👩\u200d👩\u200d👧b 👍🏽 🇨🇳 ❤\ufe0f", "a b"),
        ("🏴\U000e0067\U000e0062\U000e007f x", "x"),
        ("© ® ™ # * 0-9 → ★ ♯", "© ® ™ # * 0-9 → ★ ♯"),
        ("3\ufe0f\u20e3 #\ufe0f\u20e3 ©\ufe0f", "3 # ©"),
        # invisible and control characters
        ("三\u200b体 so\u00adft \ufeffx", "三体 soft x"),
        ("a\x00b\x07c\td\ne\x85f\ue000g\ufffdh", "a b c d e f g h"),
        # title marks
        ("《三体》「三体」『三体』〈三体〉", "三体三体三体三体"),
        ("read《Dune》now, 【正版】“x”", "read Dune now, 【正版】“x”"),
        # classifier phrases
        ("这是一本小说", "小说"),
        ("就是一部 电影", "电影"),
        ("有一套丛书", "丛书"),
        ("一部分人", "一部分人"),
        ("一本正经", "一本正经"),
        ("一个人的朝圣", "一个人的朝圣"),
        ("三部曲", "三部曲"),
        ("我有一本书", "我有一本书"),
        ("一本本格推理", "本格推理"),
        # white space
        (" \t a \u3000\xa0 b\u2028", "a b"),
    ],
)
def test_light(text, cleaned):
    assert clean(text, "light") == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        # English
        ("I don’t think IT'S the best!", "think best"),
        ("The Lord of the Rings", "Lord Rings"),
        ("theme another-the it'sy", "theme another-the it'sy"),
        ("O'Brien's 'quoted' sci-fi -- x", "O'Brien's quoted sci-fi x"),
        ("C++ and C#, $5", "C C"),
        # numbers
        ("catch-22", "catch-22"),
        ("catch 22", "catch"),
        ("1984", ""),
        ("1 2 3 3.14 1,000 1999-2004 50% ٣", ""),
        ("mp3 4k 2nd H2O", "mp3 4k 2nd H2O"),
        ("三体 三体2 2021年 第3部", "三体 三体2 2021年 第3部"),
        ("三体 2", "三体"),
        # Chinese
        ("宇宙的奥秘", "宇宙 奥秘"),
        ("目的和标的", "目的和标的"),
        ("项目的进展", "项目 进展"),
        ("目的地的的士", "目的地 的士"),
        ("了解了三体", "了解 三体"),
        ("因为基因为王", "基因为王"),
        ("我们喜欢一个人的朝圣", "喜欢一个人 朝圣"),
        ("和平，存在，我，在，书", "和平 存在 书"),
        ("最近在追《三体》！", "最近在追三体"),
        ("這個 為什麼", ""),
        # mixed
        ("IT行业 维生素A 卡拉OK", "IT行业 维生素A 卡拉OK"),
        ("喜欢 the 三体 and Dune", "喜欢 三体 Dune"),
        ("三体-黑暗森林 三体's", "三体 黑暗森林 三体 s"),
        ("&amp;lt;b&amp;gt;x", "x"),
        ("的一本小说", "小说"),
    ],
)
def test_full(text, cleaned):
    assert clean(text, "full") == cleaned


def test_none_leaves_every_byte():
    texts = [b"", b"\xff <b>\x00 ", "《三体》".encode()]
    assert clean_text(tf.constant(texts), level="none").numpy().tolist() == texts


def test_words_of_the_user_go_too():
    words = ["Novel", "小说", "目的", "书", "Ｄｕｎｅ", "rock’n’roll"]
    text = "a NOVEL novels 小说家 目的论 书店 书 dune rock'n'roll"
    assert clean(text, "full", stop_words=words) == "novels 家 论 书店"


def test_of_two_stop_words_the_longer_one_goes():
    assert clean("三体问题集", "full", stop_words=["三体", "三体问题"]) == "集"


@pytest.mark.parametrize("level", CLEANING_LEVELS)
@pytest.mark.parametrize("shape", [(), (0,), (2,), (2, 1, 3), (0, 3)])
def test_the_shape_is_kept(level, shape):
    texts = np.full(shape, "a <b>b</b>", dtype=object)
    cleaned = clean_text(tf.constant(texts, tf.string, shape), level=level)
    assert cleaned.shape == shape and cleaned.dtype == tf.string


@pytest.mark.parametrize("level", CLEANING_LEVELS)
def test_empty_texts_stay_empty(level):
    assert clean("", level) == ""


@pytest.mark.parametrize("level", ["light", "full"])
def test_bytes_that_are_no_utf8_count_as_spaces(level):
    texts = tf.constant([b"x\xff\xfey", b"\xe4\xb8", b"\xed\xa0\x80z"])
    assert clean_text(texts, level=level).numpy().tolist() == [b"x y", b"", b"z"]


UNITS = "< & &amp; <!-- <script> &#38;#38; http:// a' 的 《 <b".split()


@pytest.mark.parametrize("unit", [*UNITS, "1 "])
def test_a_long_text_takes_no_more_than_its_length(unit):
    texts = tf.constant([unit * (200_000 // len(unit))])
    start = time.process_time()
    clean_text(texts, level="full")
    assert time.process_time() - start < 20


def test_an_unknown_level_is_refused():
    with pytest.raises(UsageError, match="`clean` must be one of none, light, full, got 'hard'"):
        clean_text(tf.constant([""]), level="hard")


@pytest.mark.parametrize("level", ["none", "light"])
def test_stop_words_without_the_level_that_drops_them_are_refused(level):
    with pytest.raises(UsageError, match=f"by the level full only, but `clean` is '{level}'"):
        clean_text(tf.constant([""]), level=level, stop_words=["book"])


def test_the_digest_follows_level_and_words():
    digests = {cleaning_sha256(level) for level in CLEANING_LEVELS}
    digests |= {cleaning_sha256("full", ["book"]), cleaning_sha256("full", ["小说"])}
    assert len(digests) == 5
    assert cleaning_sha256("full", ["b", "A"]) == cleaning_sha256("full", ["a", "b", "B"])


SERVE = """
import sys, tensorflow as tf, tensorflow_text
module = tf.saved_model.load(sys.argv[1])
for text in module.clean(tf.constant(sys.argv[2:])).numpy():
    sys.stdout.buffer.write(text + b"\\n")
"""


@pytest.mark.slow
def test_a_saved_model_cleans_the_same_in_a_fresh_process(tmp_path):
    texts = ["一本关于《三体》的 <b>Ｂook</b> &#x4e09;😀", "don't see http://a.com catch-22 22", ""]
    module = tf.Module()
    module.clean = tf.function(
        lambda x: clean_text(x, level="full", stop_words=["book"]),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    options = tf.saved_model.SaveOptions(namespace_whitelist=["TFText"])
    tf.saved_model.save(module, str(tmp_path / "m"), options=options)
    served = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path / "m"), *texts],
        capture_output=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ).stdout.decode()
    expected = [text.decode() for text in module.clean(tf.constant(texts)).numpy()]
    assert served.split("\n")[:3] == expected == ["三体 三", "see catch-22", ""]


def test_importing_the_folder_loads_no_tensorflow():
    code = "import sys, tfrec_llm.text; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_are_what_they_say():
    import tfrec_llm.text.cleaning
    import tfrec_llm.text.stop_words

    assert callable(tfrec_llm.text.clean_text) and callable(tfrec_llm.text.load_stop_words)
    assert set(tfrec_llm.text.__all__) <= set(dir(tfrec_llm.text))
    with pytest.raises(AttributeError, match="has no attribute 'polish'"):
        _ = tfrec_llm.text.polish
