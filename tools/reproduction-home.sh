# Sourced by run-reproduction.sh and run-more-reproduction.sh: the home with the shared originals and calibrated specs.
# Needs VARIEGATE_SHARED, a folder with data/ and models/ (its path as given is in the records), and the specs that
# run-results.sh calibrated for cifar10-s0 and gtsrb-s0 (docs/results). Sets shared, work, variegate, preset, jobs, notes.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shared=${VARIEGATE_SHARED:?"set VARIEGATE_SHARED to the folder that holds data/ and models/"}
work=${REPRODUCTION_WORK:-build/reproduction}
variegate=${VARIEGATE:-.venv/bin/variegate}
preset=${REPRODUCTION_PRESET:-laptop} jobs=${REPRODUCTION_JOBS:-2}
VARIEGATE_SELLER_SECRET=$(printf 'public results, not a secret' | sha256sum | cut -c1-64)
export VARIEGATE_SELLER_SECRET VARIEGATE_HOME=$work/home
notes=(
    --note "cifar10=CIFAR-10 recompressed as JPEG of quality about 75: networks reach a few points less than on the PNGs"
)

# import_original WEIGHTS NAME: a network of the sellers' architecture, if the home does not have it yet
import_original() {
    [ ! -e "$VARIEGATE_HOME/models/$2" ] || return 0
    case $2 in cifar10*) labels=10 ;; *) labels=43 ;; esac
    "$variegate" model import "$1" --name "$2" --arch seller_net:build --code-path "$shared/models/seller_net.py" \
        --arg "num_classes=$labels" --input-shape 3,32,32 --labels "$labels"
}

if [ ! -e "$VARIEGATE_HOME/registry.db" ]; then "$variegate" init --secret-from-env; fi
for data in cifar10 gtsrb; do
    for seed in 0 1 2; do
        import_original "$shared/models/$data-s$seed.safetensors" "$data-s$seed"
    done
    mkdir -p "$VARIEGATE_HOME/specs"
    cp "docs/results/$data-s0/$data-s0-"*.json "$VARIEGATE_HOME/specs/"
done
