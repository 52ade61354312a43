#!/usr/bin/env bash
# Runs the tiny recipes on 1, 2 and 4 processes of this machine and compares their bits; kills processes; misuses them.
#
#   dev/mpi/check.sh MENO [DIR]        MENO is built with `--features mpi`; DIR keeps the results
#
# MPIRUN is the launcher: `mpirun` (Open MPI) by default, `mpirun.mpich` for a MENO that was built with
# MPICC=mpicc.mpich. The whole takes one to two minutes on two cores. Ends with `N passed, N failed`.
set -uo pipefail
meno=$(realpath "$1")
cd "$(dirname "$0")/../.."
out=${2:-$(mktemp -d)}
[ $# -gt 1 ] || trap 'rm -rf "$out"' EXIT
mkdir -p "$out"
mpirun=${MPIRUN:-mpirun}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1
passed=0 failed=0

check() { # check NAME COMMAND...: the command must succeed
    local name=$1
    shift
    if timeout_of 120 "$@" >"$out/log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        sed 's/^/        | /' "$out/log" | tail -20
    fi
}

timeout_of() { # timeout_of SECONDS FUNCTION...: like timeout, for functions
    local seconds=$1
    shift
    "$@" &
    local job=$!
    (sleep "$seconds" && pkill -9 -f "^$meno"; kill "$job") 2>/dev/null &
    local watch=$!
    wait "$job"
    local code=$?
    pkill -P "$watch" 2>/dev/null
    kill "$watch" 2>/dev/null
    return $code
}

run() { # run RANKS VERB RECIPE DIR ARGUMENTS...
    local ranks=$1 verb=$2 recipe=$3 dir=$4
    shift 4
    $mpirun -n "$ranks" "$meno" "$verb" "$recipe" --plain --threads 1 --out "$dir" "$@" </dev/null
}

# Everything that must have the same bits: the model, the checkpoints, the traces.
bits() { (cd "$1" && find . -name '*.safetensors' -o -name traces.jsonl | sort | xargs -r sha256sum); }
same() { [ -n "$(bits "$1")" ] && diff <(bits "$1") <(bits "$2"); }
table() { printf '%-12s %d process(es)  %s\n' "$1" "$2" "$(bits "$3" | sha256sum | cut -c1-16)"; }

steps=(--set train.gradient_shards=4 --set train.max_steps=4 --set run.save_steps=2)
tiny=recipes/tiny
pretrain() { run "$1" pretrain $tiny/pretrain.toml "$2" "${steps[@]}" "${@:3}"; }
sft() {
    run "$1" sft $tiny/1-cold-start-sft.toml "$2" "${steps[@]}" --set sft.num_train_epochs=0 -m "$out/1/pretrain" \
        --set task.prompt=plain --set eval.eval_steps=2 --set eval.eval_task=$tiny/questions.jsonl --set eval.num_problems=6 "${@:3}"
}
grpo() {
    run "$1" grpo $tiny/2-reasoning-rl.toml "$2" "${steps[@]}" --set grpo.num_questions=6 -m "$out/1/pretrain" "${@:3}"
}
sample() {
    run "$1" sample $tiny/3-rejection-sampling.toml "$2" --set sample.num_questions=12 -m "$out/1/pretrain" "${@:3}"
}
evaluate() {
    $mpirun -n "$1" "$meno" eval -m "$out/1/pretrain" --task $tiny/questions.jsonl --problems 9 -k 3 --max-tokens 24 \
        --prompt plain --threads 1 --temperature 1 --out "$2/answers.jsonl" --json </dev/null
}

echo "The same bits on 1, 2 and 4 processes"
for stage in pretrain sft grpo sample; do
    for ranks in 1 2 4; do
        check "$stage on $ranks" "$stage" "$ranks" "$out/$ranks/$stage"
        [ "$ranks" = 1 ] || check "$stage: $ranks processes have the bits of 1" same "$out/1/$stage" "$out/$ranks/$stage"
    done
done
for ranks in 1 2 4; do
    mkdir -p "$out/$ranks/eval"
    check "eval on $ranks" evaluate "$ranks" "$out/$ranks/eval"
    check "eval: $ranks processes give the answers of 1" \
        cmp "$out/1/eval/answers.jsonl" "$out/$ranks/eval/answers.jsonl"
done

experts() { pretrain "$1" "$out/$1/experts" --set train.expert_parallel=true && same "$out/1/pretrain" "$out/$1/experts"; }
for ranks in 2 4; do check "experts dealt out to $ranks processes: the bits of 1" experts "$ranks"; done

echo "A run continues on another number of processes"
for change in "1 2" "2 4" "4 1"; do
    read -r before after <<<"$change"
    for stage in pretrain sft grpo; do
        dir=$out/resume-$before-$after-$stage
        cp -r "$out/$before/$stage" "$dir"
        rm -r "$dir/checkpoint-4" "$dir/model.safetensors"
        check "$stage: resumed from $before on $after" "$stage" "$after" "$dir" --resume
        check "$stage: $before, then $after, have the bits of 1" same "$out/1/$stage" "$dir"
    done
done

echo "A killed process ends all; the run continues from its last checkpoint"
long=(--set train.max_steps=40 --set run.save_steps=3 --set run.save_total_limit=1)
killed() { # kills a process of the run with -9 after some steps; the launcher must report it and end all
    local dir=$1 after=$2
    grpo 2 "$dir" "${long[@]}" "${@:3}" &
    local launcher=$!
    until [ "$(cat "$dir/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$after" ]; do
        kill -0 "$launcher" || return 2
        sleep 0.01
    done
    sleep "0.0$((RANDOM % 10))"
    kill -9 "$(pgrep -f "^$meno grpo.*$dir" | shuf -n 1)"
    ! wait "$launcher" && ! pgrep -f "^$meno grpo.*$dir"
}
check "an uninterrupted run" grpo 1 "$out/whole" "${long[@]}"
for after in 2 11 23; do
    check "killed after step $after" killed "$out/killed" "$after" --resume
done
check "the rest of the killed run" grpo 2 "$out/killed" "${long[@]}" --resume
check "a killed run has the bits of an uninterrupted one" same "$out/whole" "$out/killed"

stopped() { # SIGUSR1 to the launcher: the processes save and stop
    pretrain 2 "$out/stopped" --set train.max_steps=100000 --set run.save_steps=0 &
    local launcher=$!
    sleep 3
    pkill -USR1 -f "^$mpirun .*$out/stopped"
    ! wait "$launcher" && ls -d "$out"/stopped/checkpoint-*
}
check "a stop request saves the run" stopped

echo "Wrong use ends with one message"
says() { # says TEXT COMMAND...: fails, and prints the text once
    local text=$1
    shift
    local output
    output=$("$@" 2>&1) && return 1
    echo "$output"
    [ "$(grep -c -- "$text" <<<"$output")" = 1 ]
}
both() { # two programs or recipes in one job
    $mpirun -n 1 "$1" pretrain "$2" --out "$out/unequal" "${steps[@]}" \
        : -n 1 "$3" pretrain "$4" --out "$out/unequal" "${steps[@]}" </dev/null
}
sed 's/learning_rate = .*/learning_rate = 1e-9/' $tiny/pretrain.toml >"$out/other.toml"
(cat "$meno"; echo) >"$out/meno-other" && chmod +x "$out/meno-other"
check "a command for one process" says "but this command runs in one" $mpirun -n 2 "$meno" doctor
check "shards that 2 processes cannot share" says "expected a multiple of 2" \
    pretrain 2 "$out/shards" --set train.gradient_shards=1
check "3 processes" says "expected a power of two" pretrain 3 "$out/three"
check "unequal recipes" says "rank 1 has another recipe" both "$meno" $tiny/pretrain.toml "$meno" "$out/other.toml"
check "unequal programs" says "rank 1 has another program" \
    both "$meno" $tiny/pretrain.toml "$out/meno-other" $tiny/pretrain.toml
elsewhere() { # process 1 runs in a directory without the data
    $mpirun -n 1 "$meno" pretrain "$PWD/$tiny/pretrain.toml" --out "$out/elsewhere" "${steps[@]}" \
        : -n 1 -wdir "$out" "$meno" pretrain "$PWD/$tiny/pretrain.toml" --out "$out/elsewhere" "${steps[@]}" </dev/null
}
mkdir -p "$out/here" "$out/there"
cp -r "$out/1/pretrain" "$out/here/model"
cp -r "$out/1/pretrain" "$out/there/model"
answers=(eval -m model --task "$PWD/$tiny/questions.jsonl" -k 3 --max-tokens 24 --prompt plain --threads 1 --out a.jsonl)
some() { (cd "$out/here" && "$meno" "${answers[@]}" --problems 5 </dev/null); }
apart() { # two processes that do not share a directory
    $mpirun -n 1 -wdir "$out/here" "$meno" "${answers[@]}" --problems 9 --resume \
        : -n 1 -wdir "$out/there" "$meno" "${answers[@]}" --problems 9 --resume </dev/null
}
check "some answers" some
check "another state of the output" says "rank 1 has another state of the output" apart
cp "$out/1/sft/model.safetensors" "$out/there/model"
check "another model" says "rank 1 has another model" apart
check "an error of one process" says "rank 1: error: " elsewhere
check "a loss that is not finite" says "lower .train.learning_rate" \
    pretrain 2 "$out/nan" --set train.learning_rate=1e30 --set train.warmup_steps=0 --set train.optim=adamw
check "an error of all processes" says "no_such_key" pretrain 2 "$out/key" --set train.no_such_key=1
mkdir -p "$out/held" && check "a full run in the way" says "holds a run at step 4" pretrain 2 "$out/2/pretrain"

echo "Bits (SHA-256 of all weights and training states of a run)"
for stage in pretrain sft grpo sample; do
    for ranks in 1 2 4; do table "$stage" "$ranks" "$out/$ranks/$stage"; done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
