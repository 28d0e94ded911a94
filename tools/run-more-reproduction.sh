#!/usr/bin/env bash
# More runs, beside docs/results/reproduction: run-more-reproduction.sh [alpha] [nine] [nine-gtsrb] [gpu]
#   alpha  Tables 1 and 2 of permutation copies with the paper's alpha, 0.8, where our calibration chose another;
#   nine   Figure 5, and Table 1, with nine independent originals of one architecture and recipe, so that eight can collude;
#   nine-gtsrb   the same on GTSRB, on fewer images;
#   gpu    the preset gpu with nine originals of each data set, which needs a GPU: a record for each data set.
# By default the first three. What it needs: see reproduction-home.sh. About an hour on two cores for each; gpu trains for
# 45 minutes on two cores and was never run to its end: Table 2 of one data set took more than four minutes of an H100.
# A killed run goes on.
set -euo pipefail
source "$(dirname "$0")/reproduction-home.sh"

if [ $# -eq 0 ]; then set -- alpha nine nine-gtsrb; fi

# measure NAME STUDY ARGUMENTS...: run, and keep the records
measure() {
    local name=$1 study=$2
    shift 2
    "$variegate" reproduce "$@" "${notes[@]}" --study "$study" --preset "$preset" --jobs "$jobs" --out "$work/$name"
    tools/keep-record.sh "$work/$name"/*.json "docs/results/reproduction-$name"
}

# train_nine DATA FOLDER: nine originals DATA-t0 to -t8 in the home, their records in FOLDER, their names in originals
train_nine() {
    local data=$1 records=$2 prefix=$work/nine-$1 part seed trained running=() one failed=0
    for part in 0-4 5-8; do  # one process for each core
        if [ -e "$prefix-$part" ]; then where=(--resume "$prefix-$part"); else where=(--out "$prefix-$part"); fi
        "$variegate" train seller_net:build --code-path "$shared/models/seller_net.py" --data "$shared/data/$data" \
            --preset laptop --set epochs=5 --set sizes=24x3 --set mean=none --set std=none --seeds "$part" \
            --threads 1 "${where[@]}" &
        running+=($!)
    done
    for one in "${running[@]}"; do wait "$one" || failed=1; done
    [ "$failed" = 0 ] || exit 1
    originals=
    for seed in 0 1 2 3 4 5 6 7 8; do
        trained=$(echo "$prefix"-*/"seller_net-build-$data-s$seed.safetensors")
        import_original "$trained" "$data-t$seed"
        tools/keep-record.sh "${trained%.safetensors}.json" "$records"
        originals+=${originals:+,}$data-t$seed
    done
}

# use_specs DATA REWRITER...: DATA-t0 has the parameters that were calibrated for DATA-s0, of the same architecture
use_specs() {
    local data=$1 rewriter
    shift
    for rewriter in "$@"; do
        python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))["spec"]))' \
            "docs/results/$data-s0/$data-s0-$rewriter.json" >"$work/$rewriter.json"
        "$variegate" spec save "$work/$rewriter.json" --name "$data-t0-$rewriter" --model "$data-t0" --replace
    done
}

frames="GTSRB, frames resized to 32 x 32"
nine="nine networks of the sellers' architecture, five epochs each (training/); rewriters as calibrated for"

run_alpha() {
    echo '{"rewriter": "permutation", "alpha": 0.8}' >"$work/papers-alpha.json"
    "$variegate" spec save "$work/papers-alpha.json" --name papers-alpha --model cifar10-s0 --replace
    measure alpha "cifar10=$shared/data/cifar10:cifar10-s0,cifar10-s1,cifar10-s2" table1 table2 --rewriters papers-alpha
}

# QIM alone: the copies of one original by the other rewriters are in docs/results/reproduction
run_nine() {
    train_nine cifar10 docs/results/reproduction-nine/training
    use_specs cifar10 qim
    notes=(--note "${notes[1]}; $nine cifar10-s0")
    measure nine "cifar10=$shared/data/cifar10:$originals" table1 fig5 --rewriters qim
}

run_nine-gtsrb() {
    train_nine gtsrb docs/results/reproduction-nine-gtsrb/training
    use_specs gtsrb qim
    notes=(--note "gtsrb=$frames; $nine gtsrb-s0")
    measure nine-gtsrb "gtsrb=$shared/data/gtsrb:$originals" table1 fig5 --rewriters qim --images 56
}

run_gpu() {
    local data text jpeg=${notes[1]}
    preset=gpu jobs=${REPRODUCTION_JOBS:-1}
    for data in cifar10 gtsrb; do
        train_nine "$data" "docs/results/reproduction-gpu-$data/training"
        use_specs "$data" permutation spread_spectrum qim
        case $data in cifar10) text=$jpeg ;; *) text="gtsrb=$frames" ;; esac
        notes=(--note "$text; $nine $data-s0")
        measure "gpu-$data" "$data=$shared/data/$data:$originals" table1 table2 fig3 fig4 fig5 --device cuda
    done
}


for run in "$@"; do
    case $run in
        alpha | nine | nine-gtsrb | gpu) ("run_$run") ;;  # by itself: each changes what the next one starts from
        *)
            echo "run-more-reproduction.sh: expected alpha, nine, nine-gtsrb or gpu; got $run" >&2
            exit 2
            ;;
    esac
done
