"""Writes what Python's tokenizers makes of hard texts, for crates/meno-engine/tests/text.rs.

Usage: python dev/reference/tokenizer.py DEEPSEEK_DIR
DEEPSEEK_DIR holds the published tokenizer.json of DeepSeek-V3 and R1. Written to crates/meno-engine/tests/fixtures/:
  deepseek_tokens.json   ids and decoded texts by that tokenizer (which is too large to keep here)
  small_tokenizer/       a byte-level BPE of 700 tokens with the same pre-tokenizer, and its tokens.json
"""

import json
import sys
from pathlib import Path

import tokenizers
from hard_texts import TEXTS
from tokenizers import AddedToken, Tokenizer, decoders, models, trainers

FIXTURES = Path(__file__).parents[2] / "crates/meno-engine/tests/fixtures"


def cases(t: Tokenizer) -> list:
    out = []
    for text in TEXTS:
        for special in (False, True):
            ids = t.encode(text, add_special_tokens=special).ids
            out.append(
                {
                    "text": text,
                    "add_special": special,
                    "ids": ids,
                    "decoded": t.decode(ids, skip_special_tokens=False),
                    "decoded_skip": t.decode(ids, skip_special_tokens=True),
                }
            )
    return out


def write(path: Path, t: Tokenizer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"tokenizers": tokenizers.__version__, "cases": cases(t)}
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n")


deepseek = Tokenizer.from_file(f"{sys.argv[1]}/tokenizer.json")
write(FIXTURES / "deepseek_tokens.json", deepseek)

small = Tokenizer(models.BPE())
small.pre_tokenizer = deepseek.pre_tokenizer
small.decoder = decoders.ByteLevel()
from tokenizers.pre_tokenizers import ByteLevel  # noqa: E402

tags = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]
trainer = trainers.BpeTrainer(
    vocab_size=690, special_tokens=tags, initial_alphabet=ByteLevel.alphabet(), show_progress=False
)
small.train_from_iterator(TEXTS * 2, trainer)
small.add_tokens([AddedToken(t, normalized=False) for t in ("<think>", "</think>", "<｜User｜>", "<｜Assistant｜>")])
home = FIXTURES / "small_tokenizer"
home.mkdir(parents=True, exist_ok=True)
small.save(str(home / "tokenizer.json"), pretty=False)
config = {
    "bos_token": {"__type": "AddedToken", "content": tags[0]},
    "eos_token": {"__type": "AddedToken", "content": tags[1]},
    "tokenizer_class": "PreTrainedTokenizerFast",
}
(home / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")
(home / "generation_config.json").write_text('{"eos_token_id": [1, 691]}\n')
write(home / "tokens.json", small)
