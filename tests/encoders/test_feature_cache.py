import hashlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tfrec_llm.encoders import feature_cache
from tfrec_llm.encoders.feature_cache import FeatureCache, cached_features, default_folder
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import CorruptFileError, UsageError

TEXTS = [f"love story {number} of the king" for number in range(50)]


class Counted:
    """An encoder that remembers what it was asked to encode."""

    def __init__(self, encoder):
        self.encoder, self.dim, self.fingerprint = encoder, encoder.dim, encoder.fingerprint
        self.num_tokens = encoder.num_tokens
        self.seen = []

    def encode(self, texts, **options):
        self.seen += texts
        return self.encoder.encode(texts, **options)


@pytest.fixture
def encoder(tiny_encoder):
    return Counted(tiny_encoder)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(feature_cache, "BLOCK_TEXTS", 20)


def blocks(folder, pattern="block-*.npy"):
    return sorted(folder.rglob(pattern))


def test_vectors_are_those_of_the_encoder(encoder, tmp_path, small_blocks):
    features = cached_features(encoder, TEXTS, tmp_path)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, encoder.encoder.encode(TEXTS), atol=1e-5)
    assert len(blocks(tmp_path)) == 3


def test_a_second_call_encodes_nothing_and_gives_the_same_bits(encoder, tmp_path):
    first = cached_features(encoder, TEXTS, tmp_path)
    encoder.seen.clear()
    second = FeatureCache(tmp_path).features(encoder, TEXTS[::-1])
    assert encoder.seen == [] and np.array_equal(second, first[::-1])


def test_token_vectors_are_kept_at_the_width_of_their_texts(tiny_encoder, tmp_path, small_blocks):
    encoder = Counted(tiny_encoder.token_encoder(12))
    texts = ["sea", *TEXTS, "the man is eating food by the old river in the young city"]
    told = []

    class Listener:
        def message(self, text):
            told.append(text)

        def advance(self, *_):
            pass

    features = FeatureCache(tmp_path).features(encoder, texts, progress=Listener())
    assert features.dtype == np.float16 and features.shape == (len(texts), 12, tiny_encoder.dim)
    assert "52 texts × at most 12 tokens × 16 in float16, up to 0.00 GB" in told[0]
    assert features.any(axis=2).sum(axis=1)[[0, -1]].tolist() == [3, 12]  # start, word, end
    assert {np.load(block).shape[1] for block in blocks(tmp_path)} != {12}
    encoder.seen.clear()
    again = FeatureCache(tmp_path).features(encoder, texts[:1])
    assert encoder.seen == [] and np.array_equal(again[0], features[0, : again.shape[1]])


def test_only_new_texts_are_encoded_and_each_once(encoder, tmp_path):
    cached_features(encoder, TEXTS[:3], tmp_path)
    encoder.seen.clear()
    features = cached_features(encoder, ["war", TEXTS[1], "sea", "war"], tmp_path)
    assert encoder.seen == ["war", "sea"]
    assert np.array_equal(features[0], features[3])


def test_no_texts_need_no_folder(encoder, tmp_path):
    assert cached_features(encoder, [], tmp_path / "none").shape == (0, encoder.dim)
    assert not (tmp_path / "none").exists()


def test_empty_and_odd_texts_have_their_places(encoder, tmp_path):
    texts = ["", " ", "三体", "\ud800", "a\x00b", "a"]
    np.testing.assert_allclose(
        cached_features(encoder, texts, tmp_path), encoder.encoder.encode(texts), atol=1e-5
    )


def test_another_encoder_has_vectors_of_its_own(encoder, tiny_folder, tmp_path):
    cached_features(encoder, TEXTS[:3], tmp_path)
    other = Counted(TextEncoder.from_preset(tiny_folder, max_tokens=4))
    features = cached_features(other, TEXTS[:3], tmp_path)
    assert other.seen == TEXTS[:3]
    np.testing.assert_allclose(features, other.encoder.encode(TEXTS[:3]), atol=1e-5)


def test_progress_counts_all_missing_texts(encoder, tmp_path, small_blocks):
    heard = []

    class Listener:
        def message(self, text):
            heard.append(text)

        def advance(self, task, done, total, note=""):
            heard.append((done, total))

    cached_features(encoder, TEXTS[:10], tmp_path)
    cached_features(encoder, TEXTS, tmp_path, Listener(), batch_size=20)
    assert heard == ["10 texts are in the cache, 40 are to be encoded", (20, 40), (40, 40)]


def test_what_was_finished_before_an_error_is_kept(encoder, tmp_path, small_blocks, monkeypatch):
    encode = encoder.encode

    def fails_at_the_third_block(texts, **options):
        if len(encoder.seen) == 40:
            raise RuntimeError("power cut")
        return encode(texts, **options)

    monkeypatch.setattr(encoder, "encode", fails_at_the_third_block)
    with pytest.raises(RuntimeError, match="power cut"):
        cached_features(encoder, TEXTS, tmp_path)
    monkeypatch.setattr(encoder, "encode", encode)
    encoder.seen.clear()
    cached_features(encoder, TEXTS, tmp_path)
    assert encoder.seen == TEXTS[40:]


