package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	ecr "github.com/awslabs/amazon-ecr-credential-helper/ecr-login"
	acr "github.com/chrismellard/docker-credential-acr-env/pkg/credhelper"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/github"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/google"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// Flags that several commands share.
var (
	policyFlag   = &cli.StringFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"IMAGEGATE_POLICY"}, Usage: "judge by the policy in `FILE`"}
	platformFlag = &cli.StringFlag{Name: "platform", EnvVars: []string{"IMAGEGATE_PLATFORM"}, Usage: "of an index, take only the image for `OS/ARCH[/VARIANT]`"}
	cacheFlag    = &cli.StringFlag{Name: "cache-dir", EnvVars: []string{"IMAGEGATE_CACHE_DIR"}, Usage: "keep the vulnerability database in `DIR` (default: the user's cache folder)"}
	tempFlag     = &cli.StringFlag{Name: "temp-dir", EnvVars: []string{"IMAGEGATE_TEMP_DIR"}, Usage: "keep layers in `DIR` while an image is checked (default: the system's)"}
	offlineFlag  = &cli.BoolFlag{Name: "offline", EnvVars: []string{"IMAGEGATE_OFFLINE"}, Usage: "use no network but the registries that are named"}
	outputFlag   = &cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"IMAGEGATE_OUTPUT"}, Usage: "write the report as `FORMAT[=FILE]`, text or json; repeatable (default: text)"}
	logFlag      = &cli.StringFlag{Name: "log-format", EnvVars: []string{"IMAGEGATE_LOG_FORMAT"}, Value: "text", Usage: "write progress as `FORMAT`, text or json"}
	quietFlag    = &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"IMAGEGATE_QUIET"}, Usage: "show no progress"}
)

// keyFlag differs in what the key is for.
func keyFlag(usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: "key", Aliases: []string{"k"}, EnvVars: []string{"IMAGEGATE_KEY"}, Usage: usage}
}

// maxPolicyBytes bounds what is read of a policy or key file; the parsers have
// limits of their own.
const maxFileBytes = 2 << 20

// readFile reads a small file that the user named.
func readFile(what, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("reading the %s: %w", what, err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, usageError{fmt.Errorf("reading the %s: %w", what, err)}
	}
	if len(data) > maxFileBytes {
		return nil, usagef("reading the %s: %q is larger than %d bytes", what, path, maxFileBytes)
	}
	return data, nil
}

func loadPolicy(c *cli.Context) (*policy.Policy, error) {
	path := c.String("policy")
	if path == "" {
		return nil, usagef("no policy: name one with --policy, nothing passes without")
	}
	data, err := readFile("policy", path)
	if err != nil {
		return nil, err
	}
	return policy.Parse(path, data)
}

// cacheDir is where the vulnerability database is.
func cacheDir(c *cli.Context) (string, error) {
	if dir := c.String("cache-dir"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", usagef("no cache folder is known (%v): name one with --cache-dir", err)
	}
	return filepath.Join(dir, "imagegate"), nil
}

func databaseDir(c *cli.Context) (string, error) {
	dir, err := cacheDir(c)
	return filepath.Join(dir, "db"), err
}

func openDatabase(c *cli.Context) (*vulndb.DB, error) {
	dir, err := databaseDir(c)
	if err != nil {
		return nil, err
	}
	return vulndb.Open(c.Context, dir)
}

func tempDir(c *cli.Context) string {
	if dir := c.String("temp-dir"); dir != "" {
		return dir
	}
	return os.TempDir()
}

// keychain finds credentials where the Docker command and the clouds keep
// them: the Docker configuration and its helpers, then ECR, Artifact Registry,
// ACR and GHCR from their environment.
func keychain() authn.Keychain {
	return authn.NewMultiKeychain(
		authn.DefaultKeychain,
		google.Keychain,
		github.Keychain,
		authn.NewKeychainFromHelper(ecr.NewECRHelper(ecr.WithLogger(io.Discard))),
		authn.NewKeychainFromHelper(acr.NewACRCredentialsHelper()),
	)
}

// errNoKeyPassword says that a key is encrypted and nobody told its password.
var errNoKeyPassword = errors.New("the key is encrypted and no password is given")

// loadSigner reads a private key in cosign's format or plain PEM. The password
// comes from COSIGN_PASSWORD, or is asked for where a person can answer.
func loadSigner(c *cli.Context, s Streams) (trust.Signer, error) {
	path := c.String("key")
	if path == "" {
		return nil, usagef("no key: name one with --key, nothing is promoted unsigned")
	}
	data, err := readFile("key", path)
	if err != nil {
		return nil, err
	}
	signer, err := trust.LoadSigner(data, func() ([]byte, error) { return keyPassword(s, "Password for the key: ") })
	if err != nil {
		return nil, trustError{fmt.Errorf("loading key %q: %w", path, err)}
	}
	return signer, nil
}

func keyPassword(s Streams, prompt string) ([]byte, error) {
	if password, ok := os.LookupEnv("COSIGN_PASSWORD"); ok {
		return []byte(password), nil
	}
	in, ok := s.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, errNoKeyPassword
	}
	fmt.Fprint(s.Err, prompt)
	defer fmt.Fprintln(s.Err)
	return term.ReadPassword(int(in.Fd()))
}

// newGate builds the gate that promote and check share.
func newGate(c *cli.Context, p *policy.Policy, db *vulndb.DB, progress gate.Progress) (*gate.Gate, error) {
	g, err := gate.New(gate.Options{
		Policy: p, Database: db, TempDir: tempDir(c), Now: time.Now, Tool: tool(),
		Platform: c.String("platform"), Keychain: keychain(), Progress: progress,
	})
	if err != nil {
		return nil, usageError{err}
	}
	return g, nil
}

// approvedTags parses the destinations. Each must say its tag: a promotion to
// "latest" that nobody wrote would be an accident.
func approvedTags(args []string) ([]name.Tag, error) {
	var tags []name.Tag
	for _, a := range args {
		tag, err := name.NewTag(a, name.StrictValidation)
		if err != nil {
			return nil, usagef("approved reference %q: want registry/repository:tag: %v", a, err)
		}
		tags = append(tags, tag)
	}
	return tags, nil
}
