"""Prompts against the published tokenizer, on a small vocabulary."""

from __future__ import annotations

import json

import numpy as np
import pytest

from artifex.diffusion.prompt import CLOSE, OPEN, Tokenizer

PROMPTS = ["A  Cat\tsits", "it's 42!", "café — cat, cat", "", "Cats' cats"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Bytes as CLIP writes them, and a few merges."""
    pytest.importorskip("tokenizers")
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]
    merges = [("c", "a"), ("ca", "t</w>"), ("s", "i"), ("si", "t"), ("'", "s</w>"), ("t", "s</w>")]
    tokens = [*letters, *(x + "</w>" for x in letters), *(a + b for a, b in merges), OPEN, CLOSE]
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)]))
    return folder


def test_prompts_become_the_tokens_of_transformers(folder):
    transformers = pytest.importorskip("transformers")
    other = transformers.CLIPTokenizer.from_pretrained(str(folder))
    ours = Tokenizer(folder, length=20)
    theirs = other(PROMPTS, padding="max_length", max_length=20, truncation=True)["input_ids"]
    np.testing.assert_array_equal(ours(PROMPTS), theirs)


def test_words_are_split_by_the_merges(folder):
    tokens = Tokenizer(folder, length=6)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    close = vocabulary[CLOSE]
    expected = [vocabulary[OPEN], vocabulary["cat</w>"], vocabulary["si"], vocabulary["t</w>"], close, close]
    np.testing.assert_array_equal(tokens("cat SIt"), [expected])


def test_a_long_prompt_is_cut_and_its_tail_is_quoted(folder):
    tokens = Tokenizer(folder, length=4)
    with pytest.warns(UserWarning, match="at most 2 tokens, got 4; left out 'cat cat'"):
        row = tokens("cat cat cat cat")[0]
    cat = json.loads((folder / "vocab.json").read_text())["cat</w>"]
    np.testing.assert_array_equal(row, [tokens.open, cat, cat, tokens.close])


def test_a_folder_without_merges_is_refused(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(ValueError, match=r"got no merges.txt"):
        Tokenizer(tmp_path)
