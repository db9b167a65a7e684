#!/usr/bin/env bash
# Proves, without a container engine, what the image rests on: that the program is one static binary
# that needs nothing but itself. In a root directory that is otherwise empty it serves, over TLS too,
# shows its documentation, finds a pool by its name, trusts a certificate by the roots in the image's
# place, and tells by `xengate healthcheck` how it is.
#
#   docker/check.sh [BINARY]
#
# Without a binary it links one: the debug build's parts, as docker/Dockerfile does with those of
# `--profile dist`. Where this user may not change the root directory, it says so and leaves it at that; with
# MUST_RUN=1 in the environment it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'docker/check.sh: %s\n' "$*" >&2; }
fail() { say "FAILED: $*"; exit 1; }

work=$(mktemp -d)
root=$work/root
mkdir -p "$root"/{dev,etc/{xengate,ssl/certs},var/lib/xengate}
chmod 0755 "$work" "$root"
chmod 0777 "$root/var/lib/xengate"
touch "$root"/dev/{random,urandom}
started=()
cleanup() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# How a program runs in that directory: with the devices that it needs and every container has; as
# root with a change of user too, else in a namespace in which this user is root.
devices='for one in random urandom; do mount --bind "/dev/$one" "$0/dev/$one" || exit 1; done'
if [ "$(id -u)" = 0 ] && unshare --mount sh -c "$devices; chroot --version >/dev/null" "$root" 2>/dev/null; then
    enter=(unshare --mount sh -c "$devices; exec chroot --userspec=65532:65532 \"\$0\" \"\$@\"" "$root")
elif unshare --user --map-root-user --mount sh -c "$devices; chroot / /bin/true" "$root" 2>/dev/null; then
    enter=(unshare --user --map-root-user --mount sh -c "$devices; exec chroot \"\$0\" \"\$@\"" "$root")
else
    [ -z "${MUST_RUN:-}" ] || fail "namespaces, which stand in for a container here, are not permitted"
    say "SKIPPED, nothing was proved: namespaces, which stand in for a container here, are not permitted"
    exit 0
fi

target=${CARGO_TARGET_DIR:-target}
binary=${1:-}
if [ -z "$binary" ]; then
    # For the program alone, so that everything else is the debug build's own.
    cargo rustc --locked --quiet --bin xengate -- -C target-feature=+crt-static
    binary=$target/debug/xengate
fi

# The image: the program, its directory, the configuration's, and no more.
cp "$binary" "$root/xengate"
chmod 0755 "$root/xengate"
# Read whole before it is looked at: who stops reading has ldd fail, and with it the pipe.
libraries=$(if command -v ldd >/dev/null; then ldd "$root/xengate" 2>/dev/null || true; fi)
if [[ $libraries == *'=>'* ]]; then
    fail "the binary is not static: ${libraries%%$'\n'*}"
fi
"${enter[@]}" /xengate --version >/dev/null || fail "it does not run in an empty root directory"

