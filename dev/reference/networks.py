"""Golden files of the networks: small random checkpoints, and the logits, loss and gradients that transformers gives.

    python dev/reference/networks.py crates/meno-model/tests/golden

Each case is a directory: config.json and weights as transformers saves them (bf16, f16 or f32; one sharded), and
expected.safetensors with

    tokens          int32  [sequences, t]
    logits          f32    [sequences, t, vocab]   computed in f32 from the stored weights
    loss            f32    [2]                     sum over both sequences of −log p(next token), and MTP's
    grad.NAME       f32                            d (loss[0] + 0.3 · loss[1]) / d NAME, for some parameters of each kind

Made with torch 2.15 and transformers 5.23 on CPU.
"""

import copy
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, GraniteConfig,
    GraniteForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM,
    Qwen3MoeConfig, Qwen3MoeForCausalLM,
)
from transformers.modeling_layers import MtpLayer
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer, DeepseekV3RMSNorm

VOCAB = 96
LAMBDA = 0.3
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=32, beta_slow=1)
BASE = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, max_position_embeddings=64, use_cache=False,
            bos_token_id=0, eos_token_id=1)
MLA = dict(intermediate_size=48, moe_intermediate_size=12, num_attention_heads=4, num_key_value_heads=4,
           kv_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=10, first_k_dense_replace=1,
           n_routed_experts=8, num_experts_per_tok=3)
V3 = dict(n_shared_experts=1, routed_scaling_factor=2.5, norm_topk_prob=True)
V2 = dict(n_shared_experts=2, norm_topk_prob=False)

