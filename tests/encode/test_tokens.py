"""Text as the numbers of its bytes or tokens."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.encode.command import encode
from shoal.encode.encoder import Encoder
from shoal.errors import DataError, SettingsError
from shoal.formats.row_store import ShardRows
from tests.encode.columns import fitted, words

TOKENIZER = """{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
"normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
"decoder": null, "model": {"type": "WordLevel", "vocab": {"?": 0, "red": 1, "blue": 4},
"unk_token": "?"}}"""


def test_bytes_count_from_one_and_zero_is_beyond_the_end():
    """Byte b is b + 1; a letter outside ASCII has the bytes of UTF-8; a gap is all zeros."""
    encoder = fitted({"encoder": "tokens"}, "text", words("aé", "b", None))

    out = encoder.encode(words("b", "é", None))

    assert (encoder.vocabulary, encoder.names) == (257, ["v[0]", "v[1]", "v[2]"])
    assert out.dtype == np.int64
    assert out.tolist() == [[99, 0, 0], [0xC3 + 1, 0xA9 + 1, 0], [0, 0, 0]]


def test_a_given_length_cuts_and_fills():
    """Its places are all there are, whatever training held; texts come back as far as they fit."""
    encoder = fitted({"encoder": "tokens", "length": 4}, "text", words("abcdefg"))

    assert encoder.decode(encoder.encode(words("abcdefg", "xy"))).tolist() == ["abcd", "xy"]


def test_a_model_gets_whole_numbers_where_tokens_are_all_its_inputs(
    columns, rows, shard, settings, tmp_path
):
    """The row store has int64 then; beside another input they are float32 like that."""
    table = rows(
        columns(t="text", y="label"), range(3), [0, 0, 1], t=["ab", "c", "d"], y=["p", "q", "p"]
    )
    own = settings(t={"encoder": "tokens"})
    source = shard(table)
    encoder = Encoder.fit(own, columns(t="text", y="label"), {"s": source})
    encoder.save(tmp_path / "encoder")

    encode(source.path, "s", tmp_path / "encoder", "", tmp_path / "rows.zarr.zip")

    assert (encoder.tokens, encoder.x_dtype) == (257, "int64")
    with ShardRows(tmp_path / "rows.zarr.zip") as store:
        assert store.read("x").dtype == np.int64
        assert store.read("x").tolist() == [[98, 99], [100, 0], [101, 0]]


def test_beside_other_inputs_tokens_are_numbers_like_those(kinds, table, shard, settings):
    """A row of a model with several inputs is one row of float32."""
    encoder = Encoder.fit(settings(t={"encoder": "tokens"}), kinds, {"s": shard(table)})

    assert encoder.tokens is None
    assert encoder.encode(table).dtype == np.float32


def test_tokens_of_a_file_are_those_of_its_tokenizer(tmp_path):
    """The file is part of the fitted state; the largest number decides how many there are."""
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text(TOKENIZER)
    encoder = fitted({"encoder": "tokens", "tokens": str(path)}, "text", words("red blue red", "x"))
    path.unlink()

    assert encoder.vocabulary == 6
    assert encoder.encode(words("blue green", "red")).tolist() == [[5, 1, 0], [2, 0, 0]]


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    """One line names the setting and the file."""
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")

    with pytest.raises(SettingsError, match=r"encode.columns.v: .*tokenizer.json: no tokenizer"):
        fitted({"encoder": "tokens", "tokens": str(path)}, "text", words("red"))


def test_a_missing_file_of_tokens_is_named():
    """It may be a misspelt `bytes`."""
    with pytest.raises(SettingsError, match=r"tokens is `bytes` or a file .*byte: No such file"):
        fitted({"encoder": "tokens", "tokens": "byte"}, "text", words("red"))


def test_a_column_without_a_text_is_refused():
    """There is nothing to tell the length by."""
    with pytest.raises(DataError, match="has no value"):
        fitted({"encoder": "tokens"}, "text", words(None, ""))
