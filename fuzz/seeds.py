"""Valid inputs for every fuzz target, from the golden files of the tests: python3 fuzz/seeds.py DIRECTORY."""

import gzip
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "crates"
MODEL = ROOT / "meno-model/tests/golden"
ENGINE = ROOT / "meno-engine/tests/golden/tokenizer"
OUT = pathlib.Path(sys.argv[1])


def seed(target, name, data):
    directory = OUT / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"seed-{name}").write_bytes(data if isinstance(data, bytes) else data.encode())


def tokenizer(**parts):
    vocab = {chr(c): i for i, c in enumerate(range(32, 127))}
    vocab.update({"he": 95, "hel": 96, "▁": 97})
    model = {"type": "BPE", "vocab": vocab, "merges": [["h", "e"], ["he", "l"]], "unk_token": "?"}
    file = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
            "decoder": None, "model": model}
    return json.dumps({**file, **parts})


def tokenizers():
    def split(pattern):
        return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}

    token = {"id": 98, "content": "<think>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False,
             "special": True}
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    qwen = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    seed("tokenizer", "plain", tokenizer())
    seed("tokenizer", "added", tokenizer(added_tokens=[token]))
    steps = {"type": "Sequence", "pretokenizers": [split(qwen), letters]}
    seed("tokenizer", "qwen", tokenizer(normalizer={"type": "NFC"}, pre_tokenizer=steps, decoder=letters))
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    normalizers = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
    back = [{**replace, "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    decoders = {"type": "Sequence", "decoders": back}
    seed("tokenizer", "llama", tokenizer(normalizer=normalizers, decoder=decoders))
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["ab", -1.5]]}
    regex = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    seed("tokenizer", "unigram", tokenizer(model=unigram, normalizer=regex, pre_tokenizer=space))
    pieces = {"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
              "vocab": {"?": 0, "a": 1, "##b": 2}}
    seed("tokenizer", "wordpiece", tokenizer(model=pieces, pre_tokenizer={"type": "BertPreTokenizer"}))
    single = [{"SpecialToken": {"id": "?", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template = {"type": "TemplateProcessing", "single": single, "pair": single,
                "special_tokens": {"?": {"id": "?", "ids": [0], "tokens": ["?"]}}}
    seed("tokenizer", "template", tokenizer(post_processor=template))


def models():
    for directory in sorted(p for p in MODEL.iterdir() if (p / "config.json").exists()):
        config = directory / "config.json"
        seed("config", directory.name, config.read_bytes())
    for name in ["lora", "rslora"]:
        adapter = MODEL / name
        parts = [(adapter / "adapter_config.json").read_bytes(), (adapter / "adapter_model.safetensors").read_bytes()]
        seed("lora", name, b"\0".join(parts))
    for file in sorted((MODEL / "gguf").glob("*.gguf")):
        seed("gguf", file.stem, file.read_bytes())
    for file in sorted(ENGINE.glob("*.gguf")):
        seed("gguf", file.stem, file.read_bytes())
        seed("gguf_tokenizer", file.stem, file.read_bytes()[:4096])
    seed("safetensors", "qwen2", (MODEL / "qwen2/model.safetensors").read_bytes())
    for name, shard in [("good", "a.safetensors"), ("outside", "../a.safetensors"), ("absolute", "/a.safetensors")]:
        seed("index", name, json.dumps({"metadata": {}, "weight_map": {"model.norm.weight": shard}}))


def small_files():
    taught = {"description": "sums", "examples": ["1 + 2"], "otherwise": "?", "families": [
        {"pattern": r"(\d+)\+(\d+)", "ignore": r"[\s?=]", "prompt": "What is {0}, {1} and {2}?"}]}
    seed("sidecars", "taught", b"\0" + json.dumps(taught).encode())
    generation = {"temperature": 0.6, "top_p": 0.95, "eos_token_id": [1, 2], "do_sample": True}
    seed("sidecars", "generation", b"\1" + json.dumps(generation).encode())
    seed("sidecars", "tokenizer", b"\2" + json.dumps({"eos_token": {"content": "<e>"}, "add_bos_token": True}).encode())
    state = {"stage": "sft", "step": 3, "position": 6, "num_tokens": 100, "optimizer_steps": 3, "extra": None}
    header = {"exp_avg": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header = json.dumps(header).encode()
    blocks = len(header).to_bytes(8, "little") + header + bytes(8)
    sums = [{"path": "config.json", "bytes": 2, "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}]
    for name, text in [("sums", json.dumps(sums)), ("none", "")]:
        seed("training_state", name, b"\0".join([json.dumps(state).encode(), text.encode(), blocks]))


def datasets():
    pair = {"prompt": "1 + 2", "completion": "3"}
    chat = {"messages": [{"role": "user", "content": "1 + 2"}, {"role": "assistant", "content": "3"}]}
    shared = {"conversations": [{"from": "human", "value": "1 + 2"}, {"from": "gpt", "value": "3"}]}
    alpaca = {"instruction": "add", "input": "1 2", "output": "3"}
    lines = "".join(json.dumps(r) + "\n" for r in [pair, chat, shared, alpaca, {"text": "1 + 2 = 3"}]).encode()
    for i, record in enumerate([pair, chat, shared, alpaca, {"text": "1 + 2 = 3"}]):
        seed("dataset", f"line{i}", b"\0" + json.dumps(record).encode() + b"\n")
    seed("dataset", "json", b"\1" + json.dumps([pair, pair]).encode())
    seed("dataset", "csv", b'\2prompt,completion\n1,"2, 3"\n')
    seed("dataset", "tsv", b"\3prompt\tcompletion\n1\t2\n")
    for file in sorted((ROOT / "meno-train/tests").rglob("*.parquet")):
        seed("dataset", file.stem, b"\4" + file.read_bytes())
    seed("dataset", "text", b"\5one\n\ntwo\n")
    seed("dataset", "gzip", b"\6" + gzip.compress(lines, mtime=0))


def texts():
    seed("template", "chat", "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}")
    seed("verify", "boxed", "1/2\\boxed{\\frac{1}{2}}")
    seed("answer", "thought", "\1\0\5\0<think>a</think>b<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>")
    seed("chat_request", "chat", json.dumps({"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}))


tokenizers()
models()
small_files()
datasets()
texts()
