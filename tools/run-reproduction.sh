#!/usr/bin/env bash
# Regenerate docs/results/reproduction from the shared models and data: run-reproduction.sh [NAME...]   (default: all)
# Needs VARIEGATE_SHARED, a folder with data/ and models/ (its path as given is in the records), and the specs that
# run-results.sh calibrated for cifar10-s0 and gtsrb-s0 (docs/results). Hours on two cores; a killed run goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${VARIEGATE_SHARED:?"set VARIEGATE_SHARED to the folder that holds data/ and models/"}
work=${REPRODUCTION_WORK:-build/reproduction}
variegate=${VARIEGATE:-.venv/bin/variegate}
preset=${REPRODUCTION_PRESET:-laptop} jobs=${REPRODUCTION_JOBS:-2}
VARIEGATE_SELLER_SECRET=$(printf 'public results, not a secret' | sha256sum | cut -c1-64)
export VARIEGATE_SELLER_SECRET VARIEGATE_HOME=$work/home

if [ $# -eq 0 ]; then set -- all; fi
if [ ! -e "$VARIEGATE_HOME/registry.db" ]; then "$variegate" init --secret-from-env; fi
studies=()
for data in cifar10 gtsrb; do
    case $data in cifar10) labels=10 ;; *) labels=43 ;; esac
    for seed in 0 1 2; do
        name=$data-s$seed
        if [ -e "$VARIEGATE_HOME/models/$name" ]; then continue; fi
        "$variegate" model import "$shared/models/$name.safetensors" --name "$name" --arch seller_net:build \
            --code-path "$shared/models/seller_net.py" --arg "num_classes=$labels" --input-shape 3,32,32 \
            --labels "$labels"
    done
    mkdir -p "$VARIEGATE_HOME/specs"
    cp "docs/results/$data-s0/$data-s0-"*.json "$VARIEGATE_HOME/specs/"
    studies+=(--study "$data=$shared/data/$data:$data-s0,$data-s1,$data-s2")
done
notes=(
    --note "cifar10=CIFAR-10 recompressed as JPEG of quality about 75: networks reach a few points less than on the PNGs"
    --note "gtsrb=GTSRB, frames resized to 32 x 32"
)
"$variegate" reproduce "$@" "${notes[@]}" --preset "$preset" --jobs "$jobs" "${studies[@]}" --out "$work/$preset"
mkdir -p docs/results/reproduction
cp "$work/$preset"/*.json docs/results/reproduction/
"$variegate" report docs/results/reproduction --html docs/results/reproduction/index.html
"$variegate" report docs/results/reproduction --figures docs/results/reproduction/figures
rm docs/results/reproduction/figures/*.svg  # the page holds them
