"""Golden files for FP8 weights: the checkpoint `deepseek_v3` (made by networks.py) with its matrices quantized as
DeepSeek's are, and what `weight_dequant` of DeepSeek-V3's inference/kernel.py gives, by torch's own e4m3.

    python dev/reference/fp8.py crates/meno-model/tests/golden

Blocks are 16×24, so that those at the edges are partial. Factors are f32 (as published), in `fp8_ue8m0` powers of two
stored as e8m0. Some codes are set by hand: the largest, the smallest, subnormals, both zeros.
"""

import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

BLOCK = (16, 24)


def spread(scales, shape):
    return scales.repeat_interleave(BLOCK[0], 0)[: shape[0]].repeat_interleave(BLOCK[1], 1)[:, : shape[1]]


def quantize(w, ue8m0):
    rows, cols = w.shape
    padded = torch.zeros(-(-rows // BLOCK[0]) * BLOCK[0], -(-cols // BLOCK[1]) * BLOCK[1])
    padded[:rows, :cols] = w
    blocks = padded.reshape(-1, BLOCK[0], padded.shape[1] // BLOCK[1], BLOCK[1])
    scales = blocks.abs().amax((1, 3)) / 448
    if ue8m0:
        scales = torch.exp2(torch.ceil(torch.log2(scales)))
    codes = (w / spread(scales, w.shape)).to(torch.float8_e4m3fn)
    codes.view(torch.uint8)[0, :8] = torch.tensor([0x7E, 0xFE, 0x01, 0x81, 0x07, 0x08, 0x80, 0x00], dtype=torch.uint8)
    return codes, scales


if __name__ == "__main__":
    golden = pathlib.Path(sys.argv[1])
    for name, ue8m0 in [("fp8", False), ("fp8_ue8m0", True)]:
        tensors, expected = {}, {}
        for key, w in load_file(golden / "deepseek_v3/model.safetensors").items():
            if w.dim() == 2 and not any(k in key for k in ("embed_tokens", "lm_head", "mlp.gate.weight")):
                codes, scales = quantize(w.float(), ue8m0)
                tensors[key] = codes
                tensors[f"{key}_scale_inv"] = scales.to(torch.float8_e8m0fnu) if ue8m0 else scales
                expected[key] = codes.float() * spread(scales, codes.shape)
            else:
                tensors[key] = w
        where = golden / name
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir()
        config = json.loads((golden / "deepseek_v3/config.json").read_text())
        config["quantization_config"] = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                         "weight_block_size": list(BLOCK)}
        if ue8m0:
            config["quantization_config"]["scale_fmt"] = "ue8m0"
        (where / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(tensors, where / "model.safetensors", metadata={"format": "pt"})
        save_file({k: v.contiguous() for k, v in expected.items()}, where / "expected.safetensors")
        for file in where.iterdir():
            file.chmod(0o644)
        print(name, len(expected), "of", len(tensors), sum(p.stat().st_size for p in where.iterdir()) // 1024, "KiB")
