package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/password"
	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// loadSigner returns the signer: the key given with --key or, with --keyless, the identity of the
// user or the CI job.
func loadSigner(c *cli.Context, s Streams) (*trust.Signer, error) {
	keyless := c.Bool("keyless")
	switch {
	case keyless && c.String("key") != "":
		return nil, checkSigner(c)
	case !keyless && c.String("identity-token") != "":
		return nil, exit.Usagef("--identity-token needs --keyless")
	}
	services, err := loadServices(c, "")
	if err != nil {
		return nil, err
	}
	if keyless {
		return loadKeyless(c, s, services)
	}
	services.Fulcio = "" // with a key, no certificate is needed
	key, err := loadKey(c, s)
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewSigner(key, services)
	if err != nil {
		return nil, exit.Trust(fmt.Errorf("using key %q: %w", c.String("key"), err))
	}
	return signer, nil
}

// pendingSigner is a signer that may still be loading in the background.
type pendingSigner struct {
	wait func() (*trust.Signer, error)
	stop context.CancelCauseFunc
}

// startSigner loads a signer. If no prompt is needed, it does so in the background, because an
// encrypted key is deliberately slow to open: it takes a quarter of a second. If loading fails,
// startSigner cancels the context of the command.
func startSigner(c *cli.Context, s Streams) (*pendingSigner, error) {
	var p pendingSigner
	c.Context, p.stop = context.WithCancelCause(c.Context)
	p.wait = sync.OnceValues(func() (*trust.Signer, error) {
		signer, err := loadSigner(c, s)
		if err != nil {
			p.stop(err)
		}
		return signer, err
	})
	if _, given := os.LookupEnv(password.Variable); given && !c.Bool("keyless") {
		go func() { _, _ = p.wait() }()
		return &p, nil
	}
	_, err := p.wait()
	return &p, err
}

// ending returns the error of loading the signer, if there is one, and err otherwise. After a
// failed load, err would only say that the command was canceled.
func (p *pendingSigner) ending(err error) error {
	_, wrong := p.wait()
	p.stop(nil)
	if wrong != nil {
		return wrong
	}
	return err
}

// loadServices returns the Sigstore services that certify and record signatures. With a key, it
// returns services only if --signing-config is given, because --tuf-mirror may be meant only for
// verifying other signers. tufDir is as for tufRepository.
func loadServices(c *cli.Context, tufDir string) (trust.Services, error) {
	path := c.String("signing-config")
	if path == "" && !c.Bool("keyless") {
		return trust.Services{}, nil
	}
	var services trust.Services
	if path == "" {
		m, err := tufRepository(c, tufDir)
		if err != nil {
			return trust.Services{}, err
		}
		if services, err = m.Services(c.Context, time.Now()); err != nil {
			return trust.Services{}, exit.Trust(err)
		}
	} else {
		data, err := readFile("signing configuration", path)
		if err != nil {
			return trust.Services{}, err
		}
		if services, err = trust.LoadSigningConfig(data, time.Now()); err != nil {
			return trust.Services{}, exit.Usage(fmt.Errorf("%s: %w", path, err))
		}
	}
	// The root of --trusted-root takes precedence over the root of the TUF repository.
	if services.Root == nil || c.String("trusted-root") != "" {
		var err error
		if services.Root, err = trustedRoot(c, false, tufDir); err != nil {
			return trust.Services{}, err
		}
	}
	if services.Root == nil {
		return trust.Services{}, exit.Usagef("--signing-config needs --trusted-root or --tuf-mirror to verify the responses of the services")
	}
	services.Transport, services.Now = registry.NewTransport(registry.IdleTimeout), time.Now
	return services, nil
}

func loadKeyless(c *cli.Context, s Streams, services trust.Services) (*trust.Signer, error) {
	if services.Fulcio == "" {
		return nil, exit.Usagef("--keyless needs a certificate authority, but the signing configuration has none")
	}
	token, err := tokenSource(c, s, services.Issuer)
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewKeyless(c.Context, token, services)
	if err != nil {
		return nil, exit.Trust(fmt.Errorf("signing with an identity: %w", err))
	}
	return signer, nil
}

