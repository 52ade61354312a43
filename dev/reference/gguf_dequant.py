"""Golden files for the GGUF reader, made by the `gguf` Python package (ggml's own).

    python dev/reference/gguf_dequant.py               # writes crates/meno-model/tests/golden/gguf/
    python dev/reference/gguf_dequant.py --real FILE   # the sums of a real file's tensors, next to it as FILE.json

Per architecture one small GGUF file, as llama.cpp's converter would write it, and `<name>.json` with the shape and
the hash of the f32 bits of every tensor as Hugging Face's `transformers` holds it: dequantized by the package, with
the converter's changes (llama's row order, stacked experts, split kv_b) undone by indexing the *original* layout.
`types.gguf` holds one tensor of every type with random bits in every field, and `types.safetensors` its exact values.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[2] / "crates/meno-model/tests/golden/gguf"
RNG = np.random.default_rng(7)
TYPES = [Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K,
         Q.IQ4_NL, Q.IQ4_XS, Q.MXFP4]
# The places of the f16 scales in a block: random bytes there could be NaN, whose bits are not specified.
SCALES = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q2_K: [80, 82], Q.Q3_K: [108],
          Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.IQ4_NL: [0], Q.IQ4_XS: [0], Q.MXFP4: []}


def random_blocks(qtype, rows, cols):
    """Random bits in every field, so that each bit of a block is looked at; scales random but finite."""
    if qtype == Q.F32:
        return RNG.standard_normal((rows, cols), np.float32)
    if qtype == Q.F16:
        # Subnormals and the largest value too.
        x = RNG.standard_normal((rows, cols)).astype(np.float16)
        x[0, :4] = [6e-8, -6e-8, 65504, 0]
        return x
    if qtype == Q.BF16:
        return quantize(RNG.standard_normal((rows, cols), np.float32), qtype)
    elements, size = gguf.GGML_QUANT_SIZES[qtype]
    blocks = RNG.integers(0, 256, (rows * cols // elements, size), np.uint8)
    for at in SCALES[qtype]:
        scale = (RNG.standard_normal(len(blocks)) * 10.0 ** RNG.integers(-6, 2, len(blocks))).astype(np.float16)
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def add(writer, name, data, qtype):
    """Adds stored data (bytes of a quantized tensor, or a float array)."""
    if qtype in (Q.F32, Q.F16):
        writer.add_tensor(name, data)
    else:
        writer.add_tensor(name, data, raw_dtype=qtype)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types():
    """One tensor of each type. They are named as llama.cpp names a block's."""
    w = gguf.GGUFWriter(OUT / "types.gguf", "qwen2")
    w.add_array("test.nested", [[1, 2], [3]])
    w.add_array("test.strings", ["a", "", "ü", "日本"])
    w.add_array("test.integers", [-1, 0, 7])
    w.add_float32("test.f32", 1e-6)
    w.add_bool("test.bool", True)
    w.add_int8("test.i8", -5)
    w.add_uint64("test.u64", 2**64 - 1)
    golden = {}
    for layer, qtype in enumerate(TYPES):
        data = random_blocks(qtype, 3, 512)
        add(w, f"blk.{layer}.ffn_up.weight", data, qtype)
        golden[f"model.layers.{layer}.mlp.up_proj.weight"] = np.ascontiguousarray(
            dequantize(data, qtype).astype(np.float32)
        )
    finish(w)
    save_file(golden, OUT / "types.safetensors")


def fnv1a(x):
    """FNV-1a, 64 bits, over the 32-bit patterns of the values."""
    h = 0xCBF29CE484222325
    for bits in np.ascontiguousarray(x, np.float32).view(np.uint32).ravel().tolist():
        h = (h ^ bits) * 0x100000001B3 % 2**64
    return f"{h:016x}"


