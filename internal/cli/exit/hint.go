package exit

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/promote"
)

// sharedFlag is the name of the flag that turns off the check for parent folders that other users
// can change.
const sharedFlag = "insecure-shared-parents"

// hints returns the hints for an error. [Inputs] can have one hint for each missing input. Any
// other error has at most one.
func hints(err error) []string {
	var inputs Inputs
	if !errors.As(err, &inputs) {
		inputs = Inputs{err}
	}
	var out []string
	for _, e := range inputs {
		if h := hint(e); h != "" && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// hint returns what the user can do about one error, or "" if imagegate has no advice.
func hint(err error) string {
	var (
		unusable  *vulndb.UnusableError
		conflict  *promote.TagConflictError
		failure   *registry.Error
		verified  *promote.VerifyError
		written   *run.UnwrittenError
		crash     *Fault
		untrusted *disk.UntrustedError
		refused   *attach.RefusedError
		update    *databaseError
		network   *net.OpError
	)
	if h := cmp.Or(ownHint(err), accessHint(err)); h != "" {
		return h
	}
	switch {
	case errors.As(err, &untrusted):
		return untrustedHint(untrusted)
	case errors.As(err, &written) && written.Promoted:
		return "the image is promoted: its tags are written and verified. Run the command again to write the missing files"
	case errors.As(err, &crash):
		return "this is not a decision about the image, and nothing more was written to a registry after the crash. A file in the image may be crafted to crash a parser"
	case errors.As(err, &unusable) && unusable.Problem == vulndb.TooOld:
		return `run "imagegate db update"; the limit is database.maxAge in the policy`
	case errors.As(err, &unusable) && unusable.Problem == vulndb.FromFuture:
		return `check the clock of this machine with "date -u". If the clock is right, the database was built on a machine whose clock is wrong: run "imagegate db update --allow-older"`
	case errors.As(err, &unusable):
		return `run "imagegate db update", or "imagegate db import FILE" without a network`
	case errors.As(err, &conflict):
		return "use a new tag, or --move-tag if the tag must move"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return "imagegate keeps layers and unpacked archives on disk during a check: use --temp-dir with a larger disk"
	case errors.As(err, &refused):
		return "the tags of the registry are immutable, so the decision cannot be renewed: use --signature-format bundle, or exempt the tags sha256-* from immutability"
	case errors.As(err, &failure) && failure.Side == registry.Approved && strings.Contains(err.Error(), "/referrers/"):
		return "a newer decision may be among the referrers. If that registry stores no bundles, use --insecure-ignore-referrers with promote and verify"
	case errors.As(err, &failure) && (isStatus(err, http.StatusUnauthorized, http.StatusForbidden)):
		return `log in with "docker login" or set up a credential helper for that registry`
	case errors.As(err, &failure) && isStatus(err, http.StatusNotFound) && failure.Side == registry.Staging:
		return "check the repository and the tag. Some registries send the same response if the login is missing"
	case errors.As(err, &verified) && verified.OtherRepository:
		return "if the image is in a mirror or a pull-through cache, use --repository with the original repository"
	case errors.As(err, &verified) && verified.OtherPolicy:
		return "promote the image again with this version of the policy, or use --policy-name to accept any version"
	case errors.As(err, &verified) && verified.Overridden:
		return "--allow-override accepts the image, and shows the approver and the reason"
	case errors.As(err, &update) && errors.As(err, &network):
		return `check the network and the proxy, use a mirror with --url, or import a file with "imagegate db import"`
	case errors.As(err, &verified) && verified.Unsigned:
		return "only a promoted image is signed: check the reference, or promote the image first"
	}
	return ""
}

// untrustedHint returns the command that fixes the permissions of a file or folder, if this user
// can do that.
func untrustedHint(e *disk.UntrustedError) string {
	elsewhere := "use a folder of your own, for example with --cache-dir or --temp-dir"
	at := report.Sanitize("'" + strings.ReplaceAll(e.At, "'", `'\''`) + "'")
	info, err := os.Lstat(e.At)
	mendable := err == nil && (os.Geteuid() == 0 || disk.IsOwn(info))
	// A symbolic link in the path is refused even with the flag.
	if parent := err == nil && info.IsDir() && e.At != e.Path; parent && (e.Problem == disk.OwnedByOther || !mendable) {
		return elsewhere + ", or, if no other user has access to this machine, use --" + sharedFlag
	}
	switch e.Problem {
	case disk.WritableByOthers:
		return "run \"chmod go-w " + at + "\", or " + elsewhere
	case disk.ReadableByOthers:
		return "run \"chmod go-rwx " + at + "\""
	case disk.OwnedByOther:
		return elsewhere + "; imagegate creates the folder if it does not exist"
	}
	return ""
}

// accessHint returns what the user can do about an error while accessing a registry, or "" if
// imagegate has no advice.
func accessHint(err error) string {
	var (
		config    *credentials.ConfigError
		untrusted *disk.UntrustedError
		failure   *registry.Error
		refused   *registry.PlainHTTPError
		failed    *transport.Error
		request   *url.Error
		noTLS     tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &config) && errors.As(err, &untrusted):
		return untrustedContentHint(untrusted)
	case errors.As(err, &config) && config.Helper != "":
		return fmt.Sprintf("install or fix %s, or remove it from %s", config.Helper, config.File)
	case errors.As(err, &config):
		return fmt.Sprintf("fix or remove %s; \"docker login\" writes a new entry", config.File)
	case !errors.As(err, &failure):
		return ""
	case errors.As(err, &failed) && failed.Request != nil && strings.HasSuffix(failed.Request.URL.Path, "/v2/") &&
		slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, failed.StatusCode):
		return "the server is not a container registry: check the host and the port"
	case errors.As(err, &refused):
		return fmt.Sprintf("if the registry has no TLS, use --insecure-registry %s", refused.Host)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS), strings.Contains(err.Error(), http.ErrSchemeMismatch.Error()):
		host := "HOST[:PORT]"
		if errors.As(err, &request) {
			if u, err := url.Parse(request.URL); err == nil {
				host = u.Host
			}
		}
		return fmt.Sprintf("the registry has no TLS: to allow plain HTTP, use --insecure-registry %s", host)
	}
	return connectionHint(err)
}

