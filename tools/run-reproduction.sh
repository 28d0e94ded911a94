#!/usr/bin/env bash
# Regenerate docs/results/reproduction from the shared models and data: run-reproduction.sh [NAME...]   (default: all)
# What it needs: see reproduction-home.sh. Hours on two cores; a killed run goes on.
set -euo pipefail
source "$(dirname "$0")/reproduction-home.sh"

if [ $# -eq 0 ]; then set -- all; fi
studies=() notes+=(--note "gtsrb=GTSRB, frames resized to 32 x 32")
for data in cifar10 gtsrb; do
    studies+=(--study "$data=$shared/data/$data:$data-s0,$data-s1,$data-s2")
done
"$variegate" reproduce "$@" "${notes[@]}" --preset "$preset" --jobs "$jobs" "${studies[@]}" --out "$work/$preset"
tools/keep-record.sh "$work/$preset"/*.json docs/results/reproduction
"$variegate" report docs/results/reproduction --html docs/results/reproduction/index.html
