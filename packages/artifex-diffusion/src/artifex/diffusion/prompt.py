"""Prompts as token numbers, by the byte pairs of CLIP.

    "A  cat"  →  "a cat"  →  a</w> cat</w>  →  [open, 320, 2368, close, close, …]                                 (1)
Letters are made small and spaces joined; words are split into pairs by the rules of `merges.txt`; the end of the prompt
and what follows it, up to the encoder's length, is filled up. Needs the package `tokenizers`: pip install
"artifex-diffusion[text]".

References:
    [1] Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021, arXiv:2103.00020
    [2] Sennrich, Haddow & Birch, Neural Machine Translation of Rare Words with Subword Units, 2016, arXiv:1508.07909
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

OPEN, CLOSE = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # [1]


class Tokenizer:
    """Prompts to rows of token numbers (eq. 1)."""

    def __init__(self, folder: str | Path, *, length: int = 77) -> None:
        """The tokens of a published folder with `vocab.json` and `merges.txt`."""
        self.length = length
        self.engine = engine_of(Path(folder))
        self.open, self.close = (int(self.engine.token_to_id(token)) for token in (OPEN, CLOSE))
        self.fill = fill_of(Path(folder), self.engine, self.close)

    def __call__(self, prompts: str | Sequence[str]) -> Int[np.ndarray, "prompt token"]:
        """One row for each prompt; a prompt that is too long is cut, and a warning quotes what went."""
        return np.array([self.row(prompt) for prompt in ([prompts] if isinstance(prompts, str) else prompts)], np.int32)

    def row(self, prompt: str) -> list[int]:
        """Token numbers of one prompt, as many as the encoder takes."""
        found = self.engine.encode(prompt)
        room = self.length - 2
        if len(found.ids) > room:
            tail = prompt[found.offsets[room][0] :]
            warnings.warn(
                f"Tokenizer: expected at most {room} tokens, got {len(found.ids)}; left out {tail!r}.", stacklevel=3
            )
        ids = [self.open, *found.ids[:room], self.close]
        return ids + [self.fill] * (self.length - len(ids))


def engine_of(folder: Path) -> Any:
    """The byte-pair rules of a folder.

    Raises:
        ImportError: the package `tokenizers` is missing.
        ValueError: the folder lacks a file.
    """
    try:
        kit = importlib.import_module("tokenizers")
    except ImportError as error:
        raise ImportError(
            'Tokenizer: expected the package tokenizers, got none. Run pip install "artifex-diffusion[text]", or give '
            "token numbers instead of text."
        ) from error
    missing = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"Tokenizer: expected vocab.json and merges.txt in {folder}, got no {missing[0]}. Fetch it.")
    rules = kit.models.BPE.from_file(
        str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token=CLOSE, end_of_word_suffix="</w>"
    )
    engine = kit.Tokenizer(rules)
    replaced = kit.normalizers.Replace(kit.Regex(r"\s+"), " ")
    engine.normalizer = kit.normalizers.Sequence([kit.normalizers.NFC(), replaced, kit.normalizers.Lowercase()])
    split = kit.pre_tokenizers.Split(kit.Regex(WORDS), behavior="removed", invert=True)
    engine.pre_tokenizer = kit.pre_tokenizers.Sequence(
        [split, kit.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return engine


def fill_of(folder: Path, engine: Any, close: int) -> int:
    """The number that fills up a row: the closing one, or what the folder's settings name (2.x fills with "!")."""
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return close
    token = json.loads(settings.read_text(encoding="utf-8")).get("pad_token", CLOSE)
    found = engine.token_to_id(token["content"] if isinstance(token, dict) else token)
    return close if found is None else int(found)
