import numpy as np
import polars as pl
import pytest

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import DataError, EncoderError, UsageError
from tfrec_llm.testing.tiny_models import tiny_preset
from tfrec_llm.workflows.encode import encode_table


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return str(tiny_preset(tmp_path_factory.mktemp("tiny_bert")))


@pytest.fixture
def run(preset, tmp_path):
    def run(content, **options):
        items = tmp_path / "items.csv"
        items.write_text(content)
        options = {"encoder": preset, "max_tokens": 16, "out": tmp_path / "v.parquet", **options}
        return encode_table(items, cache_folder=tmp_path / "cache", **options)

    return run


def test_each_item_has_the_vector_of_its_text(run, preset, tmp_path):
    summary = run("item_id,title,text\n007,War,A spy\na b,Love story,\n", batch_size=1)
    frame = pl.read_parquet(tmp_path / "v.parquet")
    assert frame["item_id"].to_list() == ["007", "a b"]
    assert frame.schema["embedding"] == pl.Array(pl.Float32, 16)
    expected = TextEncoder.from_preset(preset, max_tokens=16).encode(["War. A spy", "Love story"])
    np.testing.assert_allclose(frame["embedding"].to_numpy(), expected, atol=1e-5)
    assert (summary["items"], summary["dim"], summary["rejected_rows"]) == (2, 16, 0)
    assert summary["out"] == str(tmp_path / "v.parquet")


def test_the_columns_can_be_named(run, preset, tmp_path):
    run("id,title,plot\na,War,sea\n", item_id="id", text_columns=["plot"])
    vectors = pl.read_parquet(tmp_path / "v.parquet")["embedding"].to_numpy()
    expected = TextEncoder.from_preset(preset, max_tokens=16).encode(["sea"])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_rows_that_cannot_be_used_are_left_out_and_told(run, tmp_path):
    class Listener:
        lines = []

        def message(self, text):
            self.lines.append(text)

        def advance(self, *_):
            pass

    summary = run("item_id,title\na,War\na,Sea\nb,Love\n", progress=Listener())
    assert summary["rejected_rows"] == 1 and summary["items"] == 2
    assert pl.read_parquet(tmp_path / "v.parquet")["item_id"].to_list() == ["a", "b"]
    assert "1 rows left out" in Listener.lines[-1] and "'a'" in Listener.lines[-1]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("v.csv", "must end in .parquet"),
        ("folder.parquet", "is a folder"),
        ("items.csv/v.parquet", "items.csv is no folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(run, tmp_path, out, message):
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(UsageError, match=message):
        run("item_id,title\na,War\n", out=tmp_path / out, encoder="no such encoder")


def test_a_missing_column_is_told_before_the_encoder_is_loaded(run):
    with pytest.raises(DataError, match="no column 'item_id'"):
        run("id,title\na,War\n", encoder="no such encoder")


def test_an_unknown_encoder_leaves_no_file(run, tmp_path):
    with pytest.raises(EncoderError, match="no encoder 'no_such_encoder'"):
        run("item_id,title\na,War\n", encoder="no_such_encoder")
    assert not (tmp_path / "v.parquet").exists()
