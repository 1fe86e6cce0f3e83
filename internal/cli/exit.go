package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// These are the exit codes. exitCodesHelp explains them.
const (
	exitOK          = 0
	exitError       = 1
	exitDenied      = 2
	exitUsage       = 3
	exitRegistry    = 4
	exitDatabase    = 5
	exitTrust       = 6
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes:
     0  passed, and promoted; or denied, and promoted by an override
     1  no decision; or promoted, but a report could not be written
     2  denied by the policy
     3  usage error, or invalid policy or configuration
     4  a registry failed or refused; try again if the last line says "retryable: yes"
     5  the vulnerability database is missing, corrupt or too old; run "imagegate db update"
     6  signing, attesting or verifying failed
   130  interrupted`

// errDenied is a denial that has already been reported. Only this package treats a denial as an
// error, so that the returned error determines the exit code.
var errDenied = errors.New("denied by policy")

// usageError reports an invalid command line or configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// trustError reports a key or signer that cannot be used.
type trustError struct{ err error }

func (e trustError) Error() string { return e.err.Error() }
func (e trustError) Unwrap() error { return e.err }

// verdict is the exit code of an error, and whether the command can be retried.
type verdict struct {
	code int
	// retryable means that the same command may succeed later without a change.
	retryable bool
}

// classify returns the exit code of an error, and whether a retry may help.
func classify(ctx context.Context, err error) verdict {
	var (
		usage      usageError
		trusted    trustError
		parse      *policy.ParseError
		input      *gate.InputError
		unusable   *vulndb.UnusableError
		failure    *registry.Error
		sealing    *promote.SigningError
		verifying  *promote.VerifyError
		unreadable *attestations.UnreadableError
		untrusted  *disk.UntrustedError
		unwritten  *run.UnwrittenError
		crash      *faultError
		newer      *attach.NewerError // retryable: a second run makes a newer decision
	)
	switch {
	case err == nil:
		return verdict{code: exitOK}
	case errors.Is(err, errDenied):
		return verdict{code: exitDenied}
	case ctx.Err() != nil:
		return verdict{exitInterrupted, true}
	case errors.As(err, &crash):
		return verdict{code: exitError}
	case errors.As(err, &unwritten):
		return verdict{exitError, true}
	case errors.As(err, &usage), errors.As(err, &parse), errors.As(err, &input), errors.As(err, &untrusted), isConfiguration(err):
		return verdict{code: exitUsage}
	case errors.As(err, &unusable):
		return verdict{code: exitDatabase}
	case errors.As(err, &trusted), errors.As(err, &sealing), errors.As(err, &verifying), errors.As(err, &unreadable):
		return verdict{exitTrust, registry.IsTransient(err) || errors.As(err, &newer)}
	case errors.As(err, &failure):
		_, answered := registry.StatusOf(err)
		return verdict{exitRegistry, registry.IsTransient(err) || !answered && registry.IsCutOff(err)}
	}
	return verdict{exitError, registry.IsTransient(err)}
}

// errorOf returns an error as a report error, with secrets removed from the message.
func errorOf(v verdict, err error) *report.Error {
	class := classes[v.code]
	var unwritten *run.UnwrittenError
	if errors.As(err, &unwritten) {
		class = report.ClassOutput
	}
	var partial *promote.PartialError
	return &report.Error{Class: class, Message: redact(err.Error()), Retryable: v.retryable, Partial: errors.As(err, &partial)}
}

// classes maps exit codes to the error classes of the report.
var classes = map[int]report.Class{
	exitError: report.ClassOther, exitUsage: report.ClassUsage, exitRegistry: report.ClassRegistry,
	exitDatabase: report.ClassDatabase, exitTrust: report.ClassTrust, exitInterrupted: report.ClassInterrupted,
}

// hint returns what the user can do about an error, or "" if imagegate has no advice.
func hint(err error) string {
	var (
		unusable  *vulndb.UnusableError
		conflict  *promote.TagConflictError
		failure   *registry.Error
		verified  *promote.VerifyError
		secret    *secretError
		written   *run.UnwrittenError
		crash     *faultError
		untrusted *disk.UntrustedError
		refused   *attach.RefusedError
		update    *updateError
		network   *net.OpError
	)
	if h := accessHint(err); h != "" {
		return h
	}
	switch {
	case errors.As(err, &untrusted):
		return untrustedHint(untrusted)
	case errors.As(err, &secret):
		return "flags take the name of a file, not its content: save the content to a file that only you can read"
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
	case errors.As(err, &verified) && verified.Overridden:
		return "--allow-override accepts the image, and shows the approver and the reason"
	case errors.As(err, &update) && errors.As(err, &network):
		return `check the network and the proxy, use a mirror with --url, or import a file with "imagegate db import"`
	case errors.Is(err, errNoKeyPassword):
		return "set COSIGN_PASSWORD to the password of the key"
	}
	return ""
}

// untrustedHint returns a hint for an untrusted file or folder: the command that fixes its
// permissions, if this user can run it, or another solution.
func untrustedHint(e *disk.UntrustedError) string {
	elsewhere := "use a folder of your own, for example with --cache-dir or --temp-dir"
	at := report.Sanitize("'" + strings.ReplaceAll(e.At, "'", `'\''`) + "'")
	info, err := os.Lstat(e.At)
	mendable := err == nil && (os.Geteuid() == 0 || disk.IsOwn(info))
	// A symbolic link in the path is refused even with the flag.
	if parent := err == nil && info.IsDir() && e.At != e.Path; parent && (e.Problem == disk.OwnedByOther || !mendable) {
		return elsewhere + ", or, if no other user has access to this machine, use --" + sharedFlag.Name
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

// finish prints the error with its hint and returns the exit code. Except after a denial, the last
// line states whether the command can be retried.
func finish(ctx context.Context, w io.Writer, err error) int {
	v := classify(ctx, err)
	if err == nil || err == errDenied { //nolint:errorlint // by itself, a denial has been reported
		return v.code
	}
	message := redact(err.Error())
	if v.code == exitInterrupted {
		message = "interrupted"
	}
	for i, line := range strings.Split(strings.TrimSpace(message), "\n") {
		prefix := "imagegate: "
		if i > 0 {
			prefix = "           "
		}
		fmt.Fprintln(w, prefix+report.Sanitize(line))
	}
	var crash *faultError
	if errors.As(err, &crash) {
		for _, line := range traceLines(crash.trace) {
			fmt.Fprintln(w, "           "+line)
		}
	}
	if h := hint(err); h != "" {
		fmt.Fprintln(w, "hint: "+h)
	}
	if v.code != exitDenied {
		fmt.Fprintln(w, "retryable: "+yesNo(v.retryable))
	}
	return v.code
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func isStatus(err error, codes ...int) bool {
	var e *transport.Error
	return errors.As(err, &e) && slices.Contains(codes, e.StatusCode)
}
