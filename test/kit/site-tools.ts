import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A site with tools of its own: one shell script, for which a job is a folder. The README shows the like of it. */
export function writeSiteTools(folder: string): string {
  mkdirSync(join(folder, 'jobs'), { recursive: true });
  const program = join(folder, 'site');
  writeFileSync(program, SITE.replace('@ROOT@', folder));
  chmodSync(program, 0o755);
  return program;
}

const SITE = `#!/bin/sh
root=@ROOT@/jobs
[ ! -e "$root/../down" ] || { echo 'the site is closed' >&2; exit 75; }
case $1 in
submit) # TAG SCRIPT PARTITION ARRAY
  [ "\${4:-main}" = main ] || { echo "no partition $4" >&2; exit 64; }
  id=1; while ! mkdir "$root/$id" 2>/dev/null; do id=$((id + 1)); done
  indexes=$(echo "\${5:-0}" | tr - ' '); [ -z "$5" ] || indexes=$(seq $indexes)
  for index in $indexes; do
    mkdir -p "$root/$id/$index"
    BERTH_REMOTE_ID=$id BERTH_TASK_INDEX=$index setsid sh -c 'sh "$0"; echo $? >"$1/new"; mv "$1/new" "$1/exit"' \\
      "$3" "$root/$id/$index" </dev/null >/dev/null 2>&1 &
    echo $! >"$root/$id/$index/pid"
  done
  [ -z "$5" ] || : >"$root/$id/array"
  echo "$2" >"$root/$id/tag"
  echo "$id";;
status)
  for job in "$root"/*/; do
    [ -e "$job/tag" ] || continue
    printf '{"id": "%s", "tag": "%s"' "$(basename "$job")" "$(cat "$job/tag")"
    [ ! -e "$job/array" ] || printf ', "tasks": ['
    comma=
    for task in "$job"*/; do
      state='"state": "running"'
      [ ! -e "$task/exit" ] || state='"state": "ended", "exitCode": '$(cat "$task/exit")
      [ ! -e "$job/canceled" ] || state='"state": "ended", "outcome": "canceled"'
      if [ -e "$job/array" ]; then printf '%s{"index": %s, %s}' "$comma" "$(basename "$task")" "$state"
      else printf ', %s' "$state"; fi
      comma=', '
    done
    [ ! -e "$job/array" ] || printf ']'
    echo '}'
  done;;
cancel)
  for pid in "$root/$2"/*/pid; do
    [ -e "$pid" ] && [ ! -e "$(dirname "$pid")/exit" ] || continue
    : >"$root/$2/canceled"
    kill -9 -- "-$(cat "$pid")" 2>/dev/null
  done
  exit 0;;
esac
`;
