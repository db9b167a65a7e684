#!/usr/bin/env bash
# A CI job that needs a VM: log in, make one from a template, wait until it runs, use it, and take it
# away again, whatever happens.
#
#   XENGATE_URL=https://gateway XENGATE_USER=ci XENGATE_PASSWORD=… JOB=4711 examples/pipeline.sh
set -euo pipefail

api() {
    local answer
    answer=$(curl -sS --fail-with-body -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' "$@") \
        || { echo "$answer" >&2; return 1; }
    printf %s "$answer"
}
value() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
# find COLLECTION FILTER: the uuid of what fits, empty if nothing does
find_one() { api -G "$XENGATE_URL/$1" --data-urlencode "filter=$2" -d fields=uuid -d limit=1 | value uuid; }

TOKEN=$(curl -sS --fail-with-body "$XENGATE_URL/sessions" -H 'Content-Type: application/json' \
    -d "{\"username\": \"$XENGATE_USER\", \"password\": \"$XENGATE_PASSWORD\"}" | value token)
finish() {
    VM=$(find_one vms "name_label = \"ci-$JOB\"")
    if [ -n "$VM" ]; then
        api -X POST -H 'Prefer: wait=60' "$XENGATE_URL/vms/$VM/actions/hard_shutdown" > /dev/null || true   # it may be halted
        api -X DELETE -H 'Prefer: wait=60' "$XENGATE_URL/vms/$VM?disks=delete"
    fi
    api -X DELETE "$XENGATE_URL/sessions/current"
}
trap finish EXIT

TEMPLATE=$(find_one vm-templates 'name_label ~ "Debian Bookworm*"')
[ -n "$TEMPLATE" ] || { echo "there is no such template" >&2; exit 1; }
# What fails within the minute is a 4xx or 5xx; what takes longer goes on.
api "$XENGATE_URL/vms" -H 'Prefer: wait=60' \
    -d "{\"template\": \"$TEMPLATE\", \"name_label\": \"ci-$JOB\", \"start\": true}" > /dev/null
for _ in $(seq 60); do
    VM=$(find_one vms "name_label = \"ci-$JOB\" and power_state = Running")
    [ -z "$VM" ] || break
    sleep 5
done
[ -n "$VM" ] || { echo "the VM does not start" >&2; exit 1; }
echo "the VM is $VM"
# … the tests …
api "$XENGATE_URL/vms/$VM/metrics" > load.json
