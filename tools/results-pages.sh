#!/usr/bin/env bash
# Make the pages of docs/results from the records that are kept there: results-pages.sh [FOLDER]   (default: build/results)
# Pictures are shown for records that keep theirs; the reproduction's page is made in docs/results, where it is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
pages=${1:-build/results}
variegate=${VARIEGATE:-.venv/bin/variegate}
mkdir -p "$pages"
models=(docs/results/cifar10-s? docs/results/gtsrb-s?)
audits=() specs=()
for model in "${models[@]}"; do audits+=("$model/record.json") specs+=("$model"/*-*.json); done
"$variegate" report "${audits[@]}" "${specs[@]}" --html "$pages/index.html"
"$variegate" report docs/results/attacks/*/record.json --html "$pages/attacks.html"
for record in docs/results/cross-check/*.json; do
    "$variegate" report "$record" --html "$pages/cross-check-$(basename "$record" .json).html"
done
for folder in docs/results/reproduction-*; do
    "$variegate" report "$folder" --html "$pages/$(basename "$folder").html"
done
"$variegate" report docs/results/reproduction --html docs/results/reproduction/index.html
