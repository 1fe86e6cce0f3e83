// Package doctorcmd implements "imagegate doctor": it turns flags and arguments into the options of
// package doctor, and writes the results.
package doctorcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/cache"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/doctor"
	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// OutputFlag selects the format of the results. It has no variable, because IMAGEGATE_OUTPUT may
// name the files that other commands write their reports to.
var OutputFlag = &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", DefaultText: "text", Usage: "write the results as `FORMAT`: text or json"}

// Loaders are the functions that load credentials, policies, the cache and keys for a run from the
// same flags. All fields except IsInteractive are required.
type Loaders struct {
	Keychain  authn.Keychain
	Transport http.RoundTripper
	UserAgent string
	// Login describes the credentials that Keychain returned for a registry.
	Login func(host string) string

	TempDir, CacheDir, DatabaseDir func(*cli.Context) (string, error)
	// Cache opens the cache. It does not create the key of the cache, and reports whether one exists.
	Cache    func(*cli.Context) (*cache.Cache, bool, error)
	Policies func(*cli.Context) (policy.Set, error)
	Key      func(*cli.Context) (trust.Key, error)
	// Token returns the source of the identity token for keyless signing. It never asks the user.
	Token func(*cli.Context) (trust.TokenSource, error)
	// Services and Root load the Sigstore services and the trusted root. They keep the metadata of
	// the TUF repository in the folder dir.
	Services func(c *cli.Context, dir string) (trust.Services, error)
	Root     func(c *cli.Context, dir string) (*trust.Root, error)
	// IsInteractive reports that the command runs in a terminal and can ask the user.
	IsInteractive bool
}

// Run runs the checks and writes their results to w. The error is a [*doctor.FailedError] if a check
// fails.
func Run(c *cli.Context, w io.Writer, l Loaders) error {
	format := c.String(OutputFlag.Name)
	if format != "text" && format != "json" {
		return exit.Usagef("invalid --output %q: must be text or json", format)
	}
	o := l.options(c)
	if err := references(c, &o); err != nil {
		return err
	}
	if err := l.signer(c, &o); err != nil {
		return err
	}
	if usesSigstore(c) {
		defer l.sigstore(c, &o)()
	}
	results, err := doctor.Run(c.Context, o)
	if err != nil {
		return err
	}
	if format == "json" {
		err = doctor.WriteJSON(w, results)
	} else {
		err = doctor.WriteText(w, width(w), results)
	}
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return failure(results)
}

// failure returns the error that a run with the first failed check would return. An expired
// identity token fails only when the run asks for a certificate.
func failure(results []doctor.Result) error {
	err := doctor.Failure(results)
	var failed *doctor.FailedError
	var expired *doctor.ExpiredError
	if errors.As(err, &failed) && errors.As(failed.Failed[0].Err, &expired) {
		failed.Failed[0].Err = exit.Trust(expired)
	}
	return err
}

// width returns the line width for w: the width of the terminal, or 100 if w is not a terminal.
func width(w io.Writer) int {
	const inLog = 100
	if n := observe.Width(w); n > 0 {
		return n
	}
	return inLog
}

// options returns the doctor options that depend only on flags, not on the arguments.
func (l Loaders) options(c *cli.Context) doctor.Options {
	o := doctor.Options{Keychain: l.Keychain, Transport: l.Transport, UserAgent: l.UserAgent, Login: l.Login, Now: time.Now, Redact: exit.Redact,
		Key: c.String("key"), FeedURL: c.String("url"), PolicyFiles: c.StringSlice("policy"),
		TempDir:     func() (string, error) { return l.TempDir(c) },
		CacheDir:    func() (string, error) { return l.CacheDir(c) },
		DatabaseDir: func() (string, error) { return l.DatabaseDir(c) },
		Cache:       func() (*cache.Cache, bool, error) { return l.Cache(c) },
	}
	if os.Getenv("IMAGEGATE_CACHE_DIR") == "" {
		o.NamedCache = c.String("cache-dir")
	}
	if len(o.PolicyFiles) > 0 {
		o.Policies = sync.OnceValues(func() (policy.Set, error) { return l.Policies(c) })
	}
	if !c.Bool("offline") {
		o.Feed = func(ctx context.Context, wrap func(http.RoundTripper) http.RoundTripper) (vulndb.Offered, error) {
			offered, err := vulndb.Latest(ctx, vulndb.UpdateOptions{URL: o.FeedURL, InsecurePlainHTTP: c.Bool("insecure-plain-http"), Transport: wrap(http.DefaultTransport)})
			if err != nil {
				return offered, exit.Database(err)
			}
			return offered, nil
		}
	}
	return o
}

// references parses the image arguments into o. A staging image outside a registry, such as an
// archive, needs no check.
func references(c *cli.Context, o *doctor.Options) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return nil
	}
	src, err := reference.Source(args[0])
	if err != nil {
		return exit.Usage(err)
	}
	if src.Transport == gate.Registry {
		o.Staging = src.Ref
	}
	if o.Approved, err = reference.Tags(args[1:]); err != nil {
		return exit.Usage(err)
	}
	return nil
}

// signer sets up the checks of the signing key or identity. It opens a key that may need a password
// right away, because typing the password can take longer than the time limit of a check.
func (l Loaders) signer(c *cli.Context, o *doctor.Options) error {
	keyless := c.Bool("keyless")
	if keyless && o.Key != "" {
		return exit.Usagef("--key and --keyless cannot be used together")
	}
	if keyless {
		o.Identity = func(ctx context.Context) (string, error) { return l.identityToken(ctx, c) }
		return nil
	}
	if o.Key == "" && len(o.Approved) == 0 {
		return nil
	}
	load := sync.OnceValues(func() (trust.Key, error) { return l.Key(c) })
	if l.IsInteractive {
		_, _ = load()
	}
	o.Sign = func(ctx context.Context) (string, error) {
		key, err := load()
		if err != nil {
			return "", err
		}
		if _, err := key.Sign(ctx, []byte("imagegate doctor")); err != nil {
			return "", exit.Trust(fmt.Errorf("signing with key %q: %w", o.Key, err))
		}
		return trust.Fingerprint(key.PublicKey()), nil
	}
	return nil
}

func usesSigstore(c *cli.Context) bool {
	return c.Bool("keyless") || c.String("tuf-mirror") != "" || c.String("trusted-root") != ""
}

// sigstore sets up the check of the Sigstore services. It fetches their metadata into a temporary
// folder, which the caller deletes with remove, because doctor leaves no files behind.
func (l Loaders) sigstore(c *cli.Context, o *doctor.Options) (remove func()) {
	parent, err := l.TempDir(c)
	var dir string
	if err == nil {
		dir, err = os.MkdirTemp(parent, "imagegate-doctor-")
	}
	if err != nil {
		err = fmt.Errorf("making a temporary folder: %w", err)
		o.Sigstore = func() error { return err }
		return func() {}
	}
	o.Sigstore = func() error {
		_, err := l.Services(c, dir)
		if err == nil && !c.Bool("keyless") {
			_, err = l.Root(c, dir)
		}
		return err
	}
	return func() { _ = os.RemoveAll(dir) } // at most, a small folder of temporary files stays
}

// identityToken returns the identity token that promote would use, or "" if promote would open the
// browser.
func (l Loaders) identityToken(ctx context.Context, c *cli.Context) (string, error) {
	source, err := l.Token(c)
	if errors.Is(err, trust.ErrNoToken) && l.IsInteractive {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	token, err := source(ctx)
	if err != nil {
		return "", exit.Trust(err)
	}
	return token, nil
}
