#!/usr/bin/env bash
# Manages the vulnerability database of the action.
#
#   database.sh place    chooses the folder of the database and the keys of its cache
#   database.sh update   downloads the newest database, if it is not current
#
# Variables: BINARY and DIR from install.sh; CACHE_DIR is an input of the action; IMAGEGATE_DB_URL is
# the URL of the mirror. For place, CACHE and COMMAND are inputs. For update, IMAGEGATE_CACHE_DIR, PREFIX
# and ARCHIVES come from place, and RESTORED is the key of the restored cache.
#
# Any workflow of the default branch can save a cache. So the cache has the archive of the database, and
# only an archive with the checksum in the mirror, or with database-checksum, is used.
set -euo pipefail

output() { printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"; }

# quietly COMMAND... runs a command, and keeps GitHub from obeying its output.
quietly() {
  local token status=0
  token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  echo "::stop-commands::$token"
  "$@" 2>&1 || status=$?
  printf '\n::%s::\n' "$token"
  return "$status"
}

# place keeps the databases of several mirrors apart. A database is useless for another schema.
place() {
  local schema mirror folder base=$RUNNER_TEMP
  # In a container, the job is root and the folder of the runner belongs to another user, whom imagegate
  # would have to trust.
  if [ "$RUNNER_OS" = Linux ] && [ ! -O "$base" ]; then base=/tmp; fi
  schema=$("$BINARY" version | sed -n 's/^database  *schema //p')
  mirror=$(printf '%s' "$IMAGEGATE_DB_URL" | git hash-object --stdin | cut -c 1-12)
  folder=${CACHE_DIR:-${IMAGEGATE_CACHE_DIR:-$base/imagegate-cache-$mirror}}
  if [[ $folder == *$'\n'* ]]; then
    echo "::error::The input cache-dir has several lines."
    output exit-code 3
    exit 3
  fi
  output folder "$folder"
  # The runner also unpacks a cache to other folders than the one of the cache. So promote, which has the
  # key, does not restore a cache unless the user wants it.
  if [ "$CACHE" = true ] || { [ -z "$CACHE" ] && [ "$COMMAND" = check ]; }; then
    output archives "$base/imagegate-archives-$mirror"
  fi
  output prefix "imagegate-db-archive-v$schema-$mirror-"
  output today "$(date -u +%Y%m%d)"
}

download() { "$BINARY" db update ${ARCHIVES:+"--archive-dir=$ARCHIVES"} | tee "$DIR/database"; }

# pinned imports the archive from the cache that has the checksum in the input database-checksum.
pinned() {
  local archive=$ARCHIVES/${IMAGEGATE_DB_CHECKSUM#sha256:}.archive
  [ -n "$ARCHIVES" ] && [ -n "$IMAGEGATE_DB_CHECKSUM" ] && [ -f "$archive" ] &&
    quietly "$BINARY" db import "--checksum=$IMAGEGATE_DB_CHECKSUM" -- "$archive"
}

# update does not fail if the download fails: the gate denies nothing and passes nothing with a database
# that is missing, damaged or older than the policy allows, and says so.
update() {
  local status=0 key
  : >"$DIR/before"
  quietly download || status=$?
  case $status in
    0) ;;
    5)
      if pinned; then return; fi
      echo "::warning title=imagegate::The vulnerability database was not updated. The policy decides whether the current one is new enough."
      return ;;
    *)
      echo "::error title=imagegate::The vulnerability database was not updated: see the log. The gate did not run."
      output exit-code "$status"
      exit "$status" ;;
  esac
  if [ -n "$ARCHIVES" ] && [ -n "$(find "$ARCHIVES" -name '*.archive' -newer "$DIR/before" 2>/dev/null)" ]; then
    key=$PREFIX$(sed -n 's/^built  *//p' "$DIR/database" | tr -cd '0-9TZ')
    # The key of a cache with another archive cannot be used again.
    if [[ $RESTORED == "$key"* ]]; then key+=-$GITHUB_RUN_ID; fi
    output save "$key"
  fi
}

case $1 in
  place) place ;;
  update) update ;;
esac
