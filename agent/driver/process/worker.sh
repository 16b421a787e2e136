# A worker: runs the attempts that its agent names on stdin, one at a time, and outlives the agent. With each name comes
# the time since boot, which a shell can only read byte by byte.
#
#   sh worker.sh NAME [PID [own]]     in the driver's directory; stderr is ledger/NAME, in append mode
#
# PID is the process that stands for it, when that is not itself; "own" says that its namespaces are its own.
#
# The ledger is the truth about what ran. It gets `run ID PID UPTIME` before, `exit ID STATUS` after each attempt, and
# before that what `times` says: its second line is the CPU time of all commands so far, user and system. When it was is
# when the file was written. The exit is marked ` dirty` when it left shared memory or the like in namespaces of our own.
# Only built-in commands here, and the order runs in this very shell, without a subshell of its own: dash then makes the
# process of the command by vfork, which costs half of what a fork of the shell does. When a signal ends the command, the
# shell says so ("Killed") as the last line of the attempt's stderr.
#
# The order is read after `run` is on file. An agent that takes over first deletes the orders of its predecessor, but for
# those of attempts that run, and then reads the ledgers: what is in none has not started and never will.
trap : HUP INT QUIT TERM USR1 USR2 ALRM
name=$1
pid=${2-} namespaces=${3-}
if [ -z "$pid" ]; then
  set -- /proc/self/task/*
  pid=${1##*/}
fi
# What is said without a redirection of its own goes to the ledger too, which costs fewer system calls.
exec >&2
# The order goes elsewhere, and where this directory is may have another name by now.
exec 9<.
while read -r id up; do
  # What cannot be put on file does not run.
  echo "run $id $pid $up" || exit 1
  if [ -r "orders/$name" ]; then
    # `command` keeps a failure from ending this shell.
    command . "./orders/$name" </dev/null >>"current/$name.out" 2>>"current/$name.err"
    status=$?
    cd /proc/self/fd/9
  else
    status=revoked
  fi
  left=
  if [ "$namespaces" = own ]; then
    for list in /proc/sysvipc/*; do
      { read -r head && read -r item && left=' dirty'; } <"$list"
    done
    set -- /dev/shm/*
    [ -e "$1" ] && left=' dirty'
  fi
  times
  # A full disk must not lose the status.
  until echo "exit $id $status$left"; do
    [ -d ledger ] || exit 1
    sleep 1
  done
done
