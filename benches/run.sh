#!/usr/bin/env bash
# How fast the gateway is, side by side with a bare HTTP server, on the simulated pool.
#
#   benches/run.sh            about four minutes
#   ROUNDS=1 SECONDS_EACH=1 benches/run.sh     a glance
#
# Prints one table. Every rate is the median of ROUNDS turns in which the gateway and the bare server
# take turns, so that a busy machine slows both alike; CPU is the gateway's own, from /proc. Nothing
# is installed and nothing leaves this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-4}
CONNECTIONS=16
PACE=25000000
CHANGES=36000
SUBSCRIBERS=1000

missing=()
for tool in cargo wrk curl awk sed; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[ -r /proc/self/stat ] || missing+=("/proc (Linux)")
if [ ${#missing[@]} -gt 0 ]; then
    echo "benches/run.sh needs: ${missing[*]}" >&2
    exit 1
fi
command -v valgrind >/dev/null ||
    echo "no valgrind: benches/instructions.sh, which counts instructions, would need it" >&2

cargo build --profile dist --locked --bin xengate --example bare --example pool --example subscribers
target=${CARGO_TARGET_DIR:-target}/dist
work=$(mktemp -d)
children=()
finish() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# start NAME COMMAND...: runs it until the end, its first line of output tells the address.
start() {
    local name=$1
    shift
    rm -f "$work/$name.out"
    "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
    begun "$name" $!
}

# begun NAME PID: waits for the line with the address; sets PID_NAME and URL_NAME.
begun() {
    local name=$1 pid=$2 tries=0
    children+=("$pid")
    until grep -q 'listening on' "$work/$name.out" 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/$name.err" >&2; exit 1; }
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "$name does not start" >&2; exit 1; }
        sleep 0.05
    done
    printf -v "PID_$name" %s "$pid"
    printf -v "URL_$name" %s "$(sed -n '/listening on/{s/.*listening on \(http[^ ]*\).*/\1/p;q}' "$work/$name.out")"
}

# end NAME
end() {
    local pid="PID_$1"
    kill "${!pid}" 2>/dev/null || true
    wait "${!pid}" 2>/dev/null || true
}

# pool VMS [HOSTS]: a pool that takes commands.
pool() {
    rm -f "$work/pool.out"
    mkfifo "$work/commands"
    "$target/examples/pool" 127.0.0.1:0 "$@" >"$work/pool.out" 2>"$work/pool.err" <"$work/commands" &
    local pid=$!
    exec 3>"$work/commands"
    begun pool $pid
}

pool_end() {
    exec 3>&-
    end pool
    rm -f "$work/commands"
}

# tell COMMAND: to the pool, and waits until it is done.
tell() {
    local before
    before=$(grep -c '^done' "$work/pool.out" || true)
    echo "$1" >&3
    until [ "$(grep -c '^done' "$work/pool.out" || true)" -gt "$before" ]; do sleep 0.05; done
}

login() {
    TOKEN=$(curl -sf "$URL_serve/sessions" -H 'Content-Type: application/json' \
        -d '{"username":"root","password":"simulated"}' | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
    [ -n "$TOKEN" ] || { echo "no login" >&2; exit 1; }
}

get() { curl -sf -H "Authorization: Bearer $TOKEN" "$URL_serve$1"; }

until_mirrored() {
    until get "/vms?limit=1" >/dev/null; do sleep 0.02; done
}

# ticks PID: CPU so far, in milliseconds.
ticks() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$1/stat"; }
resident() { awk '/^VmRSS/ { printf "%.0f\n", $2 / 1024 }' "/proc/$1/status"; }

# load PID CONNECTIONS URL [HEADER...]: "requests/s, CPU in µs per request, p99 in ms".
load() {
    local pid=$1 connections=$2 url=$3 before after header args=()
    shift 3
    for header in "$@"; do args+=(-H "$header"); done
    before=$(ticks "$pid")
    wrk -t1 -c"$connections" -d"${SECONDS_EACH}s" --latency "${args[@]}" "$url" >"$work/wrk" 2>&1
    after=$(ticks "$pid")
    # A 304 is what one row asks for.
    if grep -q 'Non-2xx' "$work/wrk" && [[ "${*:-}" != *If-None-Match* ]]; then
        cat "$work/wrk" >&2
        exit 1
    fi
    awk -v cpu="$(awk "BEGIN { print $after - $before }")" '
        function ms(text) { v = text + 0; return text ~ /us$/ ? v / 1000 : text ~ /ms$/ ? v : v * 1000 }
        /requests in/ { n = $1 }
        /Requests\/sec/ { rate = $2 }
        $1 == "99%" { p99 = ms($2) }
        END { printf "%.1f %.1f %.3f\n", rate, n ? cpu * 1000 / n : 0, p99 }' "$work/wrk"
}

# median COLUMN FILE
median() { cut -d' ' -f"$1" "$2" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

rows=()
# row TEXT GATEWAY OTHER RATIO CPU MUST
row() { rows+=("| $1 | $2 | $3 | $4 | $5 | $6 |"); }

# rate TEXT PATH BARE_PATH MUST [HEADER...]: the gateway and the bare server in turns.
rate() {
    local text=$1 path=$2 bare=$3 must=$4 round
    shift 4
    : >"$work/gate"
    : >"$work/bare"
    for ((round = 0; round < ROUNDS; round++)); do
        load "$PID_bare" $CONNECTIONS "$URL_bare$bare" >>"$work/bare"
        load "$PID_serve" $CONNECTIONS "$URL_serve$path" "Authorization: Bearer $TOKEN" "$@" >>"$work/gate"
    done
    local gate other
    gate=$(median 1 "$work/gate")
    other=$(median 1 "$work/bare")
    row "$text" "$gate/s" "$other/s" "$(awk "BEGIN { printf \"%.0f%%\", 100 * $gate / $other }")" \
        "$(median 2 "$work/gate") µs" "$must"
}

vms_rows() {
    local vms=$1 must=$2
    pool "$vms"
    start serve "$target/xengate" serve --backend "$URL_pool" --listen 127.0.0.1:0
    login
    until_mirrored
    local one all=/vms few='/vms?fields=name_label,power_state,memory_static_max'
    [ "$vms" -le 1000 ] || all="/vms?limit=10000"
    one=/vms/$(get '/vms?limit=1' | sed -n 's/.*"items":\[{"uuid":"\([^"]*\)".*/\1/p')
    local tenth="/vms?filter=$FILTER"
    get "$one" >"$work/one.json"
    get "$all" >"$work/all.json"
    local bodies=("/one=$work/one.json" "/all=$work/all.json")
    get "$few" >"$work/few.json" 2>/dev/null && bodies+=("/few=$work/few.json")
    get "$tenth" >"$work/tenth.json" 2>/dev/null && bodies+=("/tenth=$work/tenth.json")
    start bare "$target/examples/bare" 127.0.0.1:0 "${bodies[@]}"
    local tag
    tag=$(curl -sfI -H "Authorization: Bearer $TOKEN" "$URL_serve$all" | tr -d '\r' | sed -n 's/^etag: //ip')
    if [ "$must" = yes ]; then
        rate "one VM, $vms there" "$one" /one "≥ 60%, ≤ 27 µs"
        rate "all $vms VMs, all fields" "$all" /all "≥ 90%"
        [ -s "$work/few.json" ] && rate "three fields of $vms VMs" "$few" /few "≤ 150 µs"
        [ -s "$work/tenth.json" ] && rate "a filter that selects $(selected) of $vms" "$tenth" /tenth "≤ 150 µs"
        rate "304 on the list of $vms, beside one VM bare" "$all" /one "as one VM" "If-None-Match: $tag"
        beside "$one" "$all"
    else
        rate "one VM, $vms there" "$one" /one "-"
        rate "$vms VMs, all fields" "$all" /all "-"
    fi
    end bare
    end serve
    pool_end
}

selected() { sed -n 's/.*"total":\([0-9]*\).*/\1/p' "$work/tenth.json"; }

# A single reader beside one that lists everything in a loop.
beside() {
    local one=$1 all=$2 round listing
    : >"$work/quiet"
    : >"$work/loud"
    for ((round = 0; round < ROUNDS; round++)); do
        load "$PID_serve" 1 "$URL_serve$one" "Authorization: Bearer $TOKEN" >>"$work/quiet"
        wrk -t1 -c$CONNECTIONS -d$((SECONDS_EACH + 2))s -H "Authorization: Bearer $TOKEN" "$URL_serve$all" \
            >/dev/null 2>&1 &
        listing=$!
        sleep 1
        load "$PID_serve" 1 "$URL_serve$one" "Authorization: Bearer $TOKEN" >>"$work/loud"
        wait $listing
    done
    local quiet loud
    quiet=$(median 3 "$work/quiet")
    loud=$(median 3 "$work/loud")
    row "one VM, p99 beside a client that lists all in a loop ($CONNECTIONS connections)" "$loud ms" \
        "$quiet ms quiet" "$(awk "BEGIN { printf \"%.1f×\", $loud / $quiet }")" "-" "< 3×"
}

# A session of the pool's own.
pool_session() {
    curl -sf "$URL_pool/jsonrpc" -H 'Content-Type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":
        "session.login_with_password","params":["root","simulated","1.0","bench"]}' |
        sed -n 's/.*"result":"\([^"]*\)".*/\1/p'
}

# How long a first sync takes beside curl, and what the mirror weighs.
mirror_rows() {
    local vms=$1 round session took size
    pool "$vms"
    tell "pace $PACE"
    session=$(pool_session)
    : >"$work/curl"
    : >"$work/sync"
    for ((round = 0; round < ROUNDS; round++)); do
        curl -sf -o /dev/null -w '%{time_total} %{size_download}\n' "$URL_pool/jsonrpc" \
            -H 'Content-Type: application/json' -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.from\",
            \"params\":[\"$session\",[\"*\"],\"\",30.0]}" >>"$work/curl"
        start serve "$target/xengate" serve --backend "$URL_pool" --listen 127.0.0.1:0
        local begin before
        before=$(ticks "$PID_serve")
        begin=$(date +%s%N)
        login
        until_mirrored
        took=$(($(date +%s%N) - begin))
        echo "$(awk "BEGIN { print $took / 1e9 }") $(awk "BEGIN { print $(ticks "$PID_serve") - $before }")" >>"$work/sync"
        [ $((round + 1)) -eq "$ROUNDS" ] || end serve
    done
    local ours theirs
    ours=$(median 1 "$work/sync")
    theirs=$(median 1 "$work/curl")
    size=$(median 2 "$work/curl")
    row "first sync of $vms VMs at $((PACE / 1000000)) MB/s, until they can be listed" "$ours s" "$theirs s by curl" \
        "$(awk "BEGIN { printf \"%.2f×\", $ours / $theirs }")" \
        "$(awk "BEGIN { printf \"%.1f ms/MB\", $(median 2 "$work/sync") / ($size / 1e6) }")" "≤ 1.2×"
    local objects first after
    objects=$(get /backends | sed -n 's/.*"objects":{\([^}]*\)}.*/\1/p' | tr ',' '\n' |
        awk -F: '{ n += $2 } END { print n }')
    first=$(resident "$PID_serve")
    tell "pace 0"
    tell "change $CHANGES 0"
    settled
    after=$(resident "$PID_serve")
    row "resident, $vms VMs ($objects objects), after $CHANGES changes" "$after MB" "$first MB before" "-" "-" "≤ 300 MB"
    end serve
    pool_end
}

# Waits until the mirror has come to rest.
settled() {
    local last='' now
    while :; do
        now=$(curl -sfI -H "Authorization: Bearer $TOKEN" "$URL_serve/vms?limit=1" | tr -d '\r' |
            sed -n 's/^xen-revision: //ip')
        [ "$now" != "$last" ] || return 0
        last=$now
        sleep 1
    done
}

# events N RATE MUST: a thousand subscribers, N changes, so many a second.
events() {
    local count=$1 rate=$2 must=$3 before cpu deliveries
    rm -f "$work/subscribers.out"
    "$target/examples/subscribers" "${URL_serve#http://}" "$TOKEN" "$SUBSCRIBERS" "$count" \
        >"$work/subscribers.out" 2>"$work/subscribers.err" </dev/null &
    begun subscribers $!
    before=$(ticks "$PID_serve")
    tell "change $count $rate"
    wait "$PID_subscribers"
    cpu=$(awk "BEGIN { print $(ticks "$PID_serve") - $before }")
    # That they are gone shows when something is written to them.
    until get /metrics | grep -q '^xengate_event_streams 0$'; do sleep 0.2; done
    deliveries=$(sed -n 's/^deliveries \([0-9]*\).*/\1/p' "$work/subscribers.out")
    row "change → event, $SUBSCRIBERS subscribers, $rate changes/s" \
        "$(sed -n 's/^\(p50.*\)/\1/p' "$work/subscribers.out")" \
        "$(sed -n 's/^deliveries [0-9]* \(lost [0-9]*\).*/\1/p' "$work/subscribers.out")" "-" \
        "$(awk "BEGIN { printf \"%.1f µs/delivery\", 1000 * $cpu / $deliveries }")" "$must"
}

event_rows() {
    pool 1000
    start serve "$target/xengate" serve --backend "$URL_pool" --listen 127.0.0.1:0
    login
    until_mirrored
    events 200 10 "p99 ≤ 70 ms (the pool gathers changes for 50), none lost"
    events 1000 100 "told"
    end serve
    pool_end
}

# What one host measures: how long the first samples take beside curl, and what they cost from then on.
samples_rows() {
    local vms=$1 round session one updates
    pool "$vms" 1
    session=$(pool_session)
    updates="$URL_pool/rrd_updates?session_id=$session&start=-15&interval=5&cf=AVERAGE&host=true&sr_uuid=all&json=true"
    : >"$work/first"
    : >"$work/curl"
    for ((round = 0; round < ROUNDS; round++)); do
        start serve "$target/xengate" serve --backend "$URL_pool" --listen 127.0.0.1:0
        login
        until_mirrored
        one=/vms/$(get '/vms?limit=1&filter=power_state%20=%20Running' |
            sed -n 's/.*"items":\[{"uuid":"\([^"]*\)".*/\1/p')/metrics
        curl -sf -o /dev/null -w '%{time_total}\n' "$updates" >>"$work/curl"
        curl -sf -o "$work/samples" -w '%{time_total}\n' -H "Authorization: Bearer $TOKEN" "$URL_serve$one" >>"$work/first"
        grep -q '"reason":null' "$work/samples" || { echo "no samples: $(cat "$work/samples")" >&2; exit 1; }
        [ $((round + 1)) -eq "$ROUNDS" ] || end serve
    done
    local ours theirs
    ours=$(median 1 "$work/first")
    theirs=$(median 1 "$work/curl")
    row "first samples of a VM, $vms on one host" "$ours s" "$theirs s by curl" \
        "$(awk "BEGIN { printf \"%.2f×\", $ours / $theirs }")" "-" "≤ 1.2×"
    : >"$work/gate"
    for ((round = 0; round < ROUNDS; round++)); do
        load "$PID_serve" $CONNECTIONS "$URL_serve$one" "Authorization: Bearer $TOKEN" >>"$work/gate"
    done
    row "samples of a VM, $vms on one host" "$(median 1 "$work/gate")/s" "-" "-" "$(median 2 "$work/gate") µs" \
        "≤ 100 µs"
    end serve
    pool_end
}

# A tenth: the simulator's VMs are numbered.
FILTER=${FILTER:-'name_label%20~%20%22*7%22'}

vms_rows 1000 yes
vms_rows 10000 no
mirror_rows 10000
event_rows
samples_rows 1000

echo
echo "$(git rev-parse --short HEAD 2>/dev/null || echo '?'), $(nproc) processors," \
    "$ROUNDS turns of $SECONDS_EACH s, wrk with $CONNECTIONS connections"
echo
echo "| | gateway | beside it | ratio | CPU | must be |"
echo "|---|---|---|---|---|---|"
printf '%s\n' "${rows[@]}"
