#!/usr/bin/env bash
# schemathesis over the whole document, against `xengate demo`: no answer is a fault of the server,
# and each is one that the document has, with the schema that the document gives it.
#
#   tests/clients/schemathesis.sh [OPTION...]    options of `schemathesis run`
#
# XENGATE: the program, built here unless given; use a release build where time matters. EXAMPLES:
# how many random requests each operation gets (5) beside those that probe its limits.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/demo.sh"

SCHEMATHESIS=4.32.5

# They end the session that the requests are made in, never end themselves, or take the simulated pool away from them.
excluded=(
    logout
    streamEvents
    ejectFromPool
    joinPool joinPoolForce
    designatePoolNewMaster
    emergencyMakePoolMaster emergencyResetPoolMaster
    destroyHost callDestroyHost declareHostDead
    shutdownHost shutdownHostAgent rebootHost restartHostAgent powerOnHost
)

needs python3 curl || exit 0
python3 -m venv "$work/venv" || { echo "skipped: python3 -m venv does not work"; exit 0; }
"$work/venv/bin/pip" --quiet --disable-pip-version-check install "schemathesis==$SCHEMATHESIS" \
    || { echo "skipped: pip cannot install schemathesis"; exit 0; }

# What the simulated pool does not simulate is a 501, which is no fault.
cat > "$work/schemathesis.toml" <<'TOML'
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "501"]
TOML

start_demo
login='{"username": "root", "password": "simulated"}'
token=$(curl -sf "$XENGATE_URL/sessions" -H 'Content-Type: application/json' -d "$login" \
    | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')

# Nearly every request names objects that are not there: that its data is refused tells nothing.
"$work/venv/bin/schemathesis" --config-file "$work/schemathesis.toml" \
    run "$XENGATE_URL/openapi.json" \
    --header "Authorization: Bearer $token" \
    --phases examples,coverage,fuzzing \
    --max-examples "${EXAMPLES:-5}" \
    --exclude-checks positive_data_acceptance \
    --generation-database none \
    --warnings off \
    --no-color \
    $(printf -- '--exclude-operation-id %s ' "${excluded[@]}") \
    "$@"
