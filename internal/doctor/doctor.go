// Package doctor finds problems of the setup before a run does: in registries and logins, the key,
// the database, the clock, the disk, the cache and the network.
//
// [Run] runs all checks at once and returns one [Result] for each. [WriteText] and [WriteJSON] write
// the results, and [Failure] turns them into an error for the exit code. A problem has the command
// that fixes it.
//
// A check starts an upload in an approved registry and cancels it. It writes nothing else to a
// registry, and leaves no file on the machine. It has no flags and no environment: the caller passes everything as [Options].
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate/cache"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
)

// Status is the outcome of a check.
type Status string

// The outcomes. A run works with a warning, but slower or not for long.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Result is the outcome of one check.
type Result struct {
	// Name is the name of the check. Checks of several approved registries have the same name.
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Message is one line, sanitized and without secrets.
	Message string `json:"message"`
	// Mend is the command that fixes the problem, or the first step if a person must decide. It is
	// empty if Status is OK.
	Mend string `json:"mend"`
	// Err is the cause of a failure. A run that has the same problem fails with the same error.
	Err error `json:"-"`
}

// Check examines one part of the setup.
type Check struct {
	Name string
	Run  func(context.Context) Result
	// Stuck is the command that shows why the check does not end.
	Stuck string
}

// Options are the facts that the checks examine. Keychain, Transport, Now, TempDir, CacheDir,
// DatabaseDir and Cache are required.
type Options struct {
	// Staging is the image that a run reads from a registry. Nil means none.
	Staging name.Reference
	// Approved are the destinations of a run.
	Approved []name.Tag

	Keychain  authn.Keychain
	Transport http.RoundTripper
	UserAgent string
	// Login describes the credentials that Keychain returned for a registry, such as "the login of
	// user "ci" from ~/.docker/config.json". Nil, or "", describes them as "the login".
	Login func(host string) string
	// Now returns the current time.
	Now func() time.Time
	// Limit is the time limit of each check. Default: 10 seconds.
	Limit time.Duration
	// Redact removes secrets from messages. Default: no change.
	Redact func(string) string

	// TempDir, CacheDir and DatabaseDir return the folders of a run, or why a run refuses them.
	TempDir, CacheDir, DatabaseDir func() (string, error)
	// Cache opens the cache of SBOMs without creating its key. hasKey means that the key exists.
	Cache func() (kept *cache.Cache, hasKey bool, err error)
	// NamedCache is the cache folder if a flag names it. Commands then need the same flag.
	NamedCache string
	// Policies loads the policies. Nil means that none are given.
	Policies func() (policy.Set, error)
	// PolicyFiles are the names of their files.
	PolicyFiles []string

	// Sign signs a text with the key, and returns the fingerprint of the key. Nil means that no key
	// is needed.
	Sign func(context.Context) (fingerprint string, err error)
	// Key is the name of the key: a file or a URI. It is empty if no key is given.
	Key string
	// Identity returns the identity token of a keyless signer, or "" if the signer logs in with the
	// browser. Nil means that the signer has a key.
	Identity func(context.Context) (token string, err error)
	// Sigstore fetches the trusted root and the services of Sigstore. Nil means that a run does not
	// use them.
	Sigstore func() error
	// Feed asks the feed of the database what it offers, through the transport that wrap returns.
	// Nil means that the network must not be used.
	Feed func(ctx context.Context, wrap func(http.RoundTripper) http.RoundTripper) (vulndb.Offered, error)
	// FeedURL is the feed if the user named one. Commands contain it.
	FeedURL string
}

const (
	defaultLimit = 10 * time.Second
	// patience is the time after its limit that a check has to return the reason itself.
	patience = 2 * time.Second
)