// tokenSource returns the source of the identity token: the file of --identity-token, the CI job,
// or a login in the browser. It uses the browser only if the command runs in a terminal.
func tokenSource(c *cli.Context, s Streams, issuer string) (trust.TokenSource, error) {
	if path := c.String("identity-token"); path != "" {
		return trust.FileToken(path), nil
	}
	token, err := trust.AmbientToken(os.Getenv, registry.NewTransport(registry.IdleTimeout))
	if errors.Is(err, trust.ErrNoToken) && issuer != "" && atTerminal(s) {
		token = trust.BrowserToken(issuer, s.In, s.Err)
		return func(ctx context.Context) (string, error) {
			defer observe.Pause(ctx)()
			return token(ctx)
		}, nil
	}
	if err != nil {
		return nil, exit.Usage(err)
	}
	return token, nil
}

// atTerminal reports whether the command runs in a terminal, so that it can prompt the user.
func atTerminal(s Streams) bool {
	in, ok := s.In.(*os.File)
	return ok && term.IsTerminal(int(in.Fd())) && observe.IsTerminal(s.Err, os.Getenv)
}

// newProgress returns the progress display that the flags select. It also adds the display to the
// context of the command, so that a login can pause it. The caller must call stop once, at the end.
func newProgress(c *cli.Context, s Streams) (p gate.Progress, stop func(), err error) {
	mode := observe.Mode(c.String("progress"))
	if c.Bool("quiet") {
		mode = observe.Quiet
	}
	color, err := useColor(c, s.Err)
	if err != nil {
		return nil, nil, err
	}
	p, stop, err = observe.New(s.Err, observe.Options{Mode: mode, Format: c.String("log-format"), Terminal: observe.IsTerminal(s.Err, os.Getenv),
		Width: func() int { return observe.Width(s.Err) }, Color: color, Now: time.Now, Redact: exit.Redact})
	if err != nil {
		return nil, nil, exit.Usage(err)
	}
	c.Context = observe.WithDisplay(c.Context, p)
	return p, stop, nil
}

// useColor reports whether --color, the environment and the type of w select colors for text on w.
func useColor(c *cli.Context, w io.Writer) (bool, error) {
	color, err := observe.UseColor(c.String("color"), os.Getenv, observe.IsTerminal(w, os.Getenv))
	if err != nil {
		return false, exit.Usage(fmt.Errorf("--%w", err))
	}
	return color, nil
}

// trustedRoot returns the trusted root for verifying certificates: the file in --trusted-root, or
// the root from the TUF repository. If neither flag is given, it returns nil, or the root of the
// public Sigstore if must is true. tufDir is as for tufRepository.
func trustedRoot(c *cli.Context, must bool, tufDir string) (*trust.Root, error) {
	if path := c.String("trusted-root"); path != "" {
		data, err := readFile("trusted root", path)
		if err != nil {
			return nil, err
		}
		root, err := trust.LoadRoot(data)
		if err != nil {
			return nil, exit.Usage(fmt.Errorf("%s: %w", path, err))
		}
		return root, nil
	}
	if !must && c.String("tuf-mirror") == "" {
		return nil, nil
	}
	m, err := tufRepository(c, tufDir)
	if err != nil {
		return nil, err
	}
	root, err := m.TrustedRoot(c.Context)
	if err != nil {
		return nil, exit.Trust(fmt.Errorf("%w (--trusted-root takes a file instead)", err))
	}
	return root, nil
}

// tufRepository returns the TUF repository with the Sigstore configuration. Its metadata is stored
// in dir. If dir is "", it is a folder in the cache. Runs should share that folder, because TUF
// detects a rollback only by comparison with older metadata.
func tufRepository(c *cli.Context, dir string) (trust.TUF, error) {
	m := trust.TUF{Dir: dir, URL: c.String("tuf-mirror"), Transport: registry.NewTransport(registry.IdleTimeout)}
	if c.Bool("offline") {
		return m, exit.Usagef("--offline cannot fetch from a TUF repository: use --trusted-root and, to sign, --signing-config")
	}
	if dir == "" {
		users, err := cacheDir(c)
		if err != nil {
			return m, err
		}
		m.Dir = filepath.Join(users, "tuf")
		if err := checkFolder(c, m.Dir); err != nil {
			return m, err
		}
	}
	var err error
	if path := c.String("tuf-root"); path != "" {
		if m.URL == "" {
			return m, exit.Usagef("--tuf-root needs --tuf-mirror: it is the root of a TUF repository other than the public one")
		}
		m.Root, err = readFile("TUF root", path)
	}
	return m, err
}
