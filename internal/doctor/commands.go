package doctor

import (
	"regexp"
	"strings"
)

// These commands create a private folder of this user, and select it for all later commands of the
// shell.
const (
	tempCommand  = `mkdir -p -m 700 "$HOME/.imagegate-temp" && export IMAGEGATE_TEMP_DIR="$HOME/.imagegate-temp"`
	cacheCommand = `mkdir -p -m 700 "$HOME/.imagegate-cache" && export IMAGEGATE_CACHE_DIR="$HOME/.imagegate-cache"`
)

// These commands prepare signing with an identity.
const (
	identityCommand = "export SIGSTORE_ID_TOKEN_FILE=token.jwt"
	rootCommand     = "export IMAGEGATE_TRUSTED_ROOT=trusted_root.json IMAGEGATE_SIGNING_CONFIG=signing_config.json"
)

// unlockCommand reads the key's password into the variable COSIGN_PASSWORD without showing it or
// storing it in the shell history.
const unlockCommand = "read -rs COSIGN_PASSWORD && export COSIGN_PASSWORD"

func (o Options) updateCommand() string {
	command := "imagegate db update"
	if o.FeedURL != "" {
		command += " --url " + quote(o.FeedURL)
	}
	return o.withCache(command)
}

func (o Options) importCommand() string { return o.withCache("imagegate db import database.tar.zst") }

func (o Options) pruneCommand() string { return o.withCache("imagegate cache prune --cache-max 0") }

func (o Options) withCache(command string) string {
	if o.NamedCache == "" {
		return command
	}
	return command + " --cache-dir " + quote(o.NamedCache)
}

func (o Options) lintCommand() string {
	if len(o.PolicyFiles) == 0 {
		return "imagegate policy init"
	}
	out := "imagegate policy lint"
	for _, f := range o.PolicyFiles {
		out += " " + quote(f)
	}
	return out
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)

// quote returns s as one word of a shell command, quoted if necessary.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
