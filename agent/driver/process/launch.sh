# Becomes a worker inside the control groups whose process lists are named, in the driver's directory.
#
#   sh launch.sh NAME WORKER NAMESPACES PROCS...
#
# With NAMESPACES "own" the worker is the first process of its own process, mount and IPC namespaces, and nothing in
# them can gain privileges. This process stays outside and stands for all of it: when it dies, they die.
name=$1 worker=$2 namespaces=$3
shift 3
for procs; do
  echo $$ >"$procs" || exit 1
done
if [ "$namespaces" = own ]; then
  # What the machine mounts or unmounts later shows inside too, and nothing of the inside shows outside.
  exec setpriv --no-new-privs unshare --pid --fork --kill-child --mount --propagation slave --ipc sh "${worker%/*}/inside.sh" "$name" "$worker" $$
fi
exec sh "$worker" "$name" $$
