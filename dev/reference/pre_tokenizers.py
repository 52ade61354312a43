"""Golden ids for the names of `tokenizer.ggml.pre`: Python's `tokenizers` with the steps of the published files.

    pip install tokenizers==0.22.2 regex
    python dev/reference/pre_tokenizers.py      # crates/meno-engine/tests/golden/tokenizer/pre_tokenizers.json

One byte-level vocabulary is trained on the hard text without splitting it first, so that every way to split gives other
ids. The steps are those of the models' own tokenizer.json (or, for Kimi K2, of its tokenization_kimi.py), where a model
is published under the name; `default` is llama.cpp's. Kimi K2's pattern is checked against the `regex` package, which
its own code uses.
"""

import json
import pathlib
import sys

import regex
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers import pre_tokenizers as p

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from hard_text import TEXTS

OUT = pathlib.Path(__file__).parents[2] / "crates/meno-engine/tests/golden/tokenizer/pre_tokenizers.json"
ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
BEFORE = r"[^\r\n\p{L}\p{N}]?"
GPT4O = (
    rf"{BEFORE}{UPPER}*{LOWER}+{ENDINGS}?|{BEFORE}{UPPER}+{LOWER}*{ENDINGS}?|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{REST}"
)
NOT_HAN = lambda letters: letters[:-1] + r"&&[^\p{Han}]]"
KIMI_K2 = (
    rf"[\p{{Han}}]+|{BEFORE}{NOT_HAN(UPPER)}*{NOT_HAN(LOWER)}+{ENDINGS}?"
    rf"|{BEFORE}{NOT_HAN(UPPER)}+{NOT_HAN(LOWER)}*{ENDINGS}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{REST}"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
BLOOM = " ?[^(\\s|.,!?…。，、।۔،)]+"
CJK = "[一-龥ࠀ-一가-퟿]+"


def split(pattern):
    return p.Split(Regex(pattern), behavior="isolated", invert=False)


def one(letter_run, digits, endings=ENDINGS, more=r"[\r\n]*", symbols=r"[^\s\p{L}\p{N}]+", rest=REST):
    return [split(rf"{endings}|{BEFORE}{letter_run}|{digits}| ?{symbols}{more}|{rest}")]


def level(use_regex):
    return p.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=use_regex)


DIGITS = p.Digits(individual_digits=True)
# name: (compose text first, ignore merges, steps)
DEFINITIONS = {
    "qwen2": (True, False, one(r"\p{L}+", r"\p{N}")),
    "stablelm2": (False, False, one(r"\p{L}+", r"\p{N}")),
    "qwen35": (False, False, one(r"[\p{L}\p{M}]+", r"\p{N}", symbols=r"[^\s\p{L}\p{M}\p{N}]+")),
    "llama-bpe": (False, True, one(r"\p{L}+", r"\p{N}{1,3}")),
    "dbrx": (False, False, one(r"\p{L}+", r"\p{N}{1,3}")),
    "deepseek-coder": (False, False, [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK), DIGITS]),
    "kimi-k2": (False, False, [split(KIMI_K2)]),
    "gpt-4o": (False, False, [split(GPT4O)]),
    "tiny_aya": (False, False, [split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(GPT4O)]),
    "tekken": (False, True, [split(
        rf"{BEFORE}{UPPER}*{LOWER}+|{BEFORE}{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{REST}")]),
    "smollm": (False, False, [DIGITS, level(True)]),
    "command-r": (True, False, [DIGITS, level(True)]),
    "gpt-2": (False, False, [level(True)]),
    "mpt": (True, False, [level(True)]),
    "falcon": (False, False, [p.Punctuation("contiguous"), level(True), p.Digits(individual_digits=False),
                              split("[0-9][0-9][0-9]")]),
    "bailingmoe": (False, False, [split(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")]),
    "seed-coder": (False, False, one(r"\p{L}+", r"\p{N}{1}", more="", symbols=r"[^\s\p{L}\p{N}\r\n]+")),
    "exaone-moe": (False, False, one(r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+", r"\p{N}", more=r"[\r\n/]?",
                                     rest=r"\s*[\r\n]|\s+(?!\S)|\s+")),
    "superbpe": (False, False, [split(r"\p{N}+"), split(r"(?=(\d{3})+(?!\d))")]),
    "bloom": (False, False, [split(BLOOM)]),
    "viking": (False, False, [split(BLOOM), DIGITS]),
    "default": (False, False, [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split("[0-9][0-9][0-9]")]),
}


def vocabulary():
    """Merges that the text itself gives, without splitting it."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = level(False)
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=p.ByteLevel.alphabet(), min_frequency=1,
                                  max_token_length=6, show_progress=False)
    t.train_from_iterator(TEXTS * 2, trainer)
    model = json.loads(t.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda kv: kv[1])]
    return tokens, [tuple(m) for m in model["merges"]]


def main():
    tokens, merges = vocabulary()
    for text in TEXTS:
        pieces = regex.findall("(?V1)" + KIMI_K2, text)
        ours = [text[a:b] for _, (a, b) in split(KIMI_K2).pre_tokenize_str(text)]
        assert pieces == ours, (text, pieces, ours)
    ids = {}
    for name, (nfc, ignore_merges, steps) in DEFINITIONS.items():
        t = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, ignore_merges=ignore_merges))
        if nfc:
            t.normalizer = normalizers.NFC()
        has_letters = any(isinstance(s, p.ByteLevel) for s in steps)
        t.pre_tokenizer = p.Sequence(steps if has_letters else [*steps, level(False)])
        t.decoder = decoders.ByteLevel()
        ids[name] = [t.encode(text, add_special_tokens=False).ids for text in TEXTS]
    same = {}
    for name, rows in ids.items():
        same.setdefault(json.dumps(rows), []).append(name)
    print("no text tells these apart:", [names for names in same.values() if len(names) > 1])
    golden = {"tokens": tokens, "merges": [" ".join(m) for m in merges], "texts": TEXTS, "ids": ids}
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
