"""The rules of cleaning: each pattern (RE2 syntax) with what it does, in the order of their use.

U+0001 and U+0002 never stand in a text (the first step makes them spaces), so the steps that
cut a text into pieces use them as marks.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One replacement, done wherever the pattern matches."""

    pattern: str
    replacement: str


# Invisible characters go without a trace: soft hyphen, joiners, zero-width spaces, direction
# marks, byte order mark, variation selectors, tags of flags, the box of a keycap ("3️⃣" → "3").
INVISIBLE = Rule(
    r"[\x{AD}\x{34F}\x{61C}\x{180B}-\x{180F}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}"
    r"\x{20E3}\x{FE00}-\x{FE0F}\x{FEFF}\x{FFF9}-\x{FFFB}\x{E0000}-\x{E0FFF}]+",
    "",
)

# Characters with no meaning for a reader become a space: control characters, private use (icon
# fonts), the signs for "an object was here" and "this byte was broken", noncharacters.
_MEANINGLESS = (
    r"\x00-\x1F\x7F-\x9F\x{E000}-\x{F8FF}\x{F0000}-\x{10FFFF}"
    r"\x{FDD0}-\x{FDEF}\x{FFFC}-\x{FFFF}"
)

# Emoji become a space. Unicode's Emoji property, less what is text of its own: digits # * © ® ™
# ‼ ⁉ 〰 〽 ㊗ ㊙. Beyond U+1F000 whole blocks of pictures, flags, tiles and cards.
_EMOJI = (
    r"\x{2139}\x{2194}-\x{2199}\x{21A9}\x{21AA}\x{231A}\x{231B}\x{2328}\x{23CF}"
    r"\x{23E9}-\x{23F3}\x{23F8}-\x{23FA}\x{24C2}\x{25AA}\x{25AB}\x{25B6}\x{25C0}"
    r"\x{25FB}-\x{25FE}\x{2600}-\x{2604}\x{260E}\x{2611}\x{2614}\x{2615}\x{2618}\x{261D}\x{2620}"
    r"\x{2622}\x{2623}\x{2626}\x{262A}\x{262E}\x{262F}\x{2638}-\x{263A}\x{2640}\x{2642}"
    r"\x{2648}-\x{2653}\x{265F}\x{2660}\x{2663}\x{2665}\x{2666}\x{2668}\x{267B}\x{267E}\x{267F}"
    r"\x{2692}-\x{2697}\x{2699}\x{269B}\x{269C}\x{26A0}\x{26A1}\x{26A7}\x{26AA}\x{26AB}"
    r"\x{26B0}\x{26B1}\x{26BD}\x{26BE}\x{26C4}\x{26C5}\x{26C8}\x{26CE}\x{26CF}\x{26D1}\x{26D3}"
    r"\x{26D4}\x{26E9}\x{26EA}\x{26F0}-\x{26F5}\x{26F7}-\x{26FA}\x{26FD}\x{2702}\x{2705}"
    r"\x{2708}-\x{270D}\x{270F}\x{2712}\x{2714}\x{2716}\x{271D}\x{2721}\x{2728}\x{2733}\x{2734}"
    r"\x{2744}\x{2747}\x{274C}\x{274E}\x{2753}-\x{2755}\x{2757}\x{2763}\x{2764}\x{2795}-\x{2797}"
    r"\x{27A1}\x{27B0}\x{27BF}\x{2934}\x{2935}\x{2B05}-\x{2B07}\x{2B1B}\x{2B1C}\x{2B50}\x{2B55}"
    r"\x{1F000}-\x{1F0FF}\x{1F170}\x{1F171}\x{1F17E}\x{1F17F}\x{1F18E}\x{1F191}-\x{1F19A}"
    r"\x{1F1E6}-\x{1F202}\x{1F21A}\x{1F22F}\x{1F232}-\x{1F23A}\x{1F250}\x{1F251}"
    r"\x{1F300}-\x{1FAFF}"
)
MEANINGLESS_OR_EMOJI = Rule(f"[{_MEANINGLESS}{_EMOJI}]+", " ")

# What compatibility normalisation (NFKC) may not touch, since it would change how a text reads:
# full-width sentence punctuation and brackets ！（），．：；＜＞？［］｛｝～, … and ‥, ™ and ℠,
# fractions ("3½" would be "31⁄2"), raised and lowered digits ("10²" would be "102"), and the
# spacing accents, which would fall apart into a space and a loose accent ("don´t", "(￣▽￣)").
UNTOUCHED_BY_NFKC = (
    r"([\x{FF01}\x{FF08}\x{FF09}\x{FF0C}\x{FF0E}\x{FF1A}\x{FF1B}\x{FF1C}\x{FF1E}\x{FF1F}"
    r"\x{FF3B}\x{FF3D}\x{FF5B}\x{FF5D}\x{FF5E}\x{2025}\x{2026}\x{2120}\x{2122}"
    r"\x{BC}-\x{BE}\x{2150}-\x{215F}\x{2189}\x{B2}\x{B3}\x{B9}\x{2070}\x{2074}-\x{2079}"
    r"\x{2080}-\x{2089}\x{A8}\x{AF}\x{B4}\x{B8}\x{2D8}-\x{2DD}\x{37A}\x{384}\x{385}\x{2017}"
    r"\x{203E}\x{1FBD}\x{1FBF}-\x{1FC1}\x{1FCD}-\x{1FCF}\x{1FDD}-\x{1FDF}\x{1FED}-\x{1FEF}"
    r"\x{1FFD}\x{1FFE}\x{FE49}-\x{FE4F}\x{FFE3}\x{FC5E}-\x{FC63}\x{FE70}-\x{FE7F}]+)"
)

