#!/bin/sh
# A policy onto some robots, one after the other: rollout.sh BUNDLE ROBOT...
#
# ROBOT is what ssh takes, of a user who may sudo. A robot that walks is left alone; the first one on which something is
# not right ends it, put back on its old policy, and the robots behind it stay as they are. Where ssh itself fails (its
# exit code 255), nobody can put it back from here: the last line says how the robot was left, and what to do there.
set -eu

[ $# -ge 2 ] || { echo "usage: rollout.sh BUNDLE ROBOT..." >&2; exit 2; }
bundle=$1
shift
name=$(basename "$bundle")

end() {
    echo "$robot: $1" >&2
    exit 1
}

for robot in "$@"; do
    echo "== $robot"
    ssh "$robot" true || end "ssh does not reach it; nothing was changed on it"
    ssh "$robot" gaitctl safe-to-stop || end "walks, or may; try again later"
    scp -q "$bundle" "$robot:/tmp/$name" || end "$bundle was not copied to it; still on its old policy"
    ssh "$robot" sudo gaitctl selftest --bundle "/tmp/$name" || end "its NPU does not compute it; still on its old policy"
    code=0
    ssh "$robot" sudo gaitctl install "/tmp/$name" --activate || code=$?
    case $code in
        0) ;;
        255) end "ssh was lost during the change: it has the old policy or the new one, not tried. There: gaitctl list says
which; sudo gaitctl doctor if it is the new one, and sudo gaitctl rollback if that finds something" ;;
        *) end "still on its old policy" ;;
    esac
    ssh "$robot" sudo gaitctl doctor || code=$?
    case $code in
        0) ;;
        255) end "ssh was lost during the check: it has the new policy, not known to be fit. There: sudo gaitctl doctor, and
sudo gaitctl rollback if that finds something" ;;
        *)
            ssh "$robot" sudo gaitctl rollback ||
                end "not fit with the new policy, and still on it: the roll-back failed. There: sudo gaitctl rollback"
            end "not fit with the new policy, put back on the old one"
            ;;
    esac
done
echo "all of them run $name"
