#!/usr/bin/env bash
# Clients generated from openapi/xengate.json, against `xengate demo`: do the generators take the
# document without a complaint, and do their clients log in, list, start a VM, wait, read its
# metrics and log out?
#
#   tests/clients/run.sh [python] [typescript]    both unless named
#
# XENGATE: the program, built here unless given. What a client needs and cannot be installed makes
# it "skipped", which is no failure; CLIENTS_REQUIRED=1 makes it one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/demo.sh"

GENERATOR=7.26.0 OPENAPI_TYPESCRIPT=7.13.0 TYPESCRIPT=5.9
document=$root/openapi/xengate.json

python_client() {
    needs java python3 || return "$SKIPPED"
    python3 -m venv "$work/venv" || skip "python3 -m venv does not work" || return
    local pip="$work/venv/bin/pip --quiet --disable-pip-version-check" out=$work/python
    $pip install "openapi-generator-cli==$GENERATOR" \
        || skip "pip cannot install openapi-generator-cli" || return

    "$work/venv/bin/openapi-generator-cli" generate -g python -i "$document" -o "$out" \
        --additional-properties=packageName=xengate_client > "$work/generator.log" 2>&1 \
        || { cat "$work/generator.log"; return 1; }
    # Of any document of OpenAPI 3.1 it says the first, of any document at all the second.
    if grep -E ' (WARN|ERROR) ' "$work/generator.log" \
        | grep -vE 'OpenAPI 3.1 support is still in beta|Failed to get the schema name: null$'; then
        echo "openapi-generator complains about the document"
        return 1
    fi
    # Its requirements may be out of reach; the client itself is here.
    $pip install -r "$out/requirements.txt" || skip "pip cannot install its requirements" || return
    PYTHONPATH=$out "$work/venv/bin/python" "$here/smoke.py" "$XENGATE_URL"
}

typescript_client() {
    needs node npm || return "$SKIPPED"
    local out=$work/typescript
    mkdir -p "$out"
    cp "$here/smoke.ts" "$here/tsconfig.json" "$out"
    (
        cd "$out"
        echo '{"private": true, "type": "module"}' > package.json
        npm install --silent --no-audit --no-fund \
            "openapi-typescript@$OPENAPI_TYPESCRIPT" "typescript@$TYPESCRIPT"
    ) || skip "npm cannot install openapi-typescript and typescript" || return
    (
        cd "$out"
        node_modules/.bin/openapi-typescript "$document" --output xengate.d.ts > openapi.log 2>&1 \
            || { cat openapi.log; exit 1; }
        if grep -iE 'warn|error' openapi.log; then
            echo "openapi-typescript complains about the document"
            exit 1
        fi
        node_modules/.bin/tsc --project .
        node smoke.js "$XENGATE_URL"
    )
}

[ $# -gt 0 ] || set -- python typescript
start_demo
failed=0
for name; do
    echo "== $name"
    # In the background, because `set -e` does not hold in a condition.
    "${name}_client" &
    status=0
    wait $! || status=$?
    case $status in
        0) echo "$name: ok" ;;
        "$SKIPPED")
            echo "$name: skipped"
            [ "${CLIENTS_REQUIRED:-0}" = 0 ] || failed=1
            ;;
        *)
            echo "$name: FAILED"
            failed=1
            ;;
    esac
done
exit "$failed"
