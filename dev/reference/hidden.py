"""Golden hidden states of the networks: what embeddings are made of, as transformers gives them.

    python dev/reference/hidden.py crates/meno-model/tests/golden

Writes hidden.safetensors: for every case below, under its name, f32 [sequences, t, hidden], the states after the last
norm of the tokens in its expected.safetensors, computed in f32 from the stored weights. `networks.py` made the cases.
Prompt log-probabilities need no separate file: they follow from the logits in expected.safetensors.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

golden = pathlib.Path(sys.argv[1])
states = {}
for name in ["qwen2", "deepseek_v3"]:
    tokens = load_file(golden / name / "expected.safetensors")["tokens"].long()
    model = AutoModel.from_pretrained(golden / name, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        states[name] = model(input_ids=tokens, use_cache=False).last_hidden_state.contiguous()
save_file(states, golden / "hidden.safetensors")
print({name: list(state.shape) for name, state in states.items()})
