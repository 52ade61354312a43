"""The real Qwen2.5-Coder-0.5B GGUF file in transformers: dequantized by the `gguf` package, f32, on the CPU."""

import re

import gguf
import torch
from gguf.quants import dequantize
from tokenizers_golden import qwen_from_gguf
from transformers import Qwen2Config, Qwen2ForCausalLM

MODULES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def hf_name(name):
    if name in TOP:
        return TOP[name]
    layer, module, kind = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(\w+)", name).groups()
    return f"model.layers.{layer}.{MODULES[module]}.{kind}"


def load(path):
    """(model, tokenizer, chat template)."""
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields[key].contents()
    state = {}
    for t in reader.tensors:
        state[hf_name(t.name)] = torch.from_numpy(dequantize(t.data, t.tensor_type).copy())
    vocab, hidden = state["model.embed_tokens.weight"].shape
    config = Qwen2Config(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=get("qwen2.feed_forward_length"),
        num_hidden_layers=get("qwen2.block_count"),
        num_attention_heads=get("qwen2.attention.head_count"),
        num_key_value_heads=get("qwen2.attention.head_count_kv"),
        max_position_embeddings=get("qwen2.context_length"),
        rms_norm_eps=1e-6,
        rope_theta=get("qwen2.rope.freq_base"),
        tie_word_embeddings="lm_head.weight" not in state,
        attn_implementation="eager",
    )
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    assert not missing and not unexpected, (missing, unexpected)
    # The rotary table is no parameter: made again outside the meta device.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval(), qwen_from_gguf(reader), get("tokenizer.chat_template")