class Network:
    """Collects a network's tensors in both layouts."""

    def __init__(self, name, arch):
        self.name, self.golden = name, {}
        self.w = gguf.GGUFWriter(OUT / f"{name}.gguf", arch)

    def put(self, ggml, hf, shape, qtype=Q.F32, to_hf=lambda x: x):
        """`shape` is the stored one; `to_hf` gives the Hugging Face tensor (or a dict of them) from the stored."""
        x = RNG.standard_normal(shape).astype(np.float32) * 0.1
        stored = x if qtype == Q.F32 else quantize(x, qtype)
        add(self.w, ggml, stored, qtype)
        values = dequantize(stored, qtype).reshape(shape)
        made = to_hf(values)
        for key, value in made.items() if isinstance(made, dict) else [(hf, made)]:
            self.golden[key] = np.ascontiguousarray(value)

    def top(self, vocab, hidden, tied=False):
        self.put("token_embd.weight", "model.embed_tokens.weight", (vocab, hidden), Q.Q8_0)
        self.put("output_norm.weight", "model.norm.weight", (hidden,))
        if not tied:
            self.put("output.weight", "lm_head.weight", (vocab, hidden), Q.Q5_0)

    def norms(self, i, hidden):
        self.put(f"blk.{i}.attn_norm.weight", f"model.layers.{i}.input_layernorm.weight", (hidden,))
        self.put(f"blk.{i}.ffn_norm.weight", f"model.layers.{i}.post_attention_layernorm.weight", (hidden,))

    def mlp(self, i, hidden, inner, kind="", hf="mlp"):
        for g, h, shape in [
            ("gate", "gate_proj", (inner, hidden)),
            ("up", "up_proj", (inner, hidden)),
            ("down", "down_proj", (hidden, inner)),
        ]:
            self.put(f"blk.{i}.ffn_{g}{kind}.weight", f"model.layers.{i}.{hf}.{h}.weight", shape, Q.Q4_0)

    def experts(self, i, hidden, inner, experts):
        for g, h, shape in [
            ("gate", "gate_proj", (experts, inner, hidden)),
            ("up", "up_proj", (experts, inner, hidden)),
            ("down", "down_proj", (experts, hidden, inner)),
        ]:
            each = lambda x, h=h: {f"model.layers.{i}.mlp.experts.{e}.{h}.weight": x[e] for e in range(experts)}
            self.put(f"blk.{i}.ffn_{g}_exps.weight", h, shape, Q.Q8_0, each)

    def save(self):
        finish(self.w)
        golden = {k: {"shape": v.shape, "fnv1a": fnv1a(v)} for k, v in sorted(self.golden.items())}
        (OUT / f"{self.name}.json").write_text(json.dumps(golden, indent=0) + "\n")


