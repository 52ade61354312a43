#!/usr/bin/env bash
# Measures pretraining steps on one and two processes of one thread each: strong scaling (the same step), weak scaling
# (twice the step), and both ways of adding gradients. Prints medians of the step time and the bytes that a process sends.
#
#   dev/mpi/scaling.sh MENO            MENO is built with `--features mpi`; takes about five minutes on two cores
set -euo pipefail
meno=$(realpath "$1")
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

# A dense and a sparse network: 21 and 25 million parameters.
cp recipes/tiny/model/* "$out"
sed -e 's/"hidden_size": [0-9]*/"hidden_size": 512/' -e 's/"intermediate_size": [0-9]*/"intermediate_size": 1536/' \
    -e 's/"num_hidden_layers": [0-9]*/"num_hidden_layers": 8/' -e 's/"first_k_dense_replace": [0-9]*/"first_k_dense_replace": 8/' \
    -e 's/"kv_lora_rank": [0-9]*/"kv_lora_rank": 256/' -e 's/"num_nextn_predict_layers": 1/"num_nextn_predict_layers": 0/' \
    recipes/tiny/model/config.json >"$out/dense.json"
sed -e 's/"first_k_dense_replace": [0-9]*/"first_k_dense_replace": 1/' \
    -e 's/"moe_intermediate_size": [0-9]*/"moe_intermediate_size": 384/' "$out/dense.json" >"$out/moe.json"

median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
metric() { # metric DIR NAME: the median, without the first step
    sed 1d "$1/metrics.jsonl" | sed -n "s/.*\"$2\":\([0-9.e+-]*\).*/\1/p" | median
}
step() { # step NAME RANKS THREADS TOKENS CONFIG ARGUMENTS...
    local name=$1 ranks=$2 threads=$3 tokens=$4 config=$5
    shift 5
    local dir="$out/run-$RANDOM$RANDOM"
    mpirun --bind-to none -n "$ranks" "$meno" pretrain recipes/tiny/pretrain.toml --plain --threads "$threads" --out "$dir" \
        --set model.config="$out/$config.json" --set model.tokenizer="$out" --set train.max_steps=9 --set train.optim=adamw \
        --set train.gradient_shards=2 --set pretrain.tokens_per_step="$tokens" --set train.max_tokens=512 \
        --set run.save_steps=0 "$@" >"$out/log" 2>&1 </dev/null || { cat "$out/log"; exit 1; }
    local sent=0
    [ "$ranks" = 1 ] || sent=$(metric "$dir" 'comm\/bytes_sent')
    printf '%-44s %8.0f ms  %8.1f MB sent by a process\n' "$name" \
        "$(metric "$dir" step_time | awk '{print 1000 * $1}')" "$(awk "BEGIN {print $sent / 1e6}")"
}

for round in 1 2; do
    echo "Round $round"
    step "dense, 2048 tokens, 1 process x 1 thread" 1 1 2048 dense
    step "dense, 2048 tokens, 1 process x 2 threads" 1 2 2048 dense
    step "dense, 2048 tokens, 2 processes" 2 1 2048 dense
    step "dense, 2048 tokens, 2 processes, fast" 2 1 2048 dense --reduce fast
    step "dense, 4096 tokens, 2 processes (weak)" 2 1 4096 dense
    step "moe, 2048 tokens, 1 process x 1 thread" 1 1 2048 moe
    step "moe, 2048 tokens, 2 processes" 2 1 2048 moe
    step "moe, 2048 tokens, 2 processes, dealt out" 2 1 2048 moe --set train.expert_parallel=true
done
