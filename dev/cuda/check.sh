#!/usr/bin/env bash
# Checks and measures the CUDA backend on a machine with a card and its driver, and nothing else: no network, no Rust,
# no Python. dev/cuda/prepare.sh collects what it needs. Prints one line for each part, profiles, and a table of the
# goals; takes at most six minutes. Exit code 1 if a part fails; a goal that is not reached is no failure.
#
# usage: dev/cuda/check.sh [FROM] [LOGS]     default: target/gpu.tar.gz, or a directory with its files; a new directory
#
#   PARTS="doctor gap_is_zero"   runs these parts only
#   QUICK=1                      leaves out what measures speed: to try the script on the emulator
#   PATIENCE=N                   multiplies all limits of time: the emulator is about a thousand times slower
#
# Where PyTorch is installed, dev/cuda/peers.py measures PyTorch, transformers and TRL in the same call.
#
# shellcheck disable=SC2317,SC2329 # functions run in `bash -c`
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
from=${1:-target/gpu.tar.gz}
logs=$(realpath -m "${2:-$(mktemp -d)}")
dir=$from
quick=${QUICK:-0}
patience=${PATIENCE:-1}
mkdir -p "$logs"
if [ -f "$from" ]; then
    dir=$logs/unpacked
    mkdir -p "$dir" && tar -xzf "$from" -C "$dir" || exit
fi
dir=$(realpath "$dir")
meno=$dir/meno
[ -x "$meno" ] || { echo "$meno is missing: dev/cuda/prepare.sh packs it" >&2 && exit 1; }
export HF_HUB_OFFLINE=1 MENO_EMULATOR=0 CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-0}"

# Seconds for everything.
ALL=360
failed=0
# 1: parts that may end for lack of time.
optional=0

# part NAME SECONDS COMMAND...: runs the command, keeps its output in NAME.log, prints one line.
part() {
    local name=$1 limit=$(($2 * patience)) left=$((ALL * patience - SECONDS)) start=$SECONDS status=0 how
    shift 2
    [[ -z ${PARTS:-} || " $PARTS " == *" $name "* ]] || return 0
    ((limit < left)) || limit=$left
    if ((limit < 1)); then
        status=124
    else
        timeout --kill-after=5 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
    fi
    case $status in
        0) how=ok ;;
        124 | 137) how=TIMEOUT && ((optional)) || failed=1 ;;
        *) how=FAIL && failed=1 ;;
    esac
    printf '%-7s %-30s %4d s' "$how" "$name" $((SECONDS - start))
    [ $how != FAIL ] || printf '   exit code %s: %s' "$status" "$(tail -n 1 "$logs/$name.log")"
    echo
}

# A part that is a function of this script.
check() {
    part "$1" "$2" bash -c "set -o pipefail; $1"
}

# Reads a number from JSON on standard input.
number() {
    sed -n "s/.*\"$1\": *\([-0-9.e+]*\).*/\1/p" | head -n 1
}

# close A B SHARE: two positive numbers differ by no more than this share of the first.
close() {
    echo "$1 and $2: expected equal numbers within a factor of $3"
    awk -v a="$1" -v b="$2" -v share="$3" 'BEGIN { exit !(a > 0 && b > 0 && (a - b) ^ 2 <= (share * a) ^ 2) }'
}

# The card is found, and it keeps the numerics contract. The exit code of `meno doctor` says whether programs can run in
# a sandbox, which is not of interest here.
doctor() {
    local gpu quickly=()
    [ "$quick" = 0 ] || quickly=(--quick)
    "$meno" doctor "${quickly[@]}" >"$logs/doctor.txt"
    cat "$logs/doctor.txt"
    gpu=$(sed -n '/^GPU$/,/^[^ G]/p' "$logs/doctor.txt")
    grep -q '^  ok  *cuda:0: ' <<<"$gpu" || { echo "no card that can be used" && return 1; }
    ! grep '^  missing' <<<"$gpu" || return
    [ "$quick" = 1 ] || [ "$(grep -c 'numerics contract, .*: equal bits' <<<"$gpu")" -ge 2 ] ||
        { echo "the numerics contract was not checked for two networks" && return 1; }
}

# perplexity DEVICE PRECISION: of the model's own answers
perplexity() {
    local report
    report=$("$meno" perplexity -m "$dir/r1" --device "$1" --precision "$2" --json --context 64 \
        -f "$logs/answers.txt") || return
    echo "$1 $2 $report" >&2
    number perplexity <<<"$report"
}

perplexities_agree() {
    local reference
    "$meno" generate -m "$dir/r1" --device cpu -n 8 --seed 1 --max-tokens 60 -p "12+34=" >"$logs/answers.txt" || return
    reference=$(perplexity cpu f32) || return
    close "$reference" "$(perplexity cuda f32)" 0.0001 && close "$reference" "$(perplexity cuda bf16)" 0.005
}

greedy_texts_agree() {
    local device
    for device in cpu cuda; do
        "$meno" generate -m "$dir/r1" --device "$device" --precision f32 --temperature 0 --max-tokens 60 -p "12+34=" \
            >"$logs/greedy-$device.txt" || return
    done
    [ -s "$logs/greedy-cpu.txt" ] && diff "$logs/greedy-cpu.txt" "$logs/greedy-cuda.txt"
}