// Run runs the checks and returns their results in a fixed order. The error is the cause of ctx if
// ctx ends.
func Run(ctx context.Context, o Options) ([]Result, error) {
	if o.Limit == 0 {
		o.Limit = defaultLimit
	}
	clocks := &clocks{now: o.Now, ahead: map[string]time.Duration{}}
	o.Transport = clocks.watch(o.Transport)
	checks := o.checks(clocks)
	results := make([]Result, len(checks), len(checks)+1)
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { results[i] = o.limited(ctx, c) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// The clock is compared with the responses that the other checks have received.
	results = append(results, clocks.check())
	for i := range results {
		results[i].Message, results[i].Mend = o.clean(results[i].Message), o.clean(results[i].Mend)
	}
	return results, nil
}

// checks returns the independent checks that the options call for.
func (o Options) checks(clocks *clocks) []Check {
	var out []Check
	if o.Staging != nil {
		out = append(out, o.registryCheck(registry.Staging, o.Staging))
	}
	for _, tag := range o.Approved {
		out = append(out, o.registryCheck(registry.Approved, tag))
	}
	if o.Sign != nil {
		out = append(out, Check{Name: "key", Run: o.key, Stuck: mendKey(o.Key, nil)})
	}
	if o.Identity != nil {
		out = append(out, Check{Name: "identity", Run: o.identity, Stuck: identityCommand})
	}
	if o.Policies != nil {
		out = append(out, Check{Name: "policy", Run: o.policy, Stuck: o.lintCommand()})
	}
	out = append(out,
		Check{Name: "database", Run: o.database, Stuck: o.updateCommand()},
		Check{Name: "cache", Run: o.cache, Stuck: o.pruneCommand()},
		Check{Name: "temp", Run: o.temp, Stuck: tempCommand},
		Check{Name: "disk temp", Run: o.diskTemp, Stuck: tempCommand},
		Check{Name: "disk cache", Run: o.diskCache, Stuck: o.pruneCommand()})
	if o.Feed != nil {
		out = append(out, Check{Name: "network database", Run: func(ctx context.Context) Result { return o.feed(ctx, clocks) }, Stuck: o.importCommand()})
	}
	if o.Sigstore != nil {
		out = append(out, Check{Name: "network sigstore", Run: o.sigstore, Stuck: rootCommand})
	}
	return out
}

// limited runs a check with the time limit. A check that ignores the end of its context is left
// behind.
func (o Options) limited(ctx context.Context, c Check) Result {
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	done := make(chan Result, 1)
	go func() { done <- c.Run(ctx) }()
	patient := time.NewTimer(o.Limit + patience)
	defer patient.Stop()
	var r Result
	select {
	case r = <-done:
	case <-patient.C:
		r = failed(fmt.Errorf("no result after %s: %w", o.Limit+patience, context.DeadlineExceeded), c.Stuck)
	}
	r.Name = c.Name
	return r
}

// clean makes a text safe to print.
func (o Options) clean(text string) string {
	if o.Redact != nil {
		text = o.Redact(text)
	}
	return layout.Sanitize(strings.Join(strings.Fields(text), " "))
}

func ok(format string, args ...any) Result {
	return Result{Status: OK, Message: fmt.Sprintf(format, args...)}
}

func warned(mend, format string, args ...any) Result {
	return Result{Status: Warn, Message: fmt.Sprintf(format, args...), Mend: mend}
}

func failed(err error, mend string) Result {
	return Result{Status: Fail, Message: err.Error(), Mend: mend, Err: err}
}

// FailedError means that checks failed. It wraps the error of the first one.
type FailedError struct {
	Failed []Result
	Total  int
}

// Error lists the failed checks.
func (e *FailedError) Error() string {
	var names []string
	for _, r := range e.Failed {
		names = append(names, r.Name)
	}
	return fmt.Sprintf("%d of %d checks failed: %s", len(e.Failed), e.Total, strings.Join(names, ", "))
}

// Unwrap returns the error that a run would return for the first failed check.
func (e *FailedError) Unwrap() error { return e.Failed[0].Err }

// Hint says how to fix the first failed check.
func (e *FailedError) Hint() string { return "begin with: " + e.Failed[0].Mend }

// Failure returns a [*FailedError], or nil if no check failed.
func Failure(results []Result) error {
	e := &FailedError{Total: len(results)}
	for _, r := range results {
		if r.Status == Fail {
			if r.Err == nil {
				r.Err = errors.New(r.Message)
			}
			e.Failed = append(e.Failed, r)
		}
	}
	if len(e.Failed) == 0 {
		return nil
	}
	return e
}
