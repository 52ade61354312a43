"""Golden ids for the tokenizers: Python's `tokenizers` (and transformers' own definition of Qwen2) on hard text.

    python dev/reference/tokenizers_golden.py LLAMA_VOCAB_CPP  # small vocabularies, committed; llama.cpp's
                                                               # src/llama-vocab.cpp has DeepSeek LLM's patterns
    python dev/reference/tokenizers_golden.py --real DIR # the real DeepSeek-V3 and Qwen2.5 files in DIR, into DIR

Small: per pre-tokenizer a byte-level BPE is trained on the text itself, and written as a GGUF file of metadata only
(what llama.cpp's converter writes) and as `<pre>.json` with the ids; `sentencepiece` likewise, by the sentencepiece
package, whose own ids are compared on the way. crates/meno-engine/tests/golden/tokenizer/.
"""

import json
import pathlib
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from hard_text import main_texts

OUT = pathlib.Path(__file__).parents[2] / "crates/meno-engine/tests/golden/tokenizer"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]
USER = ["<think>", "</think>"]

# The ones that transformers does not define in code, as their tokenizer.json have them
# (deepseek-ai/DeepSeek-V3, deepseek-ai/deepseek-llm-7b-base, meta-llama/Meta-Llama-3-8B).
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def deepseek_llm_patterns(llama_vocab_cpp):
    """From llama.cpp's source, which keeps the letters' ranges of the original tokenizer.json."""
    text = pathlib.Path(llama_vocab_cpp).read_text()
    block = text.split("case LLAMA_VOCAB_PRE_TYPE_DEEPSEEK_LLM:")[1].split("};")[0]
    lines = [line.strip().rstrip(",") for line in block.splitlines() if line.strip().startswith('"')]
    return [json.loads(line) for line in lines][:-1]


def define(pre):
    """The tokenizer around the model: (normalizer, list of splits)."""
    split = lambda p: pre_tokenizers.Split(Regex(p), behavior="isolated", invert=False)
    if pre == "deepseek-v3":
        return None, [split(p) for p in DEEPSEEK_V3]
    if pre == "llama-bpe":
        return None, [split(LLAMA3)]
    if pre == "deepseek-llm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return None, [*(split(p) for p in deepseek_llm_patterns(sys.argv[1])), digits]
    raise KeyError(pre)


def assemble(pre, vocab, merges):
    if pre == "qwen2":
        return Qwen2Tokenizer(vocab=vocab, merges=merges)._tokenizer
    normalizer, splits = define(pre)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre == "llama-bpe"))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    return t


