#!/usr/bin/env bash
# Regenerate docs/results/attacks and the pictures of the guide: every attack on the shared classifier cifar10-s0.
# Needs VARIEGATE_SHARED, a folder with data/ and models/ (its path as given is in the records). About half an hour on
# one core; an attack that is in build/attacks already is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${VARIEGATE_SHARED:?"set VARIEGATE_SHARED to the folder that holds data/ and models/"}
work=${ATTACKS_WORK:-build/attacks}
variegate=${VARIEGATE:-.venv/bin/variegate}
images=${ATTACKS_IMAGES:-8} queries=${ATTACKS_QUERIES:-5000}
VARIEGATE_SELLER_SECRET=$(printf 'public results, not a secret' | sha256sum | cut -c1-64)
export VARIEGATE_SELLER_SECRET VARIEGATE_HOME=$work/home

if [ ! -e "$VARIEGATE_HOME/registry.db" ]; then
    "$variegate" init --secret-from-env
    "$variegate" model import "$shared/models/cifar10-s0.safetensors" --name cifar10-s0 --arch seller_net:build \
        --code-path "$shared/models/seller_net.py" --arg num_classes=10 --input-shape 3,32,32 --labels 10
fi
attack() { # FOLDER NAME [OPTION...]
    local folder=$1 name=$2
    shift 2
    if [ ! -e "$work/$folder/record.json" ]; then
        rm -rf "${work:?}/$folder"
        "$variegate" attack "$name" --model cifar10-s0 --data "$shared/data/cifar10" --images "$images" \
            --out "$work/$folder" "$@"
        tools/keep-record.sh "$work/$folder/record.json" "docs/results/attacks/$folder"
    fi
    rm -rf "$work/figures"
    "$variegate" report "$work/$folder" --figures "$work/figures"
    mkdir -p docs/guide/attacks/figures
    cp "$work/figures/pictures.png" "docs/guide/attacks/figures/$folder.png"
}
for name in boundary hopskipjump geoda cgba surfree rays; do attack "$name" "$name" --queries "$queries"; done
for name in deepfool carlini_wagner; do attack "$name" "$name"; done
for name in fgsm pgd; do attack "$name" "$name" --norm linf --set epsilon=0.0157; done
attack hopskipjump-voting hopskipjump --queries "$queries" --jitter natural:shift=1,contrast=0.04 --votes 9

# One figure of the attacks that see labels alone.
paths=()
for name in boundary hopskipjump geoda cgba surfree; do paths+=("docs/results/attacks/$name"); done
rm -rf "$work/figures"
"$variegate" report "${paths[@]}" --figures "$work/figures"
cp "$work/figures/norm-against-queries.svg" docs/guide/attacks/figures/norms.svg
