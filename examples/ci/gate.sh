#!/bin/sh
# This script is a step for any CI system: "./gate.sh check" or "./gate.sh promote". It needs a POSIX
# shell and the program imagegate. It handles each exit code of imagegate:
#
#   0     passed
#   2     denied: fix the image. Never retried
#   1, 4  no decision, or a registry failed: retried
#   5     the vulnerability database is missing or too old: updated, and retried once
#   3, 6  invalid configuration, or signing failed: fix the cause. Never retried
#
# Variables:
#   STAGING_IMAGE       image in the staging registry
#   APPROVED_IMAGE      registry/repository:tag in the approved registry. Only for promote
#   IMAGEGATE_POLICY    policy file
#   IMAGEGATE_KEY       private key, with its password in COSIGN_PASSWORD. Only for promote. To sign
#                       without a key, set IMAGEGATE_KEYLESS=true and SIGSTORE_ID_TOKEN instead
#   IMAGEGATE_OUTPUT    reports, one per line
#   DOCKER_AUTH_CONFIG  logins to the registries, as in the file config.json of Docker
#   ATTEMPTS            number of attempts (default: 3). Use 1 if the CI system retries the job
#   RETRY_DELAY         seconds before a retry (default: 10)
#
# The script exits with the last exit code of imagegate. It also writes imagegate.prom (metrics) and
# imagegate.env (exit code, outcome and digest as NAME=VALUE, and the approved image if it passed).
attempts=${ATTEMPTS:-3}
updated=no

case ${1-} in
  check) set -- check --metrics-file imagegate.prom -- "$STAGING_IMAGE" ;;
  promote) set -- promote --metrics-file imagegate.prom -- "$STAGING_IMAGE" "$APPROVED_IMAGE" ;;
  *)
    echo "usage: gate.sh check|promote" >&2
    exit 3
    ;;
esac
case $attempts in
  *[!0-9]* | 0?*)
    echo "ATTEMPTS is not a number" >&2
    exit 3
    ;;
esac

# label prints a label of the run, or nothing if its value has unexpected characters.
label() {
  [ ! -f imagegate.prom ] || sed -n "s/^imagegate_run_info{.*,$1=\"\([A-Za-z0-9:]*\)\".*/\1/p" imagegate.prom
}

# A failed update is not an error yet, because the policy limits the age of the database.
imagegate db update || echo "warning: the vulnerability database was not updated"
while :; do
  rm -f imagegate.prom
  code=0
  imagegate "$@" || code=$?
  attempts=$((attempts - 1))
  case $code in
    1 | 4)
      [ "$attempts" -gt 0 ] || break
      echo "exit code $code: the next attempt is in ${RETRY_DELAY:-10} seconds"
      sleep "${RETRY_DELAY:-10}"
      ;;
    5)
      [ "$updated" = no ] || break
      updated=yes
      imagegate db update || break
      ;;
    *) break ;;
  esac
done
cat >imagegate.env <<END
GATE_EXIT_CODE=$code
GATE_OUTCOME=$(label outcome)
GATE_DIGEST=$(label digest)
END
if [ "$1 $code" = "promote 0" ]; then
  echo "GATE_APPROVED_IMAGE=${APPROVED_IMAGE%:*}@$(label digest)" >>imagegate.env
fi
exit "$code"
