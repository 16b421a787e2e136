# A worker: runs the attempts that its agent names on stdin, one at a time, and outlives the agent.
#
#   sh worker.sh NAME     in the driver's directory; stderr is ledger/NAME, in append mode
#
# The ledger is the truth about what ran. It gets `run ID PID UPTIME` before, `exit ID STATUS UPTIME` after each
# attempt. Only built-in commands here, and the order runs in this very shell, without a subshell of its own: dash then
# makes the process of the command by vfork, which costs half of what a fork of the shell does. When a signal ends the
# command, the shell says so ("Killed") as the last line of the attempt's stderr.
#
# The order is read after `run` is on file. An agent that takes over first deletes the orders of its predecessor and
# then reads the ledgers: an attempt that is in no ledger has not started and never will.
trap : HUP INT QUIT TERM USR1 USR2 ALRM
name=$1
root=$PWD
set -- /proc/self/task/*
pid=${1##*/}
while IFS= read -r id; do
  read -r up rest </proc/uptime
  # What cannot be put on file does not run.
  echo "run $id $pid $up" >&2 || exit 1
  if [ -r "$root/orders/$name" ]; then
    # `command` keeps a failure from ending this shell.
    command . "$root/orders/$name" </dev/null >>"$root/output/$id.out" 2>>"$root/output/$id.err"
    status=$?
  else
    status=revoked
  fi
  read -r up rest </proc/uptime
  # A full disk must not lose the status.
  until echo "exit $id $status $up" >&2; do
    [ -d "$root/ledger" ] || exit 1
    sleep 1
  done
done
