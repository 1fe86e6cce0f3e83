// Package doctor finds problems of the setup before a run does: registries and logins, the key, the
// database, the clock, the disk, the cache and the network.
//
// [Run] runs all checks concurrently and returns one [Result] for each. [WriteText] and [WriteJSON]
// write the results, and [Failure] turns them into an error for the exit code. Each problem comes
// with a command that fixes it.
//
// A check starts an upload in an approved registry and cancels it. It writes nothing else to a
// registry, and leaves no file on the machine. The package reads no flags and no environment
// variables: the caller passes everything as [Options].
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

// These are the possible outcomes of a check. A warning does not stop a run, but the run is slow or
// may soon fail.
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

// Check is one check of a part of the setup.
type Check struct {
	Name string
	Run  func(context.Context) Result
	// Stuck is the command that shows why the check did not return in time.
	Stuck string
}

// Options describe the setup to check. Keychain, Transport, Now, TempDir, CacheDir, DatabaseDir and
// Cache are required.
type Options struct {
	// Staging is the image in the staging registry. Nil means that the image is not in a registry,
	// or not given.
	Staging name.Reference
	// Approved are the approved tags that a run would write.
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

	// TempDir, CacheDir and DatabaseDir return the folders that a run would use, or the error with
	// which a run would refuse them.
	TempDir, CacheDir, DatabaseDir func() (string, error)
	// Cache opens the scan cache. It does not create the cache key. hasKey reports whether the key
	// exists.
	Cache func() (kept *cache.Cache, hasKey bool, err error)
	// NamedCache is the cache folder given with --cache-dir, or "". The commands in the results
	// then need the same flag.
	NamedCache string
	// Policies loads the policies. Nil means that none are given.
	Policies func() (policy.Set, error)
	// PolicyFiles are the names of the policy files.
	PolicyFiles []string

	// Sign signs a test message with the key, and returns the fingerprint of the key. Nil means
	// that no signing is needed.
	Sign func(context.Context) (fingerprint string, err error)
	// Key is the name of the key: a file or a URI. It is empty if no key is given.
	Key string
	// Identity returns the identity token of a keyless signer, or "" if the signer logs in with the
	// browser. Nil means that the signer has a key.
	Identity func(context.Context) (token string, err error)
	// Sigstore fetches the Sigstore services and the trusted root. Nil means that a run does not
	// use them.
	Sigstore func() error
	// Feed asks the database feed which database it offers. It must send its requests through wrap.
	// Nil means that the network must not be used.
	Feed func(ctx context.Context, wrap func(http.RoundTripper) http.RoundTripper) (vulndb.Offered, error)
	// FeedURL is the URL of the feed if the user named one. The commands in the results repeat it.
	FeedURL string
}

const (
	defaultLimit = 10 * time.Second
	// patience is how long Run waits, after the time limit, for a check to return its own reason.
	patience = 2 * time.Second
)

// Run runs the checks and returns their results in a fixed order. If ctx ends, Run returns the
// cause instead.
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
	// The clock check uses the responses that the other checks received, so it is last.
	results = append(results, clocks.check())
	for i := range results {
		results[i].Message, results[i].Mend = o.clean(results[i].Message), o.clean(results[i].Mend)
	}
	return results, nil
}

// checks returns the checks that the options require. They do not depend on each other.
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

// limited runs a check with the time limit. If the check does not react to the end of its context,
// limited returns without waiting for it.
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

// clean removes secrets from a text and sanitizes it for printing.
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

// FailedError is returned if checks failed. It wraps the error of the first failed check.
type FailedError struct {
	Failed []Result
	Total  int
}

// Error lists the names of the failed checks.
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
