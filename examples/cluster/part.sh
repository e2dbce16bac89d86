#!/bin/sh
# One host's part of a run: users INDEX * CONNECTIONS + 1 and so on, from this host's address to TARGET.
#
#   TARGET       a URL, such as http://comet:8000/test/{user}
#   CONNECTIONS  of each host; an address has ports for some 62,000
#   INDEX        of the host, from 0 on; in an indexed Job of Kubernetes it is JOB_COMPLETION_INDEX
#   HOST_IP      the address to connect from; by default the first one of this host
#
# Further options of floodtest run may be given. The record is part-INDEX-1 in the current folder; of several hosts
# `floodtest merge part-*-1` makes one.
set -eu

: "${TARGET:?TARGET is missing: a URL, such as http://comet:8000/test/\{user\}}"
: "${CONNECTIONS:?CONNECTIONS is missing: how many each host opens}"
index=${JOB_COMPLETION_INDEX:-${INDEX:?INDEX is missing: the number of this host, from 0 on}}
address=${HOST_IP:-$(hostname -i | cut -d ' ' -f 1)}

exec floodtest run \
  --network host --base-ip "$address" --ips 1 --each "$CONNECTIONS" \
  --target "$TARGET" --connections "$CONNECTIONS" --first-user $((index * CONNECTIONS + 1)) \
  --out . --name "part-$index" --no-report "$@"
