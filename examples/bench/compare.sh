#!/usr/bin/env bash
# Times RLHF4J and what users would otherwise take in turns, so that a slow minute of the machine hits both.
#   PYTHON=…/bin/python examples/bench/compare.sh ROUNDS THREADS SHAPE DTYPE WORK…
# SHAPE: a file of shapes/, without .json; WORK: sft, reward-fixed, reward-mixed, sample, load (a checkpoint in bf16, which is
# made in TMPDIR on first use), grpo, rloo (beside TRL), ppo (beside trlX). PYTHON: an environment of requirements.txt; for ppo
# PYTHON_TRLX: one of requirements-trlx.txt, TRLX: a checkout of trlX at 3340c2f.
# Prints one JSON line for each run, RLHF4J's first; whatever else a program says goes to stderr. A run that fails, or gives no such
# line, ends all of it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rounds=$1 threads=$2 shape=$3 dtype=$4
shift 4
export OMP_NUM_THREADS=$threads PYTHONDONTWRITEBYTECODE=1
python() { "${PYTHON:-python3}" -W ignore "$@"; }
# The JSON line of a program, which may stand behind a progress bar on the same line.
result() {
  awk -v of="$1" '
    match($0, /\{"bench": *".*\}$/) {
      print substr($0, RSTART)
      found++
      $0 = substr($0, 1, RSTART - 1)
    }
    length($0) { print > "/dev/stderr" }
    END {
      if (found != 1) {
        print "error: " of " gave " found + 0 " lines of results where 1 is needed" > "/dev/stderr"
        exit 1
      }
    }'
}
for _ in $(seq "$rounds"); do
  for work in "$@"; do
    config=$here/shapes/$shape.json
    case $work in
      reward-*) ours=(--workload reward --lengths "${work#reward-}") peer=(reward.py --impl hf --lengths "${work#reward-}") ;;
      sft) ours=(--workload sft) peer=(sft.py --impl hf) ;;
      sample) ours=(--workload sample) peer=(sample.py --engine hf) ;;
      grpo | rloo) ours=(--workload "$work" --steps 8) peer=(online.py --algo "$work") ;;
      ppo) ours=(--workload ppo --steps 8) peer=(ppo_trlx.py) ;;
      load)
        folder=${TMPDIR:-/tmp}/rlhf4j-bench-$shape-bf16
        [ -e "$folder" ] || python "$here/load.py" --write --model "$folder" --shape "$shape" --dtype bf16 >&2
        config=$folder/config.json ours=(--workload load) peer=(load.py --model "$folder" --steps 1 --warmup 0)
        ;;
      *) echo "work is sft, reward-fixed, reward-mixed, sample, load, grpo, rloo or ppo, got $work" >&2; exit 2 ;;
    esac
    "$here/../../rlhf" bench --shape "$config" "${ours[@]}" --dtype "$dtype" --threads "$threads" | result "rlhf bench, $work,"
    peer+=(--shape "$shape" --dtype "$dtype" --threads "$threads")
    if [ "$work" = ppo ]; then
      PYTHON=${PYTHON_TRLX:-python3} PYTHONPATH=$here/stubs:${TRLX:?a checkout of trlX} python "$here/${peer[0]}" "${peer[@]:1}"
    else
      python "$here/${peer[0]}" "${peer[@]:1}"
    fi | result "${peer[0]}, $work,"
  done
done
