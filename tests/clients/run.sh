#!/usr/bin/env bash
# Clients generated from openapi/xengate.json, against `xengate demo`: do the generators take the
# document without a complaint, and do their clients log in, list, start a VM, wait, read its
# metrics and log out?
#
#   tests/clients/run.sh [python] [typescript] [hey] [go] [rust]    all unless named
#
# What is generated and built is kept under target/clients, and made anew when the document or the
# generator is another. XENGATE: the program, built here unless given. What a client needs and cannot
# be installed makes it "skipped", which is no failure; CLIENTS_REQUIRED=1 makes it one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/demo.sh"

GENERATOR=7.26.0 OPENAPI_TYPESCRIPT=7.13.0 OPENAPI_FETCH=0.17.0 HEY_API=0.95.0 TYPESCRIPT=5.9
document=$root/openapi/xengate.json
kept=${CARGO_TARGET_DIR:-$root/target}/clients
mkdir -p "$kept"

# fresh OUT WHAT: empties OUT unless it was made from this document by WHAT; then it is a failure.
fresh() {
    local mark
    mark="$2 $(sha256sum < "$document")"
    [ "$(cat "$1/.made-by" 2>/dev/null)" != "$mark" ] || return 1
    find "$1" -mindepth 1 -maxdepth 1 ! -name target ! -name node_modules -exec rm -rf {} + 2>/dev/null || true
    mkdir -p "$1"
    made="$mark"
}

# generated OUT GENERATOR [OPTION...]: a client by openapi-generator, without a complaint but for
# those about no document: that 3.1 is new to it, a message it has for any document at all, and what
# it renames for the sake of its language.
generated() {
    needs java python3 || return "$SKIPPED"
    local venv=$kept/venv out=$1 log=$1.log made
    [ -d "$venv" ] || python3 -m venv "$venv" || skip "python3 -m venv does not work" || return
    install "openapi-generator-cli==$GENERATOR" || return
    fresh "$out" "openapi-generator $GENERATOR ${*:2}" || return 0
    "$venv/bin/openapi-generator-cli" generate -g "$2" -i "$document" -o "$out" "${@:3}" > "$log" 2>&1 \
        || { cat "$log"; return 1; }
    if grep -E ' (WARN|ERROR) ' "$log" | grep -vE \
        'OpenAPI 3.1 support is still in beta|Failed to get the schema name: null$|Renamed to '; then
        echo "openapi-generator complains about the document"
        return 1
    fi
    echo "$made" > "$out/.made-by"
}

install() {
    "$kept/venv/bin/pip" --quiet --disable-pip-version-check install "$@" \
        || skip "pip cannot install: $*"
}

python_client() {
    local out=$kept/python
    generated "$out" python --additional-properties=packageName=xengate_client || return
    install -r "$out/requirements.txt" || return
    PYTHONPATH=$out "$kept/venv/bin/python" "$here/smoke.py" "$XENGATE_URL"
}

# Its one dependency comes from Debian, as the CI's machines reach no Go proxy.
go_client() {
    local out=$kept/go validator=/usr/share/gocode/src/gopkg.in/validator.v2
    needs go || return "$SKIPPED"
    [ -d "$validator" ] || skip "not installed: golang-gopkg-validator.v2-dev" || return
    generated "$out" go --git-host example.com --git-user-id clients --git-repo-id xengate \
        --additional-properties=packageName=xengate,withGoMod=true || return
    mkdir -p "$out/smoke" "$out/validator"
    cp "$here/smoke.go" "$out/smoke/main.go"
    cp "$validator"/{builtins,doc,validator}.go "$out/validator"
    echo 'module gopkg.in/validator.v2' > "$out/validator/go.mod"
    (
        cd "$out"
        export GOCACHE=$kept/go-cache GOFLAGS=-mod=mod GOPROXY=off
        go mod edit -replace gopkg.in/validator.v2=./validator
        rm -f go.sum
        go build -o smoke/smoke ./smoke
    ) || return
    "$out/smoke/smoke" "$XENGATE_URL"
}

rust_client() {
    local out=$kept/rust
    needs cargo || return "$SKIPPED"
    generated "$out" rust --additional-properties=packageName=xengate_client || return
    mkdir -p "$out/examples"
    cp "$here/smoke.rs" "$out/examples"
    (
        cd "$out"
        export CARGO_TARGET_DIR=$kept/rust-target CARGO_PROFILE_DEV_DEBUG=0
        cargo add --quiet tokio --features macros,rt || skip "cargo cannot find tokio" || exit
        cargo fetch --quiet || skip "cargo cannot fetch what the client needs" || exit
        cargo run --quiet --no-default-features --example smoke -- "$XENGATE_URL"
    )
}

# npm_install OUT PACKAGE...: what a client in TypeScript is made with, kept.
npm_install() {
    needs node npm || return "$SKIPPED"
    mkdir -p "$1"
    cp "$here"/smoke*.ts "$here"/tsconfig*.json "$1"
    [ "$(cat "$1/node_modules/.installed" 2>/dev/null)" != "${*:2}" ] || return 0
    (
        cd "$1"
        echo '{"private": true, "type": "module"}' > package.json
        npm install --silent --no-audit --no-fund "${@:2}" && echo "${*:2}" > node_modules/.installed
    ) || skip "npm cannot install: ${*:2}"
}

typescript_client() {
    local out=$kept/typescript
    npm_install "$out" "openapi-typescript@$OPENAPI_TYPESCRIPT" "openapi-fetch@$OPENAPI_FETCH" \
        "typescript@$TYPESCRIPT" || return
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

hey_client() {
    local out=$kept/hey
    npm_install "$out" "@hey-api/openapi-ts@$HEY_API" "typescript@$TYPESCRIPT" || return
    (
        cd "$out"
        # The file extensions of its imports follow from tsconfig.json.
        node_modules/.bin/openapi-ts -i "$document" -o client > openapi.log 2>&1 \
            || { cat openapi.log; exit 1; }
        node_modules/.bin/tsc --project tsconfig.hey.json
        node smoke.hey.js "$XENGATE_URL"
    )
}

[ $# -gt 0 ] || set -- python typescript hey go rust
start_demo
failed=0
for name; do
    echo "== $name"
    began=$SECONDS
    # In the background, because `set -e` does not hold in a condition.
    "${name}_client" &
    status=0
    wait $! || status=$?
    case $status in
        0) echo "$name: ok, $((SECONDS - began)) s" ;;
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