# One HTML entity with its semicolon, by number or by one of the 253 names of HTML 4 and XML.
HTML_ENTITY = r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,7});"

_INLINE = (
    "abbr|acronym|a|bdi|bdo|big|b|cite|code|data|del|dfn|em|font|ins|i|kbd|mark|nobr|q|"
    "rp|rt|ruby|samp|small|span|strike|strong|sub|sup|s|time|tt|u|var|wbr"
)
_BLOCK = (
    "address|article|aside|audio|base|blockquote|body|br|button|canvas|caption|center|col|"
    "colgroup|datalist|dd|details|dialog|dir|div|dl|dt|embed|fieldset|figcaption|figure|footer|"
    "form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hgroup|hr|html|iframe|img|input|label|"
    "legend|li|link|main|map|menu|meta|meter|nav|noscript|object|ol|optgroup|option|output|p|"
    "param|picture|pre|progress|script|section|select|source|style|summary|svg|table|tbody|td|"
    "template|textarea|tfoot|th|thead|title|tr|track|ul|video"
)

HTML_RULES = (
    # Comments, scripts and style sheets go with what is in them.
    Rule(
        r"(?is)<!--.*?-->|<script(?:\s[^<>]*)?>.*?</script\s*>|<style(?:\s[^<>]*)?>.*?</style\s*>",
        " ",
    ),
    # Tags inside a line go without a trace, as a browser shows it: "<b>D</b>une" is "Dune".
    # Only elements that HTML has: "<Dune>" and "a < b" are text.
    Rule(rf"(?i)</?(?:{_INLINE})(?:[\s/][^<>]*)?>", ""),
    # Tags that end a line, a cell or a paragraph, and declarations, become a space.
    Rule(rf"(?i)</?(?:{_BLOCK})(?:[\s/][^<>]*)?>|<[!?][A-Za-z\[][^<>]*>", " "),
)

# Addresses become a space: http, https or ftp, or "www.", then what may stand in a URL (ASCII
# only, so Chinese text may follow at once); a full stop or bracket at the end is the sentence's.
URL = Rule(
    r"(?i)\b(?:(?:https?|ftp)://|www\.)[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*[A-Za-z0-9/_~#=&%+$@*-]",
    " ",
)

TITLE_MARK_RULES = (
    # 《》〈〉「」『』 go, what they hold stays. A Latin letter or digit outside them is kept apart
    # from it by a space ("read《Dune》now").
    Rule(r"([A-Za-z0-9])[《〈「『]+", r"\1 "),
    Rule(r"[》〉」』]+([A-Za-z0-9])", r" \1"),
    Rule(r"[《》〈〉「」『』]+", ""),
)

# White space of any kind and length becomes one space; none stands at either end.
WHITE_SPACE_RULES = (Rule(r"[\s\p{Z}]+", " "), Rule(r"^ | $", ""))

# A numeral-classifier phrase of a work goes from the start of a text: 一本, 一部, 这是一本, 有一套.
# Only 一 with a classifier of works; 一个, 一种 and other numerals stay (一个人的朝圣, 三部曲), and
# so do words that begin alike (一部分, 一本正经).
LEADING_CLASSIFIER = Rule(
    r"^(一部分|一本正经|一本万利|一本通|一张一弛|一套一套)|"
    r"^(?:[这這那它]?就?是|[这這那有])?一[本部篇首套册冊卷款档檔张張] ?",
    r"\1",
)

WORD_MARK_RULES = (
    # The many forms of the apostrophe and the hyphen become ' and -.
    Rule("[‘’ʼ´`′]", "'"),
    Rule("[‐−]", "-"),
    # All other punctuation and all symbols separate words.
    Rule(r"(?:[^\P{P}'\-]|\p{S})+", " "),
    # ' and - belong to a word of an alphabet, not to Chinese.
    Rule(r"(\p{Han})['\-]+", r"\1 "),
    Rule(r"['\-]+(\p{Han})", r" \1"),
)

# RE2 cannot look around, so tokens stand between two spaces, one of which each takes with it.
DOUBLE_SPACE = Rule(r" +", "  ")

TOKEN_RULES = (
    # ' and - stay only inside a word (don't, catch-22), one at a time.
    Rule(r" ['\-]+|['\-]+ |['\-]{2,}", "  "),
    # Numbers that stand free go; those that touch a letter or a Chinese character stay.
    Rule(r" \p{Nd}+(?:['\-]\p{Nd}+)* ", ""),
)
