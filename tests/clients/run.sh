#!/usr/bin/env bash
# Clients generated from openapi/xengate.json, against `xengate demo`: do the generators take the
# document without a complaint, and do their clients log in, list, start a VM, wait, read its
# metrics and log out?
#
#   tests/clients/run.sh [python] [typescript] [rust]    the first two unless named: Rust takes minutes
#
# XENGATE: the program, built here unless given. What a client needs and cannot be installed makes
# it "skipped", which is no failure; CLIENTS_REQUIRED=1 makes it one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/demo.sh"

GENERATOR=7.26.0 OPENAPI_TYPESCRIPT=7.13.0 TYPESCRIPT=5.9
document=$root/openapi/xengate.json

# generated OUT GENERATOR [OPTION...]: a client by openapi-generator, without a complaint but for
# those about no document: that 3.1 is new to it, a message it has for any document at all, and what
# it renames for the sake of its language.
generated() {
    needs java python3 || return "$SKIPPED"
    local venv=$work/venv out=$1 log=$1.log
    [ -d "$venv" ] || python3 -m venv "$venv" || skip "python3 -m venv does not work" || return
    install "openapi-generator-cli==$GENERATOR" || return
    "$venv/bin/openapi-generator-cli" generate -g "$2" -i "$document" -o "$out" "${@:3}" \
        --additional-properties=packageName=xengate_client > "$log" 2>&1 \
        || { cat "$log"; return 1; }
    if grep -E ' (WARN|ERROR) ' "$log" | grep -vE \
        'OpenAPI 3.1 support is still in beta|Failed to get the schema name: null$|Renamed to '; then
        echo "openapi-generator complains about the document"
        return 1
    fi
}

install() {
    "$work/venv/bin/pip" --quiet --disable-pip-version-check install "$@" \
        || skip "pip cannot install: $*"
}

python_client() {
    local out=$work/python
    generated "$out" python || return
    install -r "$out/requirements.txt" || return
    PYTHONPATH=$out "$work/venv/bin/python" "$here/smoke.py" "$XENGATE_URL"
}

rust_client() {
    local out=$work/rust
    needs cargo || return "$SKIPPED"
    generated "$out" rust || return
    mkdir "$out/examples"
    cp "$here/smoke.rs" "$out/examples"
    cd "$out"
    export CARGO_TARGET_DIR=$out/target
    cargo add --quiet tokio --features macros,rt || skip "cargo cannot find tokio" || return
    cargo fetch --quiet || skip "cargo cannot fetch what the client needs" || return
    cargo run --quiet --no-default-features --example smoke -- "$XENGATE_URL"
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