# Names: by a DNS server where one can be run, else by the hosts file that containers have too.
how="/etc/hosts"
if command -v python3 >/dev/null; then
    python3 - 127.0.0.53 >"$work/dns" 2>/dev/null <<'DNS' &
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    question, client = server.recvfrom(512)
    end = question.index(b"\0", 12) + 5
    is_a = question[end - 4:end - 2] == b"\0\1"
    known = question[12:end - 5].endswith(b"\4test")
    head = question[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1"
    head += (b"\0\1" if is_a and known else b"\0\0") + b"\0\0\0\0"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1" if is_a and known else b""
    server.sendto(head + question[12:end] + answer, client)
DNS
    dns=$!
    for _ in $(seq 50); do
        if grep -q ready "$work/dns"; then
            how="DNS"
            break
        fi
        kill -0 "$dns" 2>/dev/null || break
        sleep 0.1
    done
    started+=("$dns")
fi
if [ "$how" = DNS ]; then
    echo "nameserver 127.0.0.53" >"$root/etc/resolv.conf"
else
    echo "127.0.0.1 pool.test gateway.test" >"$root/etc/hosts"
fi

# Starts a program in the root directory; sets `address` to where its first line says it listens.
start() {
    local out=$work/out.$RANDOM
    "${enter[@]}" /xengate "$@" >"$out" 2>"$out.log" &
    started+=($!)
    for _ in $(seq 300); do
        address=$(sed -n 's/.*listening on [a-z]*:\/\/\([0-9.:]*\).*/\1/p;1q' "$out")
        if [ -n "$address" ]; then return; fi
        kill -0 "${started[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$out.log" >&2
    fail "xengate $* does not listen"
}

# GET, with nothing but the shell: the whole answer.
get() {
    local at=$1 path=$2 header=${3:-X-None: 0}
    exec 3<>"/dev/tcp/${at%:*}/${at##*:}"
    printf 'GET %s HTTP/1.1\r\nHost: check\r\n%s\r\nConnection: close\r\n\r\n' "$path" "$header" >&3
    cat <&3
    exec 3>&-
}

# Asks until the answer has what it should.
until_has() {
    local wanted=$1 answer=
    shift
    for _ in $(seq 300); do
        answer=$(get "$@" | tr -d '\0')
        if grep -qF -- "$wanted" <<<"$answer"; then return; fi
        sleep 0.1
    done
    printf '%s\n' "${answer:0:2000}" >&2
    fail "$2 of $1 never had: $wanted"
}

start sim --listen 127.0.0.1:0 --vms 5
pool=$address
echo simulated >"$root/etc/xengate/pool.password"
echo "a token for the pools' metrics" >"$root/etc/xengate/xen.token"
cat >"$root/etc/xengate/xengate.toml" <<TOML
listen = "127.0.0.1:0"
[backends.pool]
uri = "http://pool.test:${pool##*:}"
service_username = "root"
service_password_file = "pool.password"
[auth]
key_file = "/var/lib/xengate/token.key"
[metrics]
xen_token_file = "xen.token"
TOML
start serve --config /etc/xengate/xengate.toml
gateway=$address
until_has '"state":"live"' "$gateway" /readyz
until_has 'swagger-ui' "$gateway" /docs/
until_has '"openapi":"3.1' "$gateway" /openapi.json
until_has 'process_start_time_seconds ' "$gateway" /metrics
until_has 'xen_vm_memory_static_max_bytes{' "$gateway" /metrics/xen \
    "Authorization: Bearer a token for the pools' metrics"
"${enter[@]}" /xengate healthcheck --ready --listen "$gateway" || fail "healthcheck of a gateway that is well"
if "${enter[@]}" /xengate healthcheck --listen 127.0.0.1:1 2>/dev/null; then
    fail "healthcheck of a gateway that is not there"
fi
[ -s "$root/var/lib/xengate/token.key" ] || fail "no key was kept"
say "serves, documents itself and finds its pool by name ($how)"

if ! command -v openssl >/dev/null; then
    say "TLS was not tried: there is no openssl to make a certificate with"
    exit 0
fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=gateway.test -addext subjectAltName=DNS:gateway.test \
    -addext basicConstraints=critical,CA:FALSE \
    -keyout "$root/etc/xengate/key.pem" -out "$root/etc/xengate/cert.pem" 2>/dev/null
chmod 0644 "$root/etc/xengate/key.pem"
sed 's/^listen = .*/&\ntls = { cert_file = "cert.pem", key_file = "key.pem" }/; /key_file = "\/var/d' \
    "$root/etc/xengate/xengate.toml" >"$root/etc/xengate/tls.toml"
start serve --config /etc/xengate/tls.toml
secured=$address
"${enter[@]}" /xengate healthcheck --config /etc/xengate/tls.toml --listen "$secured" ||
    fail "healthcheck over TLS"
# A gateway before that gateway: no pool, but one whose certificate is trusted or not.
cat >"$root/etc/xengate/beyond.toml" <<TOML
listen = "127.0.0.1:0"
[backends.beyond]
uri = "https://gateway.test:${secured##*:}"
TOML
SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
export SSL_CERT_FILE
cp "$root/etc/xengate/cert.pem" "$root/$SSL_CERT_FILE"
start serve --config /etc/xengate/beyond.toml
until_has 'it does not answer as a Xen-API server does' "$address" /readyz
say "serves over TLS, and trusts by the roots in its root directory"
