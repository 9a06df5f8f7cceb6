#!/usr/bin/env bash
# Times RLHF4J and a plain loop on transformers in turns, so that a slow minute of the machine hits both.
#   PYTHON=…/bin/python examples/bench/compare.sh ROUNDS THREADS SHAPE DTYPE WORK…
# SHAPE: shape-s or shape-135m; WORK: sft, reward-fixed, reward-mixed, sample. PYTHON: an environment of requirements.txt.
# Prints one JSON line for each run, RLHF4J's first.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rounds=$1 threads=$2 shape=$3 dtype=$4
shift 4
export OMP_NUM_THREADS=$threads PYTHONDONTWRITEBYTECODE=1
for _ in $(seq "$rounds"); do
  for work in "$@"; do
    case $work in
      reward-*) ours=(--workload reward --lengths "${work#reward-}") peer=(reward.py --impl hf --lengths "${work#reward-}") ;;
      sft) ours=(--workload sft) peer=(sft.py --impl hf) ;;
      sample) ours=(--workload sample) peer=(sample.py --engine hf) ;;
      *) echo "work is sft, reward-fixed, reward-mixed or sample, got $work" >&2; exit 2 ;;
    esac
    "$here/../../rlhf" bench --shape "$here/shapes/$shape.json" "${ours[@]}" --dtype "$dtype" --threads "$threads"
    "${PYTHON:-python3}" -W ignore "$here/${peer[0]}" "${peer[@]:1}" --shape "$shape" --dtype "$dtype" --threads "$threads"
  done
done