# pretrain OUT ARGUMENTS...: forty steps of a small DeepSeek-V3. With exec="exec", the program takes the shell's place.
pretrain() {
    local out=$1
    shift
    ${exec:-} "$meno" pretrain recipes/tiny/pretrain.toml --plain --out "$out" \
        --set train.max_steps=40 --set run.save_steps=10 "$@"
}

last_loss() {
    tail -n 1 "$1/metrics.jsonl" | number loss
}

# The loss after forty steps on the card, in bf16, is that of the CPU in f32.
training_agrees() {
    rm -rf "$logs/train-cpu" "$logs/train-gpu"
    pretrain "$logs/train-cpu" --device cpu || return
    pretrain "$logs/train-gpu" --device cuda --set 'train.precision="bf16"' || return
    close "$(last_loss "$logs/train-cpu")" "$(last_loss "$logs/train-gpu")" 0.02
}

# A run that is killed and resumed ends with the same bits.
resume_is_exact() {
    local pid status=0
    rm -rf "$logs/resumed"
    exec="exec" pretrain "$logs/resumed" --device cuda --set 'train.precision="bf16"' &
    pid=$!
    while [ ! -d "$logs/resumed/checkpoint-20" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    kill -KILL "$pid"
    wait "$pid" || status=$?
    [ "$status" = 137 ] || { echo "the run ended with exit code $status before it was killed" && return 1; }
    pretrain "$logs/resumed" --device cuda --set 'train.precision="bf16"' --resume || return
    cmp "$logs/train-gpu/model.safetensors" "$logs/resumed/model.safetensors"
}

# Sampled and trained tokens have the same bits at every step, also in the second step on the same answers.
gap_is_zero() {
    local gaps norms
    rm -rf "$logs/grpo"
    # Rewards that differ between wrong answers.
    "$meno" grpo recipes/tiny/r1-zero.toml --plain -m "$dir/r1" --out "$logs/grpo" --device cuda \
        --set 'train.precision="bf16"' --set train.max_steps=4 --set 'grpo.reward_weights=[1.0,1.0]' \
        --set 'grpo.reward_funcs=["repetition_penalty","cosine_length"]' 2>&1 | tee "$logs/grpo.txt" || return
    ! grep "numerics contract" "$logs/grpo.txt" || return
    gaps=$(grep -c '"sampling/logprob_gap":0\.0[,}]' "$logs/grpo/metrics.jsonl")
    norms=$(grep -vc '"grad_norm":0\.0[,}]' "$logs/grpo/metrics.jsonl")
    echo "of 4 steps, $gaps have a gap of 0, $norms have a gradient"
    [ "$gaps" = 4 ] && [ "$norms" = 4 ]
}

two_processes_share_a_card() {
    local i pids=()
    for i in 1 2; do
        "$meno" generate -m "$dir/r1" --device cuda --max-tokens 60 -p "12+34=" >"$logs/shared-$i.txt" &
        pids+=($!)
    done
    wait "${pids[0]}" && wait "${pids[1]}" && [ -s "$logs/shared-1.txt" ] || return
    cmp "$logs/shared-1.txt" "$logs/shared-2.txt"
}

# The error names the memory and the setting, without a panic. The activations take 357 GB.
too_much_memory_is_an_error() {
    local status=0
    "$meno" bench train --preset W2 --device cuda --sequences 32768 --length 256 --steps 1 2>"$logs/memory.txt" ||
        status=$?
    cat "$logs/memory.txt"
    [ "$status" = 1 ] && grep -q "out of memory.* are free: lower " "$logs/memory.txt"
}

grpo_qwen() {
    "$meno" bench grpo --preset qwen2.5-0.5b --device cuda --precision bf16 --threads 0 \
        --questions 16 --generations 16 --prompt 48 --gen 256 --steps 3 --json | tee "$logs/grpo_qwen.json" || return
    [ "$(number logprob_gap <"$logs/grpo_qwen.json")" = 0.0 ] || { echo "logprob_gap is not 0" && return 1; }
}

# Only what the table shows, and the variants that are fast.
peers() {
    python3 dev/cuda/peers.py copy train-qwen-compiled decode-static-1 decode-static-64 train-v3-eager grpo \
        decode-static-256 || true
}

# Time by op in milliseconds, slowest first.
training_profile() {
    printf '\n== %s: ms a step, forward and backward\n' "$1"
    grep -o '"op":"[^}]*' "$logs/$1.log" | sed 's/"op":"\(.*\)","forward_ms":\(.*\),"backward_ms":\(.*\)/\1\t\2\t\3/' |
        awk -F '\t' '{ printf "%-24s %10.3f %10.3f\n", $1, $2, $3 }'
}

inference_profile() {
    local what
    for what in prompt gen; do
        printf '\n== %s: ms a token, %s\n' "$1" "$what"
        sed -n "s/.*\"${what}_device_ms_per_token\":{\([^}]*\)}.*/\1/p" "$logs/$1.log" | tr ',' '\n' | tr -d '"' |
            awk -F : '{ printf "%-24s %10.5f\n", $1, $2 }' | sort -k 2 -gr
    done
}

grpo_profile() {
    local key
    printf '\n== grpo_qwen: seconds\n'
    for key in step_s sampling_s training_s; do
        printf '%-24s %10.3f\n' "${key%_s}" "$(number $key <"$logs/grpo_qwen.log")"
    done
}

# goal NAME PEER_JOB PEER_KEY RECORDED PART KEY SCALE RELATION GOAL: a row of the table
goal() {
    local peer mark=" " meno
    peer=$(grep -s "\"job\": \"$2\"" "$logs/peers.log" | number "$3")
    meno=$(grep -s '^{' "$logs/$5.log" | number "$6")
    [ -n "$peer" ] || { peer=$4 && mark="*"; }
    awk -v name="$1" -v peer="$peer" -v mark="$mark" -v meno="$meno" -v scale="$7" -v relation="$8" -v goal="$9" '
        function text(x) { return x >= 1000 ? sprintf("%.0f", x) : sprintf("%.4g", x) }
        BEGIN {
            reached = "not measured"; shown = ratio = "-"
            if (meno != "") {
                meno *= scale
                shown = text(meno)
                reached = (relation == "<=" ? meno <= goal + 0 : meno >= goal + 0) ? "yes" : "NO"
                if (peer != "-" && meno > 0) ratio = sprintf("%.2f", relation == "<=" ? peer / meno : meno / peer)
            }
            peer = peer == "-" ? "- " : text(peer) mark
            printf "%-48s %9s %9s %7s   %2s %-7s %s\n", name, peer, shown, ratio, relation, text(goal), reached
        }'
}

table() {
    local infer=infer_qwen2.5-0.5b
    printf '\n%-48s %9s %9s %7s   %-10s %s\n' "(*: recorded on an H100, not measured here)" \
        "peer " Meno ratio goal reached
    goal "training 0.5B, 8 x 2048, tokens/s; PyTorch" train-qwen-compiled tokens_per_s 100400 \
        train_qwen2.5-0.5b tokens_per_s 1 ">=" 140000
    goal "  memory of the card, GB" train-qwen-compiled memory_gb 41 train_qwen2.5-0.5b device_memory_mb 0.001 "<=" 16
    goal "training V3-mid, 8 x 2048, tokens/s; transformers" train-v3-eager tokens_per_s 52600 \
        train_V3-mid tokens_per_s 1 ">=" 180000
    goal "0.5B, 1 sequence, tokens/s; transformers" decode-static-1 tokens_per_s 316 $infer gen_tokens_per_s 1 ">=" 1200
    goal "  64 sequences" decode-static-64 tokens_per_s 11600 $infer gen_tokens_per_s_64 1 ">=" 40000
    goal "  256 sequences" decode-static-256 tokens_per_s 22200 $infer gen_tokens_per_s_256 1 ">=" 90000
    goal "GRPO 0.5B, 16 x 16 x 256 tokens, s a step; TRL" grpo step_s 9.0 grpo_qwen step_s 1 "<=" 1
    goal "  largest logprob gap" none none - grpo_qwen logprob_gap 1 "<=" 0
}

export -f number close doctor perplexity perplexities_agree greedy_texts_agree pretrain last_loss training_agrees \
    resume_is_exact gap_is_zero two_processes_share_a_card too_much_memory_is_an_error grpo_qwen peers
export dir logs meno quick

check doctor 30
part ops 60 "$dir/tests/tensor" cuda:: ops:: backend:: --test-threads 4
part networks 30 "$dir/tests/networks"
check perplexities_agree 10
check greedy_texts_agree 10
check training_agrees 25
check resume_is_exact 25
check gap_is_zero 25
check two_processes_share_a_card 10
check too_much_memory_is_an_error 10
if [ "$quick" = 0 ]; then
    for preset in qwen2.5-0.5b V3-mid; do
        part "train_$preset" 25 "$meno" bench train --preset $preset --device cuda --precision bf16 --threads 0 \
            --steps 5 --json
    done
    part infer_qwen2.5-0.5b 30 "$meno" bench infer --preset qwen2.5-0.5b --device cuda --precision bf16 --threads 0 \
        --prompt 64 --sequence-prompt 64 --gen 128 --sequences 1,64,256 --repeat 3 --json
    check grpo_qwen 45
    optional=1
    if python3 -c 'import torch' 2>/dev/null; then
        check peers 200
    fi
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck; do
            part "sanitizer_$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 3 "$dir/tests/tensor" \
                ops::linear ops::attention ops::experts ops::head --test-threads 1
        done
    fi
    [ ! -e "$logs/doctor.txt" ] || { echo && sed -n '/^GPU$/,/^[^ G]/p' "$logs/doctor.txt" | grep '^ '; }
    training_profile train_qwen2.5-0.5b
    training_profile train_V3-mid
    inference_profile infer_qwen2.5-0.5b
    grpo_profile
    table
fi
echo "logs: $logs"
exit $failed