def train(pre, size=700):
    """Vocabulary and merges that occur in the text."""
    t = assemble(pre, {"<|endoftext|>": 0} if pre == "qwen2" else {}, [])
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(main_texts(), trainer)
    model = json.loads(t.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def golden(tokenizer):
    rows = []
    for text in main_texts():
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
        rows[-1]["skipped"] = tokenizer.decode(ids, skip_special_tokens=True)
    return rows


def small(pre):
    vocab, merges = train(pre)
    vocab.pop("<|endoftext|>", None)
    tokens = [t for t, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
    vocab = {t: i for i, t in enumerate(tokens)}
    n = len(tokens)
    t = assemble(pre, dict(vocab), merges)
    # As in the real files: added tokens after the vocabulary, then padding that the tokenizer does not know.
    t = Tokenizer.from_str(t.to_str())
    data = json.loads(t.to_str())
    data["added_tokens"] = [
        dict(id=n + i, content=c, single_word=False, lstrip=False, rstrip=False, normalized=False, special=i < len(SPECIAL))
        for i, c in enumerate(SPECIAL + USER)
    ]
    t = Tokenizer.from_str(json.dumps(data))
    assert [t.token_to_id(c) for c in SPECIAL] == list(range(n, n + len(SPECIAL)))

    w = gguf.GGUFWriter(OUT / f"{pre}.gguf", "qwen2")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens + SPECIAL + USER + ["[PAD0]", "[PAD1]"])
    T = gguf.TokenType
    w.add_token_types([T.NORMAL] * n + [T.CONTROL] * len(SPECIAL) + [T.USER_DEFINED] * len(USER) + [T.UNUSED] * 2)
    w.add_token_merges([" ".join(m) for m in merges])
    w.add_eos_token_id(n + 2)
    w.add_bos_token_id(n + 3)
    w.add_add_bos_token(pre == "llama-bpe")
    w.add_chat_template("{{ messages[0].content }}")
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (OUT / f"{pre}.json").write_text(json.dumps(golden(t), ensure_ascii=True, indent=0) + "\n")


def sentencepiece_small():
    """A SentencePiece BPE as Llama 2's: bytes for what no piece spells, a space before the text."""
    import io

    import sentencepiece
    from transformers.tokenization_utils_sentencepiece import generate_merges

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in main_texts() for line in text.replace("\x00", "").split("\n") if line),
        model_writer=model,
        model_type="bpe",
        vocab_size=1000,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=USER,
        control_symbols=SPECIAL,
        character_coverage=0.98,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    n, T = sp.vocab_size(), gguf.TokenType
    tokens, scores = [sp.id_to_piece(i) for i in range(n)], [sp.get_score(i) for i in range(n)]

    def kind(i):
        if sp.is_unknown(i):
            return T.UNKNOWN
        if sp.is_control(i):
            return T.CONTROL
        if sp.is_byte(i):
            return T.BYTE
        return T.USER_DEFINED if tokens[i] in USER else T.NORMAL

    types = [kind(i) for i in range(n)]
    plain = {t: i for i, t in enumerate(tokens) if types[i] in (T.NORMAL, T.USER_DEFINED)}
    merges = generate_merges(plain, {t: scores[i] for t, i in plain.items()})
    vocab = {t: i for i, t in enumerate(tokens)}
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    # As transformers' LlamaConverter.
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    t.decoder = decoders.Sequence(steps)
    data = json.loads(t.to_str())
    data["added_tokens"] = [
        dict(id=i, content=c, single_word=False, lstrip=False, rstrip=False, normalized=False, special=types[i] != T.USER_DEFINED)
        for i, c in enumerate(tokens)
        if types[i] in (T.UNKNOWN, T.CONTROL, T.USER_DEFINED)
    ]
    t = Tokenizer.from_str(json.dumps(data))
    for text in main_texts():
        tags = any(c in text for c in [*SPECIAL, *USER, "<unk>", "<s>", "</s>", "<0x"])
        if not tags and "▁" not in text and text and sp.encode(text) != t.encode(text).ids:
            print("sentencepiece itself differs:", repr(text), sp.encode(text), t.encode(text).ids)

    w = gguf.GGUFWriter(OUT / "sentencepiece.gguf", "llama")
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_scores(scores)
    w.add_token_types(types)
    w.add_bos_token_id(sp.bos_id())
    w.add_eos_token_id(sp.eos_id())
    w.add_unk_token_id(sp.unk_id())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (OUT / "sentencepiece.json").write_text(json.dumps(golden(t), ensure_ascii=True, indent=0) + "\n")


def real(directory):
    """The published tokenizers, on the same text."""
    directory = pathlib.Path(directory)
    t = Tokenizer.from_file(str(directory / "deepseek-v3/tokenizer.json"))
    (directory / "deepseek-v3/golden.json").write_text(json.dumps(golden(t)))
    reader = gguf.GGUFReader(directory / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
    t = qwen_from_gguf(reader)
    (directory / "qwen-golden.json").write_text(json.dumps(golden(t)))


def qwen_from_gguf(reader):
    """transformers' Qwen2 tokenizer over the file's vocabulary and merges, with the added tokens of its types."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    vocab = {t: i for i, (t, k) in enumerate(zip(tokens, types)) if k == 1}
    data = json.loads(Qwen2Tokenizer(vocab=vocab, merges=merges)._tokenizer.to_str())
    data["added_tokens"] = [
        dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=k == 3)
        for i, (t, k) in enumerate(zip(tokens, types))
        if k in (3, 4)
    ]
    return Tokenizer.from_str(json.dumps(data))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--real"]:
        real(sys.argv[2])
    else:
        OUT.mkdir(parents=True, exist_ok=True)
        for pre in ["qwen2", "deepseek-v3", "deepseek-llm", "llama-bpe"]:
            small(pre)
        sentencepiece_small()
