#!/bin/sh
# A policy onto some robots, one after the other: rollout.sh BUNDLE ROBOT...
#
# ROBOT is what ssh takes, of a user who may sudo. A robot that walks is left alone; the first one on which something is
# not right ends it, put back on its old policy, and the robots behind it stay as they are.
set -eu

[ $# -ge 2 ] || { echo "usage: rollout.sh BUNDLE ROBOT..." >&2; exit 2; }
bundle=$1
shift
name=$(basename "$bundle")

for robot in "$@"; do
    echo "== $robot"
    ssh "$robot" gaitctl safe-to-stop || { echo "$robot: walks, or may; try again later" >&2; exit 1; }
    scp -q "$bundle" "$robot:/tmp/$name"
    ssh "$robot" sudo gaitctl selftest --bundle "/tmp/$name" || { echo "$robot: its NPU does not compute it" >&2; exit 1; }
    ssh "$robot" sudo gaitctl install "/tmp/$name" --activate || { echo "$robot: still on its old policy" >&2; exit 1; }
    if ! ssh "$robot" sudo gaitctl doctor; then
        ssh "$robot" sudo gaitctl rollback
        echo "$robot: not fit with the new policy, put back on the old one" >&2
        exit 1
    fi
done
echo "all of them run $name"