CASES = {
    # q_lora, groups, YaRN with both mscales, eps other than that of the latent norms
    "deepseek_v3": (DeepseekV3ForCausalLM, torch.bfloat16, DeepseekV3Config(
        **BASE, **MLA, **V3, q_lora_rank=24, n_group=4, topk_group=2, rms_norm_eps=1e-5, num_nextn_predict_layers=0,
        rope_parameters=dict(YARN, rope_theta=10000.0, mscale=1.0, mscale_all_dim=1.0))),
    # no q_lora, one group, no scaling (as Moonlight), with MTP
    "deepseek_v3_mtp": (DeepseekV3ForCausalLM, torch.float32, DeepseekV3Config(
        **BASE, **MLA, **V3, q_lora_rank=None, n_group=1, topk_group=1, num_nextn_predict_layers=1,
        rope_parameters=dict(rope_type="default", rope_theta=50000.0))),
    # as V2-Lite: no q_lora, greedy, two shared experts, YaRN with mscale 0.707
    "deepseek_v2_greedy": (DeepseekV2ForCausalLM, torch.bfloat16, DeepseekV2Config(
        **BASE, **MLA, **V2, q_lora_rank=None, topk_method="greedy", n_group=1, topk_group=1,
        rope_parameters=dict(YARN, rope_theta=10000.0, mscale=0.707, mscale_all_dim=0.707))),
    # as V2: q_lora, groups, scaled
    "deepseek_v2_groups": (DeepseekV2ForCausalLM, torch.bfloat16, DeepseekV2Config(
        **BASE, **MLA, **V2, q_lora_rank=24, topk_method="group_limited_greedy", n_group=4, topk_group=2,
        routed_scaling_factor=4.0, rope_parameters=dict(YARN, rope_theta=10000.0, mscale=0.707, mscale_all_dim=1.0))),
    "qwen2": (Qwen2ForCausalLM, torch.bfloat16, Qwen2Config(
        **BASE, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "llama": (LlamaForCausalLM, torch.float16, LlamaConfig(
        **BASE, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
        rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=32))),
    # YaRN without mscale, a head width that is not hidden / heads, all biases
    "llama_yarn": (LlamaForCausalLM, torch.bfloat16, LlamaConfig(
        **BASE, intermediate_size=48, num_attention_heads=4, num_key_value_heads=1, head_dim=12, attention_bias=True,
        rope_parameters=dict(YARN, rope_theta=10000.0))),
    # heads wider than hidden / heads, normed; tied head
    "qwen3": (Qwen3ForCausalLM, torch.bfloat16, Qwen3Config(
        **BASE, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
        tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    # YaRN as in R1-0528-Qwen3-8B, all biases
    "qwen3_yarn": (Qwen3ForCausalLM, torch.bfloat16, Qwen3Config(
        **BASE, intermediate_size=48, num_attention_heads=4, num_key_value_heads=1, head_dim=8, attention_bias=True,
        rope_parameters=dict(YARN, rope_theta=1e6))),
    # experts in every second layer but one
    "qwen3_moe": (Qwen3MoeForCausalLM, torch.bfloat16, Qwen3MoeConfig(
        **dict(BASE, num_hidden_layers=5), intermediate_size=48, moe_intermediate_size=12, num_attention_heads=4,
        num_key_value_heads=2, head_dim=10, num_experts=8, num_experts_per_tok=3, norm_topk_prob=True,
        decoder_sparse_step=2, mlp_only_layers=[3], rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "qwen3_moe_unnormed": (Qwen3MoeForCausalLM, torch.float16, Qwen3MoeConfig(
        **BASE, intermediate_size=48, moe_intermediate_size=12, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, num_experts=8, num_experts_per_tok=3, norm_topk_prob=False, decoder_sparse_step=1,
        rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    # Kimi-K2's shape: V3's network, one group, no q_lora left out; the config says kimi_k2
    "kimi_k2": (DeepseekV3ForCausalLM, torch.bfloat16, DeepseekV3Config(
        **BASE, **MLA, **dict(V3, routed_scaling_factor=2.827), q_lora_rank=24, n_group=1, topk_group=1,
        rms_norm_eps=1e-6, num_nextn_predict_layers=0,
        rope_parameters=dict(YARN, rope_theta=50000.0, factor=8.0, beta_fast=1, mscale=1.0, mscale_all_dim=1.0))),
    # all four multipliers, tied head
    "granite": (GraniteForCausalLM, torch.bfloat16, GraniteConfig(
        **BASE, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        rms_norm_eps=1e-5, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.22,
        logits_scaling=2.0, rope_parameters=dict(rope_type="default", rope_theta=10000.0))),
}

# Parameters whose gradients are stored: at least three of every kind of layer.
GRADIENTS = [
    "embed_tokens.weight", "lm_head.weight", "model.norm.weight",
    "layers.1.input_layernorm.weight", "layers.0.post_attention_layernorm.weight",
    "layers.0.self_attn.q_proj.weight", "layers.1.self_attn.k_proj.weight", "layers.1.self_attn.v_proj.weight",
    "layers.0.self_attn.q_proj.bias", "layers.1.self_attn.k_proj.bias", "layers.1.self_attn.v_proj.bias",
    "layers.1.self_attn.o_proj.bias", "layers.0.self_attn.q_norm.weight", "layers.1.self_attn.q_norm.weight",
    "layers.1.self_attn.k_norm.weight", "layers.0.self_attn.q_a_proj.weight", "layers.1.self_attn.q_a_layernorm.weight",
    "layers.1.self_attn.q_b_proj.weight", "layers.1.self_attn.kv_a_proj_with_mqa.weight",
    "layers.0.self_attn.kv_a_layernorm.weight", "layers.1.self_attn.kv_b_proj.weight",
    "layers.1.self_attn.o_proj.weight", "layers.0.mlp.gate_proj.weight", "layers.0.mlp.up_proj.weight",
    "layers.0.mlp.down_proj.weight", "layers.1.mlp.down_proj.weight", "layers.1.mlp.gate.weight",
    "layers.1.mlp.shared_experts.gate_proj.weight", "layers.1.mlp.shared_experts.up_proj.weight",
    "layers.1.mlp.shared_experts.down_proj.weight", "layers.1.mlp.experts.gate_up_proj",
    "layers.1.mlp.experts.down_proj",
]


def randomize(module, dtype, generator):
    """Weights that make every part matter, exactly representable in `dtype`."""
    for name, p in [*module.named_parameters(), *module.named_buffers()]:
        if "inv_freq" in name:
            continue
        noise = torch.randn(p.shape, generator=generator)
        if name.endswith("e_score_correction_bias"):
            p.data = 0.1 * noise  # stays f32
        elif p.dim() == 1:
            p.data = ((0.0 if name.endswith("bias") else 1.0) + 0.2 * noise).to(dtype).float()
        else:
            tied = getattr(module.config, "tie_word_embeddings", False)
            std = {"embed_tokens": 0.3 if tied else 0.8, "lm_head": 0.4, "gate.weight": 0.3}
            std = next((s for key, s in std.items() if key in name), 0.2)
            p.data = (std * noise).to(dtype).float()


def nll(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def published(name, value):
    """transformers' fused experts under the published names."""
    if name.endswith("experts.gate_up_proj"):
        for e, both in enumerate(value):
            for part, half in zip(("gate_proj", "up_proj"), both.chunk(2)):
                yield name.replace("gate_up_proj", f"{e}.{part}.weight"), half
    elif name.endswith("experts.down_proj"):
        for e, down in enumerate(value):
            yield name.replace("down_proj", f"{e}.down_proj.weight"), down
    else:
        yield name, value


def mtp_loss(layer, model, hidden, tokens):
    """−Σ log p(t_{i+2}) of the module on (h_i, Emb(t_{i+1})); h_i is the output of the main model's final norm."""
    embeds = model.model.embed_tokens(tokens[:, 1:])
    positions = torch.arange(1, tokens.shape[1])[None]
    t = embeds.shape[1]
    mask = torch.full((t, t), float("-inf")).triu(1)[None, None]
    out = layer(embeds, hidden[:, :-1], position_embeddings=model.model.rotary_emb(embeds, position_ids=positions),
                attention_mask=mask, position_ids=positions, past_key_values=None)
    return nll(model.lm_head(out)[0, :-1], tokens[0, 2:])


def make(out, name, seed):
    cls, dtype, config = CASES[name]
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(seed)
    model = cls(config).eval().float()
    randomize(model, dtype, generator)
    if config.tie_word_embeddings:
        model.tie_weights()
    mtp = None
    if getattr(config, "num_nextn_predict_layers", 0):
        sparse = copy.deepcopy(config)
        sparse.first_k_dense_replace = 0
        mtp = MtpLayer(sparse, DeepseekV3DecoderLayer, DeepseekV3RMSNorm, 0).eval().float()
        randomize(mtp, dtype, generator)

    tokens = torch.randint(0, VOCAB, (2, 21), generator=generator)
    losses, logits = torch.zeros(2), []
    for row in tokens[:, None]:
        result = model(row, output_hidden_states=True)
        logits.append(result.logits.detach())
        main = nll(result.logits[0, :-1], row[0, 1:])
        extra = mtp_loss(mtp, model, result.hidden_states[-1], row) if mtp else torch.zeros(())
        (main + LAMBDA * extra).backward()
        losses += torch.stack([main, extra]).detach()

    expected = {"tokens": tokens.to(torch.int32), "logits": torch.cat(logits), "loss": losses}
    for key, p in model.named_parameters():
        if any(key.endswith(g) for g in GRADIENTS):
            expected.update({f"grad.{n}": g.contiguous() for n, g in published(key, p.grad)})

    where = out / name
    shutil.rmtree(where, ignore_errors=True)
    model.save_pretrained(where, max_shard_size="20KB" if name == "llama" else "1GB")
    (where / "generation_config.json").unlink(missing_ok=True)
    weights = [p for p in where.glob("*.safetensors")]
    for file in weights:
        tensors = load_file(file)
        if mtp:
            prefix = f"model.layers.{config.num_hidden_layers}."
            names = {"post_norm.weight": "shared_head.norm.weight"}
            for key, value in [*mtp.named_parameters(), *mtp.named_buffers()]:
                key = names.get(key, key.removeprefix("mtp_block."))
                tensors.update({prefix + n: v.data.contiguous() for n, v in published(key, value)})
                if value.grad is not None and not key.startswith("mlp.experts"):
                    expected[f"grad.{prefix}{key}"] = value.grad
            tensors[prefix + "embed_tokens.weight"] = model.model.embed_tokens.weight.data.clone()
            tensors[prefix + "shared_head.head.weight"] = model.lm_head.weight.data.clone()
        for key in tensors:
            if not key.endswith("e_score_correction_bias"):
                tensors[key] = tensors[key].to(dtype)
        save_file(tensors, file, metadata={"format": "pt"})
    save_file(expected, where / "expected.safetensors")
    config = json.loads((where / "config.json").read_text())
    if name == "kimi_k2":
        config["model_type"] = "kimi_k2"
    config["dtype"] = str(dtype).removeprefix("torch.")
    (where / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for file in where.iterdir():
        file.chmod(0o644)
    print(name, config["model_type"], [f"{x:.4f}" for x in losses], len(weights), "file(s)",
          sum(p.stat().st_size for p in where.iterdir()) // 1024, "KiB")


if __name__ == "__main__":
    for i, case in enumerate(CASES):
        if len(sys.argv) < 3 or case in sys.argv[2:]:
            make(pathlib.Path(sys.argv[1]), case, 100 + i)
