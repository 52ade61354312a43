"""Golden files for merging LoRA adapters: one as PEFT saves it, and the weights after PEFT's own merge.

    python dev/reference/lora.py crates/meno-model/tests/golden

On the checkpoint `llama` (made by networks.py): rank 3 on q_proj and down_proj, rank 2 with another alpha on v_proj,
rsLoRA, and a head trained whole (`modules_to_save`). Made with peft 0.21.
"""

import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

if __name__ == "__main__":
    golden = pathlib.Path(sys.argv[1])
    torch.manual_seed(3)
    for name, rslora, extra in [("lora", False, {}), ("rslora", True, dict(modules_to_save=["lm_head"]))]:
        base = AutoModelForCausalLM.from_pretrained(golden / "llama", dtype=torch.float32)
        model = get_peft_model(base, LoraConfig(
            r=3, lora_alpha=8, target_modules=["q_proj", "down_proj", "v_proj"], use_rslora=rslora,
            rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 5}, task_type="CAUSAL_LM", **extra))
        for key, p in model.named_parameters():
            if p.requires_grad:
                p.data = torch.randn_like(p) * 0.2
        where = golden / name
        shutil.rmtree(where, ignore_errors=True)
        model.save_pretrained(where)
        (where / "README.md").unlink(missing_ok=True)
        merged = model.merge_and_unload()
        changed = ("q_proj", "down_proj", "v_proj", "lm_head")
        tensors = {k: v.detach().clone() for k, v in merged.state_dict().items() if any(c in k for c in changed)}
        save_file(tensors, where / "expected.safetensors")
        for file in where.iterdir():
            file.chmod(0o644)
        print(name, sorted(p.name for p in where.iterdir()))
