#!/usr/bin/env bash
# Manages the vulnerability database of the action.
#
#   database.sh place    chooses the folder of the database and the keys of its cache
#   database.sh update   downloads the newest database, if it is not current
#
# Variables: BINARY and DIR from install.sh; CACHE_DIR is an input of the action; IMAGEGATE_DB_URL is
# the URL of the mirror. For update, IMAGEGATE_CACHE_DIR and PREFIX come from place, and RESTORED is the
# key of the restored cache.
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
  local schema mirror folder
  schema=$("$BINARY" version | sed -n 's/^database  *schema //p')
  mirror=$(printf '%s' "$IMAGEGATE_DB_URL" | git hash-object --stdin | cut -c 1-12)
  folder=${CACHE_DIR:-${IMAGEGATE_CACHE_DIR:-$RUNNER_TEMP/imagegate-cache-$mirror}}
  if [[ $folder == *$'\n'* ]]; then
    echo "::error::The input cache-dir has several lines."
    output exit-code 3
    exit 3
  fi
  output folder "$folder"
  output prefix "imagegate-db-v$schema-$mirror-"
  output today "$(date -u +%Y%m%d)"
}

download() { "$BINARY" db update | tee "$DIR/database"; }

# update does not fail if the download fails: the gate denies nothing and passes nothing with a database
# that is missing, damaged or older than the policy allows, and says so.
update() {
  local status=0 built suffix=
  if [ -n "$RESTORED" ] && ! quietly "$BINARY" db status; then
    echo "::warning title=imagegate::The vulnerability database from the cache is damaged. It was removed."
    rm -rf -- "${IMAGEGATE_CACHE_DIR:?}/db"
    suffix=-$GITHUB_RUN_ID RESTORED='' # the key of the damaged cache cannot be used again
  fi
  quietly download || status=$?
  case $status in
    0) ;;
    5)
      echo "::warning title=imagegate::The vulnerability database was not updated. The policy decides whether the current one is new enough."
      return ;;
    *)
      echo "::error title=imagegate::The vulnerability database was not updated: see the log. The gate did not run."
      output exit-code "$status"
      exit "$status" ;;
  esac
  built=$(sed -n 's/^built  *//p' "$DIR/database" | tr -cd '0-9TZ')
  if [ "$RESTORED" != "$PREFIX$built" ] && [[ $RESTORED != "$PREFIX$built"-* ]]; then
    output save "$PREFIX$built$suffix"
  fi
}

case $1 in
  place) place ;;
  update) update ;;
esac
