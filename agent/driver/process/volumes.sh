# Mounts what a task is to see at places of its own: in the namespaces of its worker, as root, before its command.
#
#   sh -c TEXT volumes OWN [KIND SOURCE WHICH OPTIONS TARGET]...     in the driver's directory
#
# OWN is the name of a folder to be made, on which mounts are made ready. With KIND "folder", SOURCE is where the worker
# finds it, WHICH its device and inode as the agent saw them, OPTIONS ro or rw; with "memory", they are a tmpfs's.
#
# Other tasks may rename what lies around meanwhile, so nothing is mounted by a path that was looked at before: a folder
# is entered, asked which and where it is, and then mounted, or mounted on, as `.`. A failure is one line of output.
target=${6-} own=$1 root='' ours='' copies=0
shift
umask 022

fail() {
  echo "cannot mount at $target: $1"
  exit 1
}

# False when the way there leads over a link.
enter() {
  cd -- "$1" 2>/dev/null && [ "$(pwd -P)" = "$1" ]
}

# What is in this folder, also in the folder $1, where more can be made.
mirror() {
  for entry in * .[!.]*; do
    if [ -L "$entry" ]; then
      ln -s -- "$(readlink -- "$entry")" "$1/$entry"
    elif [ -d "$entry" ]; then
      mkdir -- "$1/$entry" && mount --rbind -- "./$entry" "$1/$entry"
    elif [ -e "$entry" ]; then
      : >"$1/$entry" && mount --bind -- "./$entry" "$1/$entry"
    fi || return
  done
}

# Puts a folder of the same entries, which is this task's alone, in the place of a folder: for "/", a new root.
replace() {
  enter "$1" || fail "$1 is a link"
  [ "$(ls -A | wc -l)" -le 256 ] || fail "it is missing, and $1 has too many entries to add one for this task alone"
  copies=$((copies + 1))
  copy=$own/$copies
  mkdir -- "$copy" && mount -t tmpfs -o size=1m,mode=755,nosuid,nodev berth "$copy" || fail 'no memory for a folder'
  # Or the copy of the root would contain itself.
  mount --make-unbindable "$copy" && mirror "$copy" 2>/dev/null || fail "$1 cannot be copied for this task"
  ours="$ours $(stat -c %d "$copy") "
  if [ "$1" = / ]; then root=$copy; else mount -c --move "$copy" . || fail "nothing can be mounted at $1"; fi
}

# Makes the folder $1, without leaving a trace of it on the node.
make_place() {
  above=$1
  until [ -d "$root$above" ] || [ -z "$above" ]; do above=${above%/*}; done
  [ "$above" != "$1" ] || return
  case $1 in
  /tmp/* | /dev/shm/*) ;;
  *)
    case $ours in
    *" $(stat -c %d "$root$above/") "*) ;;
    *) replace "$root${above:-/}" ;;
    esac
    ;;
  esac
  mkdir -p -- "$root$1" 2>/dev/null || fail 'it is there, and no folder'
}

# mount_one KIND SOURCE WHICH OPTIONS
mount_one() {
  cd /proc/self/fd/9
  held=$own/held
  if [ "$1" = memory ]; then
    mount -t tmpfs -o "$4" berth "$held" || fail 'no memory for it'
  else
    { cd -- "$2" && [ "$(stat -c %d:%i .)" = "$3" ]; } || fail 'its source is not what it was a moment ago'
    mount -c --bind . "$held" && mount -o "remount,bind,$4,nosuid,nodev" "$held" || fail 'its source cannot be mounted'
  fi
  enter "$root$target" || fail 'it is no folder, or the way there leads over a link'
  mount -c --bind "$held" . && umount "$held" || fail 'nothing can be mounted there'
}

mkdir -m 700 -- "$own" "$own/held" || fail 'its own folder is there already'
count=$#
while [ "$count" -gt 0 ]; do
  target=$5
  make_place "$target"
  # To the end, for the second time around: a volume may lie where another one hides it.
  set -- "$@" "$1" "$2" "$3" "$4" "$5"
  shift 5
  count=$((count - 5))
done
while [ $# -gt 0 ]; do
  target=$5
  mount_one "$1" "$2" "$3" "$4"
  shift 5
done
if [ -n "$root" ]; then
  cd -- "$root" && mkdir .berth-old && pivot_root . .berth-old && cd / && umount -l .berth-old && rmdir .berth-old ||
    fail 'the root of this node cannot be replaced'
fi
rmdir -- "$own"/* "$own"