def permute(n_head):
    """llama.cpp's `LlamaModel.permute`, as an index: stored row r holds Hugging Face row index[r]."""

    def undo(stored):
        rows = stored.shape[0]
        index = np.arange(rows).reshape(n_head, 2, rows // n_head // 2).swapaxes(1, 2).reshape(rows)
        hf = np.empty_like(stored)
        hf[index] = stored
        return hf

    return undo


def dense(name, arch, bias, tied):
    hidden, heads, kv, head, inner, vocab = 64, 4, 2, 16, 96, 40
    n = Network(name, arch)
    w = n.w
    w.add_context_length(128)
    w.add_embedding_length(hidden)
    w.add_block_count(2)
    w.add_feed_forward_length(inner)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_rope_freq_base(500000.0)
    w.add_layer_norm_rms_eps(1e-5)
    if arch == "llama":
        w.add_rope_dimension_count(head)
        # Llama 3.1's factors, as llama.cpp's converter makes them.
        wavelength = 2 * np.pi * 500000.0 ** (np.arange(0, head, 2) / head)
        smooth = (8192 / wavelength - 1) / 3
        factors = np.where(wavelength < 2048, 1, np.where(wavelength > 8192, 8, 1 / ((1 - smooth) / 8 + smooth)))
        w.add_tensor("rope_freqs.weight", factors.astype(np.float32))
    experts = 4 if arch == "qwen3moe" else 0
    if arch.startswith("qwen3"):
        head = 32  # other than hidden / heads
        w.add_key_length(head)
        w.add_value_length(head)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
        w.add_expert_feed_forward_length(32)
    n.top(vocab, hidden, tied)
    undo = permute if arch == "llama" else lambda _: lambda x: x
    for i in range(2):
        n.norms(i, hidden)
        for g, h, rows, cols, fix in [
            ("attn_q", "q_proj", heads * head, hidden, undo(heads)),
            ("attn_k", "k_proj", kv * head, hidden, undo(kv)),
            ("attn_v", "v_proj", kv * head, hidden, lambda x: x),
            ("attn_output", "o_proj", hidden, heads * head, lambda x: x),
        ]:
            n.put(f"blk.{i}.{g}.weight", f"model.layers.{i}.self_attn.{h}.weight", (rows, cols), Q.Q5_0, fix)
            if bias and h != "o_proj":
                n.put(f"blk.{i}.{g}.bias", f"model.layers.{i}.self_attn.{h}.bias", (rows,), Q.F32, fix)
        if arch.startswith("qwen3"):
            for g, h in ("attn_q_norm", "q_norm"), ("attn_k_norm", "k_norm"):
                n.put(f"blk.{i}.{g}.weight", f"model.layers.{i}.self_attn.{h}.weight", (head,))
        if experts:
            n.put(f"blk.{i}.ffn_gate_inp.weight", f"model.layers.{i}.mlp.gate.weight", (experts, hidden))
            n.experts(i, hidden, 32, experts)
        else:
            n.mlp(i, hidden, inner)
    n.save()


def deepseek2(name, split):
    """`split`: kv_b as k_b and v_b (files since 2025-04), with the latent's lengths in the metadata; V3's gate.
    Otherwise kv_b whole, and V2's gate without q_lora."""
    hidden, heads, nope, rope, v, rank, q_rank, vocab = 64, 2, 32, 16, 64, 32, 32, 24
    experts, inner, moe_inner = 4, 64, 32
    n = Network(name, "deepseek2")
    w = n.w
    w.add_context_length(4096)
    w.add_embedding_length(hidden)
    w.add_block_count(2)
    w.add_feed_forward_length(inner)
    w.add_head_count(heads)
    w.add_head_count_kv(1 if split else heads)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_leading_dense_block_count(1)
    w.add_kv_lora_rank(rank)
    w.add_rope_dimension_count(rope)
    w.add_expert_feed_forward_length(moe_inner)
    w.add_expert_count(experts)
    w.add_expert_used_count(2)
    w.add_expert_shared_count(1)
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(40.0)
    w.add_rope_scaling_orig_ctx_len(4096)
    if split:
        w.add_q_lora_rank(q_rank)
        w.add_key_length(rank + rope)
        w.add_value_length(rank)
        w.add_key_length_mla(nope + rope)
        w.add_value_length_mla(v)
        w.add_expert_weights_scale(2.5)
        w.add_expert_weights_norm(True)
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        w.add_expert_group_count(2)
        w.add_expert_group_used_count(1)
        w.add_rope_scaling_yarn_log_mul(0.1 * 1.0)
    else:
        w.add_key_length(nope + rope)
        w.add_value_length(v)
        w.add_rope_scaling_yarn_log_mul(0.1 * 0.707)
    n.top(vocab, hidden)
    for i in range(2):
        n.norms(i, hidden)
        a = f"model.layers.{i}.self_attn"
        if split:
            n.put(f"blk.{i}.attn_q_a.weight", f"{a}.q_a_proj.weight", (q_rank, hidden), Q.Q8_0)
            n.put(f"blk.{i}.attn_q_a_norm.weight", f"{a}.q_a_layernorm.weight", (q_rank,))
            n.put(f"blk.{i}.attn_q_b.weight", f"{a}.q_b_proj.weight", (heads * (nope + rope), q_rank), Q.Q8_0)
        else:
            n.put(f"blk.{i}.attn_q.weight", f"{a}.q_proj.weight", (heads * (nope + rope), hidden), Q.Q8_0)
        n.put(f"blk.{i}.attn_kv_a_mqa.weight", f"{a}.kv_a_proj_with_mqa.weight", (rank + rope, hidden), Q.Q8_0)
        n.put(f"blk.{i}.attn_kv_a_norm.weight", f"{a}.kv_a_layernorm.weight", (rank,))
        if split:
            kb = f"blk.{i}.attn_k_b.weight"
            n.put(kb, "k", (heads, rank, nope), Q.Q8_0, lambda x: {"k": x.transpose(0, 2, 1)})
            n.put(f"blk.{i}.attn_v_b.weight", "v", (heads, v, rank), Q.Q8_0)
            kv = np.concatenate([n.golden.pop("k"), n.golden.pop("v")], axis=1)
            n.golden[f"{a}.kv_b_proj.weight"] = np.ascontiguousarray(kv.reshape(-1, rank))
        else:
            n.put(f"blk.{i}.attn_kv_b.weight", f"{a}.kv_b_proj.weight", (heads * (nope + v), rank), Q.Q8_0)
        n.put(f"blk.{i}.attn_output.weight", f"{a}.o_proj.weight", (hidden, heads * v), Q.Q8_0)
        if i == 0:
            n.mlp(i, hidden, inner)
            continue
        m = f"model.layers.{i}.mlp"
        n.put(f"blk.{i}.ffn_gate_inp.weight", f"{m}.gate.weight", (experts, hidden))
        if split:
            n.put(f"blk.{i}.exp_probs_b.bias", f"{m}.gate.e_score_correction_bias", (experts,))
        n.mlp(i, hidden, moe_inner, "_shexp", "mlp.shared_experts")
        n.experts(i, hidden, moe_inner, experts)
    n.save()


def real(path):
    """Of every tensor the sum of (bits of element i + 1) * (2 i + 1), modulo 2^64, under llama.cpp's names."""
    sums = {}
    for t in gguf.GGUFReader(path).tensors:
        bits = np.ascontiguousarray(dequantize(t.data, t.tensor_type).astype(np.float32)).ravel().view(np.uint32)
        weights = np.arange(len(bits), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        sums[t.name] = f"{int(((bits.astype(np.uint64) + np.uint64(1)) * weights).sum(dtype=np.uint64)):016x}"
    pathlib.Path(str(path) + ".json").write_text(json.dumps(sums, indent=0) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--real"]:
        real(sys.argv[2])
        sys.exit()
    OUT.mkdir(parents=True, exist_ok=True)
    types()
    dense("qwen2", "qwen2", bias=True, tied=False)
    dense("llama", "llama", bias=False, tied=True)
    deepseek2("deepseek_v3", split=True)
    deepseek2("deepseek_v2", split=False)
    dense("qwen3", "qwen3", bias=False, tied=True)
    dense("qwen3_moe", "qwen3moe", bias=False, tied=False)
