package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/staged"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// The exit codes.
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
     0  passed, and promoted where that was asked; or denied and let through by an override
     1  could not decide: an error in no class below
     2  denied by policy
     3  usage, or an invalid policy or configuration
     4  a registry failed or refused; try again
     5  the vulnerability database is missing, corrupt or too old; run "imagegate db update"
     6  signing, attesting or verifying failed
   130  interrupted`

// errDenied is a denial that has been reported. It is an error in this package
// only, so that one value leads to one exit code.
var errDenied = errors.New("denied by policy")

// closing adds what went wrong while cleaning up. It never hides a result.
func closing(err, cleanup error) error {
	if cleanup == nil {
		return err
	}
	return errors.Join(err, fmt.Errorf("cleaning up: %w", cleanup))
}

// usageError is a command line or configuration that cannot be meant.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// trustError is a key that cannot be used.
type trustError struct{ err error }

func (e trustError) Error() string { return e.err.Error() }
func (e trustError) Unwrap() error { return e.err }

// classify is the exit table.
func classify(ctx context.Context, err error) int {
	var (
		usage      usageError
		trusted    trustError
		parse      *policy.ParseError
		unusable   *vulndb.UnusableError
		registry   *gate.RegistryError
		sealing    *promote.SealError
		verifying  *promote.VerifyError
		unreadable *staged.UnreadableError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDenied):
		return exitDenied
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &parse), isConfiguration(err):
		return exitUsage
	case errors.As(err, &unusable):
		return exitDatabase
	case errors.As(err, &trusted), errors.As(err, &sealing), errors.As(err, &verifying), errors.As(err, &unreadable):
		return exitTrust
	case errors.As(err, &registry):
		return exitRegistry
	}
	return exitError
}

// classes are the exit codes in the words of the report.
var classes = map[int]report.Class{
	exitError: report.ClassOther, exitUsage: report.ClassUsage, exitRegistry: report.ClassRegistry,
	exitDatabase: report.ClassDatabase, exitTrust: report.ClassTrust, exitInterrupted: report.ClassInterrupted,
}

// hint says what a person can do about an error; empty where nothing is known.
func hint(err error) string {
	var (
		unusable *vulndb.UnusableError
		conflict *promote.TagConflictError
		registry *gate.RegistryError
		verified *promote.VerifyError
	)
	if h := accessHint(err); h != "" {
		return h
	}
	switch {
	case errors.As(err, &unusable) && unusable.Problem == vulndb.TooOld:
		return `run "imagegate db update"; the limit is database.maxAge in the policy`
	case errors.As(err, &unusable):
		return `run "imagegate db update", or "imagegate db import FILE" where there is no network`
	case errors.As(err, &conflict):
		return "give the image a new tag, or --move-tag if the tag is meant to move"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return "the layers of an image are kept on disk while it is checked, and archives are copied: choose larger folders with --temp-dir and TMPDIR"
	case errors.As(err, &registry) && (isStatus(err, http.StatusUnauthorized, http.StatusForbidden)):
		return `log in with "docker login" or set up a credential helper for that registry`
	case errors.As(err, &registry) && isStatus(err, http.StatusNotFound) && registry.Side == gate.Staging:
		return "check the repository and the tag; some registries also answer so without credentials"
	case errors.As(err, &verified) && verified.Overridden:
		return "--allow-override accepts it, and shows who let it through and why"
	case errors.Is(err, errNoKeyPassword):
		return "put the key's password into COSIGN_PASSWORD"
	}
	return ""
}

// finish prints what went wrong and returns the exit code.
func finish(ctx context.Context, w io.Writer, err error) int {
	code := classify(ctx, err)
	if err == nil || err == errDenied { //nolint:errorlint // by itself, a denial has been reported
		return code
	}
	message := err.Error()
	if code == exitInterrupted {
		message = "interrupted"
	}
	for i, line := range strings.Split(strings.TrimSpace(message), "\n") {
		prefix := "imagegate: "
		if i > 0 {
			prefix = "           "
		}
		fmt.Fprintln(w, prefix+report.Sanitize(line))
	}
	if h := hint(err); h != "" {
		fmt.Fprintln(w, "hint: "+h)
	}
	return code
}

func isStatus(err error, codes ...int) bool {
	var e *transport.Error
	return errors.As(err, &e) && slices.Contains(codes, e.StatusCode)
}
