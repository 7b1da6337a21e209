#!/usr/bin/env bash
# Tells what a user's installation holds, at the versions of constraints.txt: FOLDER/licences.md, FOLDER/sbom.json
# (CycloneDX) and FOLDER/audit.txt (known vulnerabilities). Ends with 1 where a licence is not allowed or something
# vulnerable is found; where the service that knows of vulnerabilities does not answer, it says so.
#
#     bash supply/reports.sh FOLDER        PYTHON=... chooses another interpreter
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
extras='report,web,table,plot,pandas'
mkdir -p "${1:?give a folder for the reports}"
cd "$1"
export PIP_DISABLE_PIP_VERSION_CHECK=1

"$python" -m venv --clear tools
tools/bin/pip install --quiet 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3' 'pip>=24'
rm -f mien-*.whl
tools/bin/pip wheel --quiet --no-deps --wheel-dir . "$root"
wheel=$(echo mien-*.whl)
"$python" -m venv --clear --without-pip user
tools/bin/pip --python user/bin/python install --quiet --constraint "$root/constraints.txt" "./$wheel[$extras]"

user/bin/python "$root/supply/licences.py" >licences.md
tools/bin/cyclonedx-py environment user/bin/python --pyproject "$root/pyproject.toml" --mc-type application \
    --gather-license-texts --output-reproducible --validate --output-file sbom.json
echo "licences.md and sbom.json: $(grep -c '"bom-ref"' sbom.json) distributions"

# --strict, since pip-audit else passes over what it could not ask about, and ends with 0.
tools/bin/pip --python user/bin/python freeze --exclude mien >versions.txt
if tools/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r versions.txt >audit.txt 2>&1; then
    echo "nothing vulnerable is known"
elif grep -qE 'could not be audited|ConnectionError' audit.txt; then
    echo "NOT AUDITED: the service did not answer; see audit.txt" >&2
else
    cat audit.txt
    exit 1
fi