// untrustedContentHint returns the hint for a configuration file that another user may have written.
func untrustedContentHint(e *disk.UntrustedError) string {
	if e.Problem == disk.WritableByOthers {
		return fmt.Sprintf("check the content of %s, then run \"chmod o-w\" on it", e.Path)
	}
	return fmt.Sprintf("check the content of %s, then copy it into a folder of your own", e.Path)
}

// connectionHint returns the hint for an error of TLS or a proxy.
func connectionHint(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  *tls.CertificateVerificationError
		network  *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		if file := os.Getenv("SSL_CERT_FILE"); file != "" {
			if _, err := os.Stat(file); err != nil {
				return fmt.Sprintf("cannot read %s, the file in SSL_CERT_FILE", file)
			}
		}
		return "set SSL_CERT_FILE to a PEM file with the CA certificate of the registry"
	case errors.As(err, &hostname):
		return "use a host name that is in the certificate of the registry"
	case errors.As(err, &invalid):
		return "the certificate of the registry is invalid: check its dates and chain, and the clock of this machine"
	case errors.As(err, &network) && network.Op == "proxyconnect":
		return "check the proxy in HTTPS_PROXY and HTTP_PROXY, or list the registry in NO_PROXY"
	}
	return ""
}
func isStatus(err error, codes ...int) bool {
	var e *transport.Error
	return errors.As(err, &e) && slices.Contains(codes, e.StatusCode)
}

// ownHint returns the hint that an error brings along, or "".
func ownHint(err error) string {
	var own Hinted
	if errors.As(err, &own) {
		return own.Hint()
	}
	return ""
}
