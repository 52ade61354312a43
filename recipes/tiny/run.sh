#!/bin/sh
# Every stage of the paper in its order, small. From the root of the repository, with `meno` on the path.
set -eu
for stage in "pretrain pretrain" "grpo r1-zero" "sft 1-cold-start-sft" "grpo 2-reasoning-rl" \
    "sample 3-rejection-sampling" "sft 3-rejection-sampling-sft" "grpo 4-rl-all-scenarios" "distill distill"; do
    # shellcheck disable=SC2086
    set -- $stage
    meno "$1" "recipes/tiny/$2.toml" --resume
done
