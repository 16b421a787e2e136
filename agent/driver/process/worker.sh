# A worker: runs the attempts that its agent names on stdin, one at a time, and outlives the agent.
#
#   sh worker.sh NAME     in the driver's directory; stderr is ledger/NAME, in append mode
#
# The ledger is the truth about what ran. It gets `run ID PID UPTIME` before, `exit ID STATUS UPTIME` after each
# attempt, and between them the shell's own word ("Killed") when a signal ended the command: that, and not a status
# above 128, tells a signal from `exit 137`. Only built-in commands here, so an attempt costs one fork and one exec.
#
# The order is read after `run` is on file. An agent that takes over first deletes the orders of its predecessor and
# then reads the ledgers: an attempt that is in no ledger has not started and never will.
trap : HUP INT QUIT TERM USR1 USR2 ALRM
name=$1
set -- /proc/self/task/*
pid=${1##*/}
while IFS= read -r id; do
  read -r up rest </proc/uptime
  # What cannot be put on file does not run.
  echo "run $id $pid $up" >&2 || exit 1
  if [ -r "orders/$name" ]; then
    ( . "./orders/$name" ) </dev/null >>"output/$id.out" 2>>"output/$id.err"
    status=$?
  else
    status=revoked
  fi
  read -r up rest </proc/uptime
  # A full disk must not lose the status.
  until echo "exit $id $status $up" >&2; do
    [ -d ledger ] || exit 1
    sleep 1
  done
done
