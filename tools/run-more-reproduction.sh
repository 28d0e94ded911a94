#!/usr/bin/env bash
# Two more runs on CIFAR-10, beside docs/results/reproduction: run-more-reproduction.sh [alpha] [nine]   (default: both)
#   alpha  Tables 1 and 2 of permutation copies with the paper's alpha, 0.8, where our calibration chose another;
#   nine   Figure 5 with nine independent originals of one architecture and recipe, so that eight can collude.
# What it needs: see reproduction-home.sh. About an hour and a half on two cores; a killed run goes on.
set -euo pipefail
source "$(dirname "$0")/reproduction-home.sh"

if [ $# -eq 0 ]; then set -- alpha nine; fi

# measure NAME STUDY ARGUMENTS...: run, and make the page
measure() {
    local name=$1 study=$2
    shift 2
    "$variegate" reproduce "$@" "${notes[@]}" --study "$study" --preset "$preset" --jobs "$jobs" --out "$work/$name"
    mkdir -p "docs/results/reproduction-$name"
    cp "$work/$name"/*.json "docs/results/reproduction-$name/"
    "$variegate" report "docs/results/reproduction-$name" --html "docs/results/reproduction-$name/index.html"
}

for run in "$@"; do
    case $run in
        alpha)
            echo '{"rewriter": "permutation", "alpha": 0.8}' >"$work/papers-alpha.json"
            "$variegate" spec save "$work/papers-alpha.json" --name papers-alpha --model cifar10-s0 --replace
            measure alpha "cifar10=$shared/data/cifar10:cifar10-s0,cifar10-s1,cifar10-s2" table1 table2 \
                --rewriters papers-alpha
            ;;
        nine)
            originals=cifar10-t0
            for part in 0-4 5-8; do  # one process for each core
                training=$work/nine-originals-$part
                if [ -e "$training" ]; then where=(--resume "$training"); else where=(--out "$training"); fi
                "$variegate" train seller_net:build --code-path "$shared/models/seller_net.py" \
                    --data "$shared/data/cifar10" --preset laptop --set epochs=5 --set sizes=24x3 --set mean=none \
                    --set std=none --seeds "$part" --threads 1 "${where[@]}" &
            done
            wait -n
            wait -n
            mkdir -p docs/results/reproduction-nine/training
            for seed in 0 1 2 3 4 5 6 7 8; do
                trained=$(echo "$work"/nine-originals-*/"seller_net-build-cifar10-s$seed.safetensors")
                import_original "$trained" "cifar10-t$seed"
                cp "${trained%.safetensors}.json" docs/results/reproduction-nine/training/
                [ "$seed" = 0 ] || originals+=,cifar10-t$seed
            done
            # QIM's parameters are those that were calibrated for cifar10-s0, of the same architecture; the copies of one
            # original by the other rewriters are in docs/results/reproduction
            python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))["spec"]))' \
                docs/results/cifar10-s0/cifar10-s0-qim.json >"$work/qim.json"
            "$variegate" spec save "$work/qim.json" --name cifar10-t0-qim --model cifar10-t0 --replace
            notes=(--note "${notes[1]}; nine networks of the sellers' architecture, five epochs each (training/)")
            measure nine "cifar10=$shared/data/cifar10:$originals" fig5 --rewriters qim
            ;;
        *)
            echo "run-more-reproduction.sh: expected alpha or nine; got $run" >&2
            exit 2
            ;;
    esac
done
