#!/usr/bin/env bash
# Regenerate docs/results from the shared models and data: run-results.sh [MODEL...]
# Import, calibrate, issue five copies of each rewriter, audit, report. Interrupted audits go on where they stopped.
# Needs VARIEGATE_SHARED, a folder with data/ and models/ (its path as given is in the records). Hours on two cores: start one process per core, each with
# OMP_NUM_THREADS=1 and its own models.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${VARIEGATE_SHARED:?"set VARIEGATE_SHARED to the folder that holds data/ and models/"}
work=${RESULTS_WORK:-build/results}
variegate=${VARIEGATE:-.venv/bin/variegate}
images=${RESULTS_IMAGES:-50} queries=${RESULTS_QUERIES:-5000} copies=5
rewriters="spread_spectrum permutation qim"
VARIEGATE_SELLER_SECRET=$(printf 'public results, not a secret' | sha256sum | cut -c1-64)
export VARIEGATE_SELLER_SECRET

if [ $# -eq 0 ]; then set -- cifar10-s0 gtsrb-s0 cifar10-s1 gtsrb-s1 cifar10-s2 gtsrb-s2; fi
for model in "$@"; do
    data=${model%-*}
    # The budgets of changed labels, meant to cost at most two points of accuracy.
    case $data in
        cifar10) labels=10 budget=3% ;;
        gtsrb) labels=43 budget=1.5% ;;
        *) echo "expected a model named cifar10-SEED or gtsrb-SEED; got $model" >&2; exit 2 ;;
    esac
    case $model in *-s0) other=$data-s1 ;; *-s1) other=$data-s2 ;; *) other=$data-s0 ;; esac
    home=$work/home-$model
    export VARIEGATE_HOME=$home
    if [ ! -e "$home/registry.db" ]; then
        "$variegate" init --secret-from-env
        for name in "$model" "$other"; do
            "$variegate" model import "$shared/models/$name.safetensors" --name "$name" --arch seller_net:build \
                --code-path "$shared/models/seller_net.py" --arg "num_classes=$labels" --input-shape 3,32,32 \
                --labels "$labels"
        done
    fi
    for rewriter in $rewriters; do
        if [ ! -e "$home/specs/$model-$rewriter.json" ]; then
            "$variegate" calibrate --model "$model" --data "$shared/data/$data" --rewriter "$rewriter" \
                --max-change "$budget" --images 2048 --attack-images 24 --attack-queries 2000
        fi
        buyers=$(printf -- "--buyer $rewriter-%d " 1 2 3 4 5)
        # shellcheck disable=SC2086 # the list is meant to be split
        "$variegate" issue --model "$model" --spec "$model-$rewriter" $buyers
    done
    resume=--out
    if [ -d "$work/$model/shards" ]; then resume=--resume; fi
    "$variegate" audit replicate --model "$model" --data "$shared/data/$data" --rewriters "${rewriters// /,}" \
        --copies "$copies" --deal-images --images "$images" --queries "$queries" \
        --independent "$other" "$resume" "$work/$model" > "$work/$model.txt"
    tools/keep-record.sh "$work/$model/record.json" "docs/results/$model"
    case $model in *-s0) cp "$work/$model/pictures.npz" "docs/results/$model/" ;; esac
    for rewriter in $rewriters; do tools/keep-record.sh "$home/specs/$model-$rewriter.json" "docs/results/$model"; done
done

# The README's figure and the table of docs/results, from all records that are there; tools/results-pages.sh makes the pages.
"$variegate" report docs/results/cifar10-s0 --figures "$work/figures"
cp "$work/figures/overshoot.svg" "$work/figures/security.svg" docs/results/
"${PYTHON:-.venv/bin/python}" tools/results_table.py
