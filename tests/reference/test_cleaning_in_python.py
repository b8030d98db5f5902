"""The cleaning in the graph against the plain Python one, on mixed texts."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.keras_api import tf
from tfrec_llm.text import clean_text

SPEC = importlib.util.spec_from_file_location(
    "python_cleaning", Path(__file__).with_name("python_cleaning.py")
)
REFERENCE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(REFERENCE)

ENGLISH = "the The of don't Don’t it's IT A I book Dune catch-22 O'Brien mp3 C++ C# U.S. sci-fi"
CHINESE = (
    "三体 的 目的 项目的 了 了解 喜欢 科幻小说 我们 一个人 因为 因此 基因 为 其中 尤其中国 和平 "
    "和 我 一本 一部 一部分 一本正经 这是一本 就是一本 这就是一部 有一套 一個 關於 关于 宇宙 "
    "刘慈欣 首都是 IT行业"
)
MARKS = (
    "， 。 ！ ？ 、 … 《 》 〈 〉 「 」 『 』 “ ” , . ! ? - -- ' '' ’ ( ) / # * & < > ; ™ © _ ½ ²"
)
HTML = (
    "<b> </b> <p> </p> <br/> <br> <Dune> <!-- --> <script> </script> <a_href> </a> &amp; &lt; &gt; "
    "&#39; &#x4e09; &#146; &#0; &#1114112; &#xD800; &nbsp; &bogus; &hearts; lt; amp; #60; < b>"
)
URLS = "http://a.com/b?c=d https://三体.cn/x www.x.org/y. ftp://h http:// HTTPS://A.B xhttp://q"
EMOJI = (
    "😀 👍🏽 👩\u200d💻 🏳\ufe0f\u200d🌈 ❤\ufe0f ☺ 🇨🇳 3\ufe0f\u20e3 #\ufe0f\u20e3 ✨ ⭐ "
    "👩\u200d⚕\ufe0f ℹ\ufe0f ©\ufe0f"
)
FORMS = "Ｄｕｎｅ １２ ： ； ﬁ ㎏ ｶ ﾞ ① Ⅲ 10² 3½ ´ ￣ 　 e \u0301 ﹐ ＜ ｂ ＞ ＆ ﹁ ﹂"
SPACES = [*" \t\n\xa0\u200b\u200d\ufeff\x00\x01\x02\x85", "  "]
OTHERS = [*"\ue000\ufffd\ufffe\u2028éßяか٣1", "22", "3-4", "2021"]

PIECES = [*SPACES, *OTHERS]
for group in (ENGLISH, CHINESE, MARKS, HTML, URLS, EMOJI, FORMS):
    PIECES += group.split(" ")
MIXED = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
SPACED = st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)
LETTERS = st.text(st.sampled_from("ab'1- &#;lt<>/三的一本了解《》.,，"), max_size=20)
BROKEN = st.binary(max_size=12).map(lambda raw: raw.replace(b"\xf0", b" "))
TEXTS = (MIXED | SPACED | LETTERS).map(lambda text: text.encode())
BATCHES = st.lists(TEXTS | BROKEN, min_size=1, max_size=5)

IN_GRAPH = {
    level: tf.function(
        lambda texts, level=level: clean_text(texts, level=level),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    for level in ("light", "full")
}


def in_graph(texts, level):
    return IN_GRAPH[level](tf.constant(texts, tf.string)).numpy().tolist()


@pytest.mark.parametrize("level", ["light", "full"])
@settings(max_examples=120, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_the_graph_cleans_as_plain_python_does(level, texts):
    expected = [REFERENCE.clean(text, level) for text in texts]
    assert [text.decode() for text in in_graph(texts, level)] == expected


@pytest.mark.parametrize("level", ["light", "full"])
@settings(max_examples=60, deadline=None)
@given(texts=BATCHES)
def test_cleaning_again_changes_nothing(level, texts):
    once = in_graph(texts, level)
    assert in_graph(once, level) == once


@pytest.mark.parametrize("level", ["light", "full"])
@settings(max_examples=60, deadline=None)
@given(texts=BATCHES)
def test_a_text_is_cleaned_alone_as_in_a_batch(level, texts):
    assert [in_graph([text], level)[0] for text in texts] == in_graph(texts, level)


@pytest.mark.parametrize("level", ["light", "full"])
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_any_bytes_give_utf8_with_single_spaces_inside(level, texts):
    for cleaned in in_graph(texts, level):
        text = cleaned.decode("utf-8")
        assert text == " ".join(text.split())
