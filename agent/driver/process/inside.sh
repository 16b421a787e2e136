# The first process of an attempt's namespaces: a /tmp, a /dev/shm and a view of the processes that are its own.
#
#   sh inside.sh NAME WORKER PID     in the driver's directory, which stays open under the new /tmp, as the old one does
exec 8</tmp
mount --bind /dev/shm "cells/$1/shm" &&
  mount -t tmpfs -o size=50%,mode=1777,nosuid,nodev shm /dev/shm &&
  mount -t proc -o nosuid,nodev,noexec proc /proc &&
  worker=$(cat "$2") &&
  mount --bind "cells/$1/tmp" /tmp || exit 1
# The worker makes files that any user may open again.
umask 0
exec sh -c "$worker" worker "$1" "$3" own
