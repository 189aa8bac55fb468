#!/bin/sh
# Pushes heartbeats: sh beat.sh http://127.0.0.1:9901 CLUSTER ENDPOINT [TOKEN_FILE]
# Prints each ack; says bye on SIGTERM. For programs that can run curl and nothing else.
url=$1 cluster=$2 endpoint=$3
token=$([ -n "${4:-}" ] && awk '{ print $1; exit }' "$4")
boot_id=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
seq=0

beat() {
  seq=$((seq + 1))
  curl --silent --show-error --fail --max-time 1 \
    --header "Authorization: Bearer $token" --header "Content-Type: application/json" \
    --data "{\"cluster\":\"$cluster\",\"endpoint\":\"$endpoint\",\"boot_id\":\"$boot_id\",\"seq\":$seq,\"sent_at_ms\":$(date +%s%3N),\"state\":\"$1\"}" \
    "$url/v1/heartbeats" && echo
}

trap 'beat bye; exit 0' TERM
while :; do
  beat ready
  sleep "${PERIOD:-0.5}" &
  wait $!
done
