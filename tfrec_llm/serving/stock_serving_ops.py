"""Which ops stock TensorFlow Serving has beside those of TensorFlow itself: a table by release.

The server links a fixed list of op libraries and has no option to load more. The list is
`SUPPORTED_TENSORFLOW_OPS` in `tensorflow_serving/model_servers/BUILD` of github.com/tensorflow/
serving, and the version of each library stands in `tensorflow_serving/workspace.bzl` or `WORKSPACE`
there. As read at the tags 2.16.1, 2.17.0, 2.17.1, 2.18.0, 2.18.1, 2.19.0, 2.19.1 and 2.20.0: all of
them link `ops_lib` of tensorflow-text, up to 2.19 that of 2.12.1 whatever TensorFlow the server is
built with. They also link the inference ops of TensorFlow Decision Forests, which no export has.

The ops of each version of `ops_lib` are those of the targets in `tensorflow_text/BUILD` of
github.com/tensorflow/text at the tags v2.12.1 and v2.20.0. What is in both is registered with the
same inputs and attributes in both.
"""

from __future__ import annotations

_OPS_2_12_1 = frozenset(
    {
        "CaseFoldUTF8",
        "ConstrainedSequence",
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "FindSourceOffsets",
        "MaxSpanningTree",
        "NormalizeUTF8",
        "NormalizeUTF8WithOffsetsMap",
        "PhraseTokenize",
        "RegexSplitWithOffsets",
        "RougeL",
        "SentenceFragments",
        "SentenceFragmentsV2",
        "SentencepieceDetokenizeOp",
        "SentencepieceIdToStringOp",
        "SentencepieceOp",
        "SentencepieceStringToIdOp",
        "SentencepieceTokenizeOp",
        "SentencepieceTokenizeWithOffsetsOp",
        "SentencepieceVocabSizeOp",
        "SplitMergeTokenizeWithOffsets",
        "TFText>BoiseTagsToOffsets",
        "TFText>ByteSplitByOffsets",
        "TFText>ByteSplitWithOffsets",
        "TFText>FastSentencepieceDetokenize",
        "TFText>FastSentencepieceTokenize",
        "TFText>FastWordpieceDetokenize",
        "TFText>NgramsStringJoin",
        "TFText>OffsetsToBoiseTags",
        "TFText>PhraseDetokenize",
        "TFText>WhitespaceTokenizeWithOffsetsV2",
        "TokenizerFromLogits",
        "UnicodeScriptTokenizeWithOffsets",
        "WhitespaceTokenizeWithOffsets",
        "WordpieceTokenizeWithOffsets",
    }
)
_OPS_2_20_0 = _OPS_2_12_1 | {
    "TFText>RoundRobinGenerateMasks",
    "TFText>RoundRobinTrim",
    "TFText>Utf8Binarize",
}

# Release of TensorFlow Serving, by its first two numbers → version of tensorflow-text, its ops.
_RELEASES = {
    "2.16": ("2.12.1", _OPS_2_12_1),
    "2.17": ("2.12.1", _OPS_2_12_1),
    "2.18": ("2.12.1", _OPS_2_12_1),
    "2.19": ("2.12.1", _OPS_2_12_1),
    "2.20": ("2.20.0", _OPS_2_20_0),
}


def serving_release(tensorflow_version: str) -> str:
    """Returns the release of TensorFlow Serving that an export belongs to.

    A server of the same first two numbers as the TensorFlow that wrote the export has all of
    TensorFlow's own ops that can be in it.

    Args:
        tensorflow_version: version of the TensorFlow that wrote the export.

    Example:
        >>> serving_release("2.20.0")
        '2.20'
    """
    return ".".join(tensorflow_version.split(".")[:2])


def is_known_release(tensorflow_version: str) -> bool:
    """Returns whether the table says anything of that release; without, it has no foreign op.

    Example:
        >>> is_known_release("2.20.1"), is_known_release("1.15.0")
        (True, False)
    """
    return serving_release(tensorflow_version) in _RELEASES


def is_in_stock_serving(op: str, tensorflow_version: str) -> bool:
    """Returns whether stock TensorFlow Serving has an op that is not TensorFlow's own.

    Args:
        op: name of the op as it stands in a graph.
        tensorflow_version: version of the TensorFlow that wrote the graph.

    Example:
        >>> is_in_stock_serving("RegexSplitWithOffsets", "2.16.2")
        True
        >>> [is_in_stock_serving("TFText>RoundRobinTrim", v) for v in ("2.19.1", "2.20.0")]
        [False, True]
        >>> is_in_stock_serving("Scann>ScannSearchBatched", "2.20.0")
        False
    """
    _, ops = _RELEASES.get(serving_release(tensorflow_version), ("", frozenset[str]()))
    return op in ops
