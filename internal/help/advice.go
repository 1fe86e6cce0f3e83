package help

import "github.com/imagegate/imagegate/internal/flags"

// OtherCommands maps command names of similar programs to commands of imagegate.
var OtherCommands = flags.Advice{
	"scan": "check", "test": "check or policy test", "image": "check", "gate": "check", "evaluate": "check",
	"sign": "promote", "attest": "promote", "copy": "promote", "cp": "promote", "push": "promote", "release": "promote",
	"validate": "verify or policy lint", "compare": "report diff",
	"generate-key-pair": "key generate", "keygen": "key generate", "public-key": "key public", "download": "db update",
}

// OtherFlags maps flags of similar programs to the advice for a user of imagegate.
var OtherFlags = flags.Advice{
	"format": "use --output FORMAT", "f": "use --output FORMAT", "out": "use --output FORMAT=FILE", "file": "use --output FORMAT=FILE",
	"output-file": "use --output FORMAT=FILE", "json": "use --output json",
	"severity": severityAdvice, "fail-on": severityAdvice, "fail-on-severity": severityAdvice, "severity-cutoff": severityAdvice, "min-severity": severityAdvice,
	"exit-code": "a denial always exits with code 2", "ignore-unfixed": `use "fix: available" in a rule of the policy`, "only-fixed": `use "fix: available" in a rule of the policy`,
	"ignore": "use exceptions in the policy", "ignorefile": "use exceptions in the policy", "skip-db-update": `only "imagegate db update" updates the database`,
	"username": loginAdvice, "user": loginAdvice, "u": loginAdvice, "password": loginAdvice, "creds": loginAdvice, "token": loginAdvice,
	"insecure": "use --insecure-registry HOST for a registry without TLS", "plain-http": "use --insecure-registry HOST",
	"skip-tls-verify": tlsAdvice, "tls-verify": tlsAdvice, "insecure-skip-tls-verify": tlsAdvice, "allow-insecure-registry": tlsAdvice,
	"verbose": "progress is shown unless --quiet is given", "debug": "progress is shown unless --quiet is given",
	"force": "a tag that must move to another digest needs --move-tag", "identity": "use --certificate-identity", "issuer": "use --certificate-oidc-issuer",
}

const (
	severityAdvice = "the policy decides what blocks: use severity in a rule"
	loginAdvice    = `imagegate reads the credentials of "docker login" and of credential helpers`
	tlsAdvice      = "set SSL_CERT_FILE to the CA certificate of the registry, or use --insecure-registry HOST for a registry without TLS"
)
