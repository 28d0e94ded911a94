#!/usr/bin/env bash
# Keep records in docs/results, as compact JSON: keep-record.sh FILE... FOLDER
set -euo pipefail
folder=${*: -1}
mkdir -p "$folder"
for file in "${@:1:$#-1}"; do "${PYTHON:-python3}" -m json.tool --compact "$file" "$folder/$(basename "$file")"; done
