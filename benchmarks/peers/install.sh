#!/usr/bin/env bash
# Installs the programs that mien is compared with, each apart from mien and without CUDA:
#
#     benchmarks/peers/install.sh FOLDER
#
# leaves FOLDER/fer/bin/python for `--fer` and FOLDER/node for `--node`. What cannot be installed is told and left out;
# the benchmarks then have no line for it.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
cd "$1"

fer() {
    # its own requirements bring CUDA's torch, 8 GB, for a detector that is not asked for
    "${PYTHON:-python3}" -m venv fer &&
        fer/bin/pip install --quiet --no-deps fer==25.10.3 &&
        fer/bin/pip install --quiet tensorflow-cpu "opencv-contrib-python-headless<5" "moviepy<2" \
            pandas requests tqdm "setuptools<81"
}

node() {
    mkdir -p node && cd node && npm init -y >/dev/null &&
        npm install --silent --no-audit --no-fund @vladmandic/face-api@1.7.15 @vladmandic/human@3.3.6 \
            @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
}

for peer in fer node; do
    (set +e; "$peer") || { echo "$peer cannot be installed here and is left out" >&2; rm -rf "$peer"; }
done
ls -d fer/bin/python node 2>/dev/null || true
