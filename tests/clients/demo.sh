# For the scripts beside it: a place to work in and a demo to work with, both gone at the end.

# Where there is no way out, that is soon known.
export PIP_RETRIES=${PIP_RETRIES:-1} PIP_DEFAULT_TIMEOUT=${PIP_DEFAULT_TIMEOUT:-20}
export npm_config_fetch_retries=${npm_config_fetch_retries:-1}
export npm_config_fetch_timeout=${npm_config_fetch_timeout:-60000}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
demo=
SKIPPED=77

end() {
    if [ -n "$demo" ]; then
        kill "$demo" 2>/dev/null || true
        wait "$demo" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap end EXIT

# Says what is lacking, if anything is.
needs() {
    local tool lacking=
    for tool; do command -v "$tool" > /dev/null || lacking="$lacking $tool"; done
    [ -z "$lacking" ] || { echo "not installed:$lacking"; return 1; }
}

skip() {
    echo "$1"
    return "$SKIPPED"
}

# Sets XENGATE_URL.
start_demo() {
    if [ -z "${XENGATE:-}" ]; then
        (cd "$root" && cargo build --quiet)
        XENGATE=${CARGO_TARGET_DIR:-$root/target}/debug/xengate
    fi
    "$XENGATE" demo --still --listen 127.0.0.1:0 "$@" > "$work/demo.out" 2> "$work/demo.log" &
    demo=$!
    local tries=0
    until XENGATE_URL=$(sed -n 's/^xengate listening on //p' "$work/demo.out") \
        && [ -n "$XENGATE_URL" ]; do
        kill -0 "$demo" 2>/dev/null || { cat "$work/demo.log"; return 1; }
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "the demo does not start"; return 1; }
        sleep 0.1
    done
}
