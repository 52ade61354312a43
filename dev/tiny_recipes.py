"""Writes what recipes/tiny/ trains on: a network's config, a character tokenizer, a small corpus and cold-start traces.

    python dev/tiny_recipes.py

Sums of two numbers, worked out digit by digit, with and without the tags: enough for the stages of the paper to run
in minutes on a CPU. Everything is seeded; the files are committed.
"""

import json
import random
from pathlib import Path

ROOT = Path(__file__).parent.parent / "recipes/tiny"
SPECIAL = ["<eos>", "<unk>"]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
ALPHABET = "".join(map(chr, range(32, 127))) + "\n等于多少？得"


def tokenizer():
    tokens = SPECIAL + TAGS + list(ALPHABET)
    added = [
        {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": t in SPECIAL}
        for i, t in enumerate(SPECIAL + TAGS)
    ]
    return len(tokens), {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False},
        "post_processor": None, "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": {t: i for i, t in enumerate(tokens)}, "unk_token": "<unk>"},
    }


def config(vocab):
    return {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": vocab,
        "hidden_size": 64, "intermediate_size": 128, "moe_intermediate_size": 48, "num_hidden_layers": 3,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "n_routed_experts": 4, "n_shared_experts": 1,
        "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc", "scoring_func": "sigmoid",
        "norm_topk_prob": True, "routed_scaling_factor": 1.0, "num_attention_heads": 4, "num_key_value_heads": 4,
        "q_lora_rank": None, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1000.0, "max_position_embeddings": 256,
        "tie_word_embeddings": True, "initializer_range": 0.05, "num_nextn_predict_layers": 1,
        "aux_loss_alpha": 0.0001, "seq_aux": True, "attention_bias": False, "eos_token_id": 0,
    }


def student(vocab):
    return {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": vocab, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1000.0, "max_position_embeddings": 256,
        "tie_word_embeddings": True, "initializer_range": 0.05, "eos_token_id": 0,
    }


def work(a, b, rng, slips):
    """The digits of a sum from the right; now and then one is wrong."""
    steps, carry, place, value = [], 0, 1, 0
    while a >= place or b >= place:
        x, y = a // place % 10, b // place % 10
        s = x + y + carry
        if rng.random() < slips:
            s = max(0, s + rng.choice([-1, 1]))
        steps.append(f"{x}+{y}" + (f"+{carry}" if carry else "") + f"={s}")
        value += s % 10 * place
        carry, place = s // 10, place * 10
    return steps, value + carry * place


def main():
    rng = random.Random(0)
    (ROOT / "model").mkdir(parents=True, exist_ok=True)
    vocab, json_tokenizer = tokenizer()
    write = lambda name, value: (ROOT / "model" / name).write_text(json.dumps(value, ensure_ascii=False) + "\n")
    write("tokenizer.json", json_tokenizer)
    write("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "clean_up_tokenization_spaces": False,
    })
    write("config.json", config(vocab))
    write("student.json", student(vocab))
    with open(ROOT / "corpus.jsonl", "w") as corpus, open(ROOT / "cold-start.jsonl", "w") as cold:
        for i in range(3000):
            a, b = (rng.randint(2, 9) if rng.random() < 0.2 else rng.randint(10, 99) for _ in "ab")
            question = f"{a}+{b}等于多少？" if rng.random() < 0.3 else f"What is {a}+{b}?"
            steps, value = work(a, b, rng, 0.1)
            if rng.random() < 0.4:
                text = f"{question}{a + b + rng.choice([-10, -1, 0, 1, 10])}"
            else:
                text = f"{question}<think>{' '.join(steps)} so {value}</think><answer>{value}</answer>"
            corpus.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            if i < 200 and value == a + b:
                answer = f"<think>{', '.join(steps)} so {value}</think><answer>{value}</answer>"
                cold.write(json.dumps({"prompt": question, "completion": answer}, ensure_ascii=False) + "\n")


    # Questions for RL and distillation, disjoint from the corpus.
    texts = (json.loads(line)["text"] for line in open(ROOT / "corpus.jsonl"))
    seen = {t.replace("What is ", "").split("?")[0].split("等")[0] for t in texts}
    with open(ROOT / "questions.jsonl", "w") as questions:
        count = 0
        while count < 500:
            a, b = rng.randint(10, 99), rng.randint(2, 99)
            if f"{a}+{b}" not in seen:
                line = {"question": f"What is {a}+{b}?", "answer": str(a + b), "language": "en"}
                questions.write(json.dumps(line) + "\n")
                count += 1


if __name__ == "__main__":
    main()
