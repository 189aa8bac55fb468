#!/usr/bin/env python3
"""Pushes heartbeats: python3 beat.py http://127.0.0.1:9901 CLUSTER ENDPOINT [TOKEN_FILE]

Prints each ack. Ends with 1 when no proxy has acknowledged for the ttl; says bye on SIGTERM.
"""
import json, os, signal, sys, time, urllib.request, uuid

url, cluster, endpoint = sys.argv[1:4]
token = open(sys.argv[4]).read().split()[0] if len(sys.argv) > 4 else ""
boot_id, seq, next_in, ttl, acked = uuid.uuid4().hex, 0, 0.5, 5.0, time.monotonic()


def beat(state="ready"):
    global seq
    seq += 1
    body = {"cluster": cluster, "endpoint": endpoint, "boot_id": boot_id, "seq": seq, "state": state,
            "sent_at_ms": int(time.time() * 1000), "report": {"cpu": os.getloadavg()[0] / os.cpu_count() / 10}}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + "/v1/heartbeats", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=1) as answer:
        return json.load(answer)


def leave(*_):
    beat("bye")
    sys.exit(0)


signal.signal(signal.SIGTERM, leave)
while time.monotonic() - acked < ttl:
    try:
        ack = beat()
        print(json.dumps(ack), flush=True)
        next_in, ttl, acked = ack["next_in_ms"] / 1000, ack["ttl_ms"] / 1000, time.monotonic()
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
    time.sleep(next_in)
sys.exit("cut off: nobody has acknowledged for the ttl")