@pytest.mark.parametrize("suffix", [".npy", ".keys"])
@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_flipped_byte_is_told_and_never_served(encoder, tmp_path, suffix, place):
    cached_features(encoder, TEXTS, tmp_path)
    (path,) = blocks(tmp_path, f"block-*{suffix}")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=f"{path} no longer holds .* Delete block-000000"):
        cached_features(encoder, TEXTS, tmp_path)


@pytest.mark.parametrize("suffix", [".npy", ".keys"])
@pytest.mark.parametrize("kept_bytes", [0, 10, 64, 1000])
def test_a_cut_file_is_told(encoder, tmp_path, suffix, kept_bytes):
    cached_features(encoder, TEXTS, tmp_path)
    (path,) = blocks(tmp_path, f"block-*{suffix}")
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CorruptFileError, match=f"{path} no longer holds"):
        cached_features(encoder, TEXTS, tmp_path)


def test_vectors_that_were_taken_away_are_told(encoder, tmp_path):
    cached_features(encoder, TEXTS, tmp_path)
    blocks(tmp_path)[0].unlink()
    with pytest.raises(CorruptFileError, match="Delete block-000000.npy and block-000000.keys"):
        cached_features(encoder, TEXTS, tmp_path)


def test_a_deleted_block_is_encoded_again(encoder, tmp_path, small_blocks):
    expected = cached_features(encoder, TEXTS, tmp_path)
    for path in blocks(tmp_path, "block-000001.*"):
        path.unlink()
    encoder.seen.clear()
    np.testing.assert_allclose(cached_features(encoder, TEXTS, tmp_path), expected, atol=1e-5)
    assert encoder.seen == TEXTS[20:40]


def test_a_folder_that_cannot_be_written_is_told(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written: .* or name another folder in encoder"):
        cached_features(encoder, TEXTS, tmp_path / "file" / "cache")
    assert encoder.seen == []


def test_the_default_folder_can_be_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here"
    monkeypatch.delenv("TFREC_LLM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "tfrec_llm" / "features"


_CHILD = """
import hashlib, sys, time
from tfrec_llm.encoders import feature_cache
from tfrec_llm.encoders.text_encoder import TextEncoder

preset, cache, seconds_a_block = sys.argv[1], sys.argv[2], float(sys.argv[3])
feature_cache.BLOCK_TEXTS = 20
encoder = TextEncoder.from_preset(preset, max_tokens=16)
encode, seen = encoder.encode, []

def slow(texts, **options):
    time.sleep(seconds_a_block)
    seen.extend(texts)
    return encode(texts, **options)

encoder.encode = slow
print("ready", flush=True)
sys.stdin.readline()
texts = [f"love story {number} of the king" for number in range(200)]
features = feature_cache.cached_features(encoder, texts, cache)
print(len(seen), hashlib.sha256(features).hexdigest(), flush=True)
"""
ALL = [f"love story {number} of the king" for number in range(200)]


def start_child(preset, cache, seconds_a_block):
    command = [sys.executable, "-c", _CHILD, str(preset), str(cache), str(seconds_a_block)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def let_go(*children):
    assert [child.stdout.readline() for child in children] == ["ready\n"] * len(children)
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()


@pytest.mark.slow
def test_a_killed_run_keeps_its_blocks_and_is_resumed(encoder, tiny_folder, tmp_path):
    child = start_child(tiny_folder, tmp_path, 0.2)
    let_go(child)
    while len(blocks(tmp_path, "block-*.keys")) < 3:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    finished = len(blocks(tmp_path, "block-*.keys"))
    assert 3 <= finished < 10
    # As if it was killed in the middle of writing, too.
    folder = blocks(tmp_path, "block-*.keys")[0].parent
    (folder / f"block-{finished:06d}.npy").write_bytes(b"vectors whose keys were never written")
    (folder / f".block-{finished:06d}.keys.1.tmp.keys").write_bytes(b"half")
    features = cached_features(encoder, ALL, tmp_path)
    assert encoder.seen == ALL[20 * finished :]
    np.testing.assert_allclose(features, encoder.encoder.encode(ALL), atol=1e-5)
    assert not list(folder.glob(".block-*"))


@pytest.mark.slow
def test_two_processes_share_the_work_and_the_result(encoder, tiny_folder, tmp_path):
    children = [start_child(tiny_folder, tmp_path, 0.05) for _ in range(2)]
    let_go(*children)
    answers = [child.communicate()[0].split() for child in children]
    assert sorted(int(num_encoded) for num_encoded, _ in answers) == [0, len(ALL)]
    features = cached_features(encoder, ALL, tmp_path)
    assert {digest for _, digest in answers} == {hashlib.sha256(features).hexdigest()}
    assert encoder.seen == []
