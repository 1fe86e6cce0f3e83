#!/usr/bin/env bash
# Runs imagegate with the inputs of an action. "imagegate report github" then writes the outputs, the
# job summary and the annotations.
#
#   run.sh gate     promotes or checks an image: the input COMMAND
#   run.sh verify   verifies an image in an approved registry
#
# Most inputs are IMAGEGATE_* variables, which imagegate reads itself. Inputs for a flag without a
# variable, or with several lines, are here. No input is ever part of a script.
set -uo pipefail
exec 2>&1 # one stream keeps the output of imagegate between the two commands that disable commands

# On Windows, do not let the shell rewrite arguments such as oci:/folder as paths.
export MSYS2_ARG_CONV_EXCL='*'

code=0
name=$1 # of the command, for the summary
flags=("--output=json=$DIR/report.json" "--output=markdown=$DIR/report.md")
arguments=("$IMAGE")
sarif=

# refuse TEXT records a mistake in the inputs as an error message of imagegate.
refuse() {
  printf 'imagegate: %s\n' "$1" | tee -a "$DIR/log"
  code=3
}

# boolean INPUT VALUE [FLAG] adds the flag if the value of the input is true.
boolean() {
  case $2 in
    true) [ $# = 2 ] || flags+=("$3") ;;
    false | '') ;;
    *) refuse "the input $1 is neither true nor false" ;;
  esac
}

# reports adds the reports in the input output, one on each line.
reports() {
  local line found=
  while read -r line; do
    [ -n "$line" ] || continue
    found=1
    flags+=("--output=$line")
    case $line in sarif=*) sarif=${line#sarif=} ;; esac
  done <<<"${OUTPUT//$'\r'/}"
  [ -n "$found" ] || flags+=(--output=text)
}

# each FLAG VALUES adds a flag for each line.
each() {
  local line
  while read -r line; do
    [ -z "$line" ] || flags+=("$1=$line")
  done <<<"${2//$'\r'/}"
}

# destinations adds the references in the input approved, one on each line.
destinations() {
  local line
  while read -r line; do
    [ -z "$line" ] || arguments+=("$line")
  done <<<"${APPROVED//$'\r'/}"
}

run() { "$BINARY" "$COMMAND" "${flags[@]}" -- "${arguments[@]}"; }

: >"$DIR/log"
reports
each --policy "$POLICY"
each --insecure-registry "$INSECURE_REGISTRY"
unset IMAGEGATE_OUTPUT IMAGEGATE_POLICY IMAGEGATE_VEX IMAGEGATE_INSECURE_REGISTRY IMAGEGATE_REQUIRE_PREDICATE # of the job
case $1 in
  gate)
    boolean update-database "$UPDATE_DATABASE"
    boolean cache "$CACHE"
    each --vex "$VEX"
    case $COMMAND in
      check) name=check ;;
      promote)
        name=promote
        destinations
        [ -z "$OVERRIDE" ] || flags+=("--override=$OVERRIDE") ;;
      *) refuse "the input command is neither promote nor check" ;;
    esac ;;
  verify)
    COMMAND=verify
    each --require-predicate "$REQUIRE_PREDICATE"
    boolean allow-override "$ALLOW_OVERRIDE" --allow-override
    boolean any-tag "$ANY_TAG" --any-tag ;;
esac
# An input that is not set is an empty variable. Here it means that no password is given.
[ -n "${COSIGN_PASSWORD:-}" ] || unset COSIGN_PASSWORD

if [ "$code" = 0 ]; then
  token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  echo "::stop-commands::$token"
  { run 2>&1 1>&3 3>&- | tee -a "$DIR/log"; } 3>&1 || code=$?
  printf '\n::%s::\n' "$token"
fi

# present ARGUMENT... writes the outputs, the summary and the annotations.
present() {
  "$BINARY" report github "--code=$code" "--command=$name" "--log=$DIR/log" \
    "--file=json=$DIR/report.json" "--file=markdown=$DIR/report.md" "--file=sarif=$sarif" "$@" -- "$DIR/report.json"
}

# Without outputs, or with a report that does not confirm the exit code, the step must not pass.
presented=0
present "--image=$IMAGE" || presented=$?
if [ "$presented" = 3 ]; then # the image has the form of a secret, or the report cannot be read
  presented=0
  present || presented=$?
fi
if [ "$presented" != 0 ]; then
  case $code in 0 | 2) code=1 ;; esac
fi
exit "$code"
