#!/usr/bin/env bash
# Checks and measures the CUDA backend on a machine with a card and its driver, and nothing else: no network, no Rust.
# dev/cuda/prepare.sh collects what it needs. Prints one line for each part and a table at the end; every part is bounded
# in time, all together take at most six minutes. Exit code 1 if a part fails.
#
# usage: dev/cuda/check.sh [DIR] [LOGS]      default: target/gpu and a new directory
#
# PATIENCE=N multiplies all limits, and QUICK=1 leaves out what measures: both to try the script on the emulator.
# Where PyTorch, transformers and TRL are installed, dev/cuda/peers.py measures them in the same call.
set -uo pipefail
cd "$(dirname "$0")/../.."
dir=$(realpath "${1:-target/gpu}")
logs=$(realpath -m "${2:-$(mktemp -d)}")
mkdir -p "$logs"
meno=$dir/meno
failed=0

part() { # part NAME SECONDS COMMAND...: runs it, keeps its output, prints one line
    local name=$1 seconds=$2 start=$SECONDS status=0
    shift 2
    timeout --kill-after=5 $((seconds * ${PATIENCE:-1})) "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
    local took=$((SECONDS - start))
    case $status in
        0) printf 'ok      %-26s %4d s\n' "$name" "$took" ;;
        124 | 137) printf 'TIMEOUT %-26s %4d s\n' "$name" "$took"; failed=1 ;;
        *) printf 'FAIL    %-26s %4d s   exit code %s: %s\n' "$name" "$took" "$status" "$(tail -n 1 "$logs/$name.log")"
           failed=1 ;;
    esac
    return 0
}

# The perplexity of a text on two devices must agree within 0.5 %.
perplexities_agree() {
    local cpu gpu
    seq -s ' + ' 1 400 >"$logs/text.txt"
    cpu=$("$meno" perplexity -m "$dir/r1" --device cpu --json --context 64 --chunks 2 -f "$logs/text.txt") || return
    gpu=$("$meno" perplexity -m "$dir/r1" --device cuda --json --context 64 --chunks 2 -f "$logs/text.txt") || return
    echo "cpu $cpu" && echo "gpu $gpu"
    number() { sed -n 's/.*"perplexity": *\([0-9.e+]*\).*/\1/p' <<<"$1" | head -n 1; }
    awk -v a="$(number "$cpu")" -v b="$(number "$gpu")" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < (0.005 * a) ^ 2) }'
}

# Greedy answers of both devices: printed beside each other, equal in f32.
greedy_texts_agree() {
    local device
    for device in cpu cuda; do
        "$meno" generate -m "$dir/r1" --device "$device" --precision f32 --temperature 0 --max-tokens 60 -p "12+34=" \
            >"$logs/greedy-$device.txt" || return
    done
    diff "$logs/greedy-cpu.txt" "$logs/greedy-cuda.txt"
}

recipe() { # recipe OUT ARGUMENTS...: a short run of pretraining
    local out=$1
    shift
    "$meno" pretrain "recipes/tiny/pretrain.toml" --plain --out "$out" --set train.max_steps=40 \
        --set run.save_steps=10 "$@"
}

last_loss() {
    sed -n 's/.*"loss":\([0-9.e-]*\).*/\1/p' "$1/metrics.jsonl" | tail -n 1
}

# The loss after forty steps on the card is that of the CPU within 2 %.
training_agrees() {
    recipe "$logs/train-cpu" --device cpu || return
    recipe "$logs/train-gpu" --device cuda || return
    echo "losses: cpu $(last_loss "$logs/train-cpu"), gpu $(last_loss "$logs/train-gpu")"
    awk -v a="$(last_loss "$logs/train-cpu")" -v b="$(last_loss "$logs/train-gpu")" \
        'BEGIN { exit !(a > 0 && (a - b) ^ 2 < (0.02 * a) ^ 2) }'
}

# A run that is killed and resumed ends with the same bits.
resume_is_exact() {
    recipe "$logs/resumed" --device cuda &
    local pid=$!
    while [ ! -d "$logs/resumed/checkpoint-20" ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    recipe "$logs/resumed" --device cuda --resume || return
    cmp "$logs/train-gpu/model.safetensors" "$logs/resumed/model.safetensors"
}

# Sampled and trained tokens have the same bits at every step.
gap_is_zero() {
    "$meno" grpo "recipes/tiny/r1-zero.toml" --plain -m "$dir/r1" --out "$logs/grpo" --device cuda \
        --set train.max_steps=4 || return
    grep -o '"sampling/logprob_gap":[^,}]*' "$logs/grpo/metrics.jsonl" | sort | uniq -c
    ! grep -q '"sampling/logprob_gap":[^0]' "$logs/grpo/metrics.jsonl"
}

two_processes_share_a_card() {
    local pids=()
    for _ in 1 2; do
        "$meno" generate -m "$dir/r1" --device cuda --max-tokens 60 -p "12+34=" &
        pids+=($!)
    done
    wait "${pids[0]}" && wait "${pids[1]}"
}

too_much_memory_is_an_error() { # an error that names the memory, exit code 1, no panic
    local status=0
    "$meno" bench train --preset qwen2.5-0.5b --device cuda --sequences 4096 --length 2048 --steps 1 \
        2>"$logs/oom.txt" || status=$?
    cat "$logs/oom.txt"
    [ $status = 1 ] && grep -q "out of memory" "$logs/oom.txt"
}

export -f perplexities_agree greedy_texts_agree recipe last_loss training_agrees resume_is_exact gap_is_zero \
    two_processes_share_a_card too_much_memory_is_an_error
export dir logs meno

bash_part() { part "$1" "$2" bash -c "$1"; }
part doctor 60 "$meno" doctor
part ops 100 "$dir/tests/tensor" cuda:: ops:: backend:: --test-threads 4
part networks 60 "$dir/tests/networks"
bash_part perplexities_agree 30
bash_part greedy_texts_agree 20
bash_part training_agrees 60
bash_part resume_is_exact 40
bash_part gap_is_zero 60
bash_part two_processes_share_a_card 20
bash_part too_much_memory_is_an_error 20
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        part "sanitizer_$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 3 "$dir/tests/tensor" \
            ops::linear ops::attention ops::experts ops::head --test-threads 1
    done
fi
for preset in qwen2.5-0.5b V3-mid; do
    part "train_$preset" 60 "$meno" bench train --preset "$preset" --device cuda --steps 5
done
part infer_qwen2.5-0.5b 60 "$meno" bench infer --preset qwen2.5-0.5b --device cuda --precision bf16 \
    --sequences 1,64,256 --repeat 1

echo
for log in "$logs"/doctor.log "$logs"/train_*.log "$logs"/infer_*.log; do
    [ -e "$log" ] && echo "== $(basename "$log" .log)" && cat "$log"
done
echo "logs: $logs"
exit $failed
