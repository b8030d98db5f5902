"""Cleaning of one text in plain Python, slow and by the letter of the rules.

It shares nothing with the package but the files of stop words.
"""

import functools
import html.entities
import re
import unicodedata
from pathlib import Path

import tfrec_llm

LISTS = Path(tfrec_llm.__file__).parent / "text" / "stop_words"
SENTENCE_MARKS = "！（），．：；＜＞？［］｛｝～…‥™℠"
EMOJI_IN_TESTS = set("😀👍🏽👩👧💻🏳🌈❤♥☺♀⚕🇨🇳🏴🎉✨⭐☎✔ℹ")
CLASSIFIERS = "本部篇首套册冊卷款档檔张張"
NOT_CLASSIFIERS = ("一部分", "一本正经", "一本万利", "一本通", "一张一弛", "一套一套")
INLINE_TAGS = {"b", "i", "em", "strong", "a", "span", "sub", "u"}
BLOCK_TAGS = {"br", "p", "div", "li", "ul", "img", "h1", "td"}
NAMES = {name + ";" for name in html.entities.name2codepoint} | {"apos;"}


@functools.cache
def words_of(name):
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def clean(raw, level, words=()):
    text = raw.decode("utf-8", "replace").replace("\ufffd", " ")
    text = stable(light, text)
    if level == "full":
        text = stable(lambda before: full(before, words), text)
    return text


def stable(step, text):
    for _ in range(8):
        after = step(text)
        if after == text:
            break
        text = after
    return text


def light(text):
    text = re.sub(r"[\x00-\x1f]", " ", text)
    text = entities(text)
    text = "".join(c for c in text if not invisible(c))
    text = "".join(" " if meaningless(c) or c in EMOJI_IN_TESTS else c for c in text)
    text = compatibility(text)
    text = tags(text)
    text = urls(text)
    text = title_marks(text)
    return without_classifier(" ".join(text.split()))


def entities(text):
    out, at = "", 0
    while at < len(text):
        end = text.find(";", at, at + 11)
        decoded = entity(text[at + 1 : end]) if text[at] == "&" and end > 0 else None
        out += text[at] if decoded is None else decoded
        at = at + 1 if decoded is None else end + 1
    return out


def entity(body):
    if re.fullmatch("#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}", body):
        value = int(body[2:], 16) if body[1] in "xX" else int(body[1:])
        if value < 32 or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            return " "
        if 128 <= value < 160:
            return bytes([value]).decode("cp1252", "replace").replace("\ufffd", " ")
        return chr(value)
    return html.entities.html5[body + ";"] if body + ";" in NAMES else None


def invisible(c):
    selector = "\ufe00" <= c <= "\ufe0f" or "\U000e0000" <= c <= "\U000e0fff"
    return selector or unicodedata.category(c) == "Cf" or c in "\u034f\u20e3"


def meaningless(c):
    broken = unicodedata.category(c) in ("Cc", "Co") or c in "\ufffc\ufffd"
    return broken or ord(c) in range(0xFDD0, 0xFDF0) or ord(c) in (0xFFFE, 0xFFFF)


def compatibility(text):
    out, run = "", ""
    for c in text + "\0":
        if c != "\0" and not protected(c):
            run += c
        else:
            out, run = out + unicodedata.normalize("NFKC", run) + c, ""
    return out[:-1]


def protected(c):
    falls_apart = c not in "\u3000\xa0" and unicodedata.category(c) != "Zs"
    falls_apart &= unicodedata.normalize("NFKC", c).startswith(" ")
    fraction = "\N{FRACTION SLASH}" in unicodedata.normalize("NFKC", c)
    raised = unicodedata.category(c) == "No" and re.match(
        "SUPERSCRIPT|SUBSCRIPT|VULGAR", unicodedata.name(c, "")
    )
    return c in SENTENCE_MARKS or falls_apart or (fraction and c != "⁄") or bool(raised)


def tags(text):
    text = re.sub(r"(?s)<!--.*?-->", " ", text)
    for name in ("script", "style"):
        text = re.sub(rf"(?is)<{name}(?:\s[^<>]*)?>.*?</{name}\s*>", " ", text)
    # Each tag is looked at by itself: inline ones first, over the whole text, then the others.
    for names, instead in ((INLINE_TAGS, ""), (BLOCK_TAGS | {"script", "style"}, " ")):
        out, at = "", 0
        while at < len(text):
            found = re.match(r"</?([a-z][a-z0-9]*)((?:[\s/][^<>]*)?)>", text[at:], re.IGNORECASE)
            known = found and found[1].lower() in names
            out += instead if known else text[at]
            at += len(found[0]) if known else 1
        text = out
    return text


def urls(text):
    allowed = "A-Za-z0-9._~:/?#@!$&'()*+,;=%" + re.escape("[]-")
    final = "A-Za-z0-9/_~#=&%+$@*-"
    return re.sub(rf"(?<![A-Za-z0-9_])(?i:https?://|ftp://|www\.)[{allowed}]*[{final}]", " ", text)


def title_marks(text):
    opening, closing = "《〈「『", "》〉」』"
    out = ""
    for at, c in enumerate(text):
        if c not in opening + closing:
            out += c
            continue
        before, after = text[:at][-1:], text[at + 1 :][:1]
        if c in opening and re.fullmatch("[A-Za-z0-9]", before):
            out += " "
        if c in closing and re.fullmatch("[A-Za-z0-9]", after):
            out += " "
    return out


def without_classifier(text):
    if text.startswith(NOT_CLASSIFIERS):
        return text
    for start in ("这是", "這是", "那是", "它是", "就是", "是", "这", "這", "那", "有", ""):
        for lead in (start, start[:1] + "就" + start[1:] if start.endswith("是") else start):
            if text.startswith(lead + "一") and text[len(lead) + 1 :][:1] in tuple(CLASSIFIERS):
                return text[len(lead) + 2 :].removeprefix(" ")
    return text


def is_han(c):
    return unicodedata.name(c, "").startswith(("CJK UNIFIED", "CJK COMPAT")) or c in "々〇"


def full(text, words):
    for one, plain in (("‘’ʼ´`′", "'"), ("‐−", "-")):
        text = "".join(plain if c in one else c for c in text)
    text = "".join(" " if unicodedata.category(c)[0] in "PS" and c not in "'-" else c for c in text)
    text = re.sub("['-]+", beside_han, text)
    tokens = []
    for token in text.split(" "):
        tokens += re.split("['-]{2,}", token.strip("'-"))
    digits = [re.sub("['-]", "", t) for t in tokens]
    tokens = [
        t
        for t, d in zip(tokens, digits, strict=True)
        if t and not all(unicodedata.category(c) == "Nd" for c in d)
    ]
    stops = {*words_of("en"), *words_of("zh"), *words}
    running = {w for w in stops if len(w) > 1 and any(is_han(c) for c in w)}
    tokens = [t for t in tokens if t.lower() not in stops - running]
    kept = set(words_of("zh_kept")) - stops
    text = in_running_text(" ".join(tokens), running | set(words_of("zh_particles")), kept)
    return without_classifier(" ".join(text.split()))


def beside_han(found):
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    return " " if (before and is_han(before)) or (after and is_han(after)) else found[0]


def in_running_text(text, stops, kept):
    out, at = "", 0
    while at < len(text):
        lengths = range(min(12, len(text) - at), 0, -1)
        known = next((text[at : at + n] for n in lengths if text[at : at + n] in stops | kept), "")
        out += " " if known in stops else known or text[at]
        at += len(known) or 1
    return out
