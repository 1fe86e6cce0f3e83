package cli

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/internal/vex"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// These flags are shared by several commands.
var (
	policyFlag      = &cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"IMAGEGATE_POLICY"}, Usage: "evaluate the policy in `FILE`. Repeatable: the image must pass every policy"}
	vexFlag         = &cli.StringSliceFlag{Name: "vex", EnvVars: []string{"IMAGEGATE_VEX"}, Usage: "read the VEX document in `FILE` (OpenVEX, CycloneDX, CSAF). The policy decides whose statements count. Repeatable"}
	trustedRootFlag = &cli.StringFlag{Name: "trusted-root", EnvVars: []string{"IMAGEGATE_TRUSTED_ROOT"}, Usage: "verify keyless signatures with the Sigstore trusted root in `FILE`"}
	platformFlag    = &cli.StringFlag{Name: "platform", EnvVars: []string{"IMAGEGATE_PLATFORM"}, Usage: "for an index, use only the image for `OS/ARCH[/VARIANT]`"}
	cacheFlag       = &cli.StringFlag{Name: "cache-dir", EnvVars: []string{"IMAGEGATE_CACHE_DIR"}, Usage: "keep the vulnerability database and the cache of SBOMs in `DIR` (default: the user's cache folder)"}
	tempFlag        = &cli.StringFlag{Name: "temp-dir", EnvVars: []string{"IMAGEGATE_TEMP_DIR"}, Usage: "unpack layers in `DIR` (default: the system's temporary folder)"}
	offlineFlag     = &cli.BoolFlag{Name: "offline", EnvVars: []string{"IMAGEGATE_OFFLINE"}, Usage: "use no network except the registries of the image"}
	outputFlag      = &cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"IMAGEGATE_OUTPUT"}, Usage: "write the report as `FORMAT[=FILE]`: " + report.List(formats.Names()) + ". Repeatable (default: text)"}
	logFlag         = &cli.StringFlag{Name: "log-format", EnvVars: []string{"IMAGEGATE_LOG_FORMAT"}, Value: "text", Usage: "write progress as `FORMAT`: text or json"}
	quietFlag       = &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"IMAGEGATE_QUIET"}, Usage: "show no progress"}
)

// keyFlag returns the --key flag with the usage text of one command.
func keyFlag(usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: "key", Aliases: []string{"k"}, EnvVars: []string{"IMAGEGATE_KEY"}, Usage: usage}
}

// maxFileBytes is the maximum size of a policy or key file. The parsers may have lower limits.
const maxFileBytes = 2 << 20

// maxVEXBytes is the maximum size of a VEX document, slightly above the limit of the VEX parser.
const maxVEXBytes = 11 << 20

// readFile reads a small file that the user named.
func readFile(what, path string) ([]byte, error) { return readBounded(what, path, maxFileBytes) }

func readBounded(what, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("reading the %s: %w", what, err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, usageError{fmt.Errorf("reading the %s: %w", what, err)}
	}
	if int64(len(data)) > limit {
		return nil, usagef("reading the %s: %q is larger than %d bytes", what, path, limit)
	}
	return data, nil
}

// loadPolicies reads the policies given with --policy. It fails if there are none.
func loadPolicies(c *cli.Context) (policy.Set, error) {
	var set policy.Set
	var failed []error
	for _, path := range c.StringSlice("policy") {
		if path == "" { // the path may come from a shell variable that is not set
			return nil, usagef("--policy is empty: use --policy FILE")
		}
		p, err := loadPolicy(path)
		failed = append(failed, err)
		set = append(set, p)
	}
	if len(set) == 0 {
		return nil, usagef("no policy given: use --policy FILE. \"imagegate policy init\" writes one")
	}
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return set, set.Validate(time.Now())
}

// loadPolicy reads a policy and, if the policy names a folder with exceptions, the files in it.
func loadPolicy(path string) (*policy.Policy, error) {
	data, err := readFile("policy", path)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(path, data)
	if err != nil || p.ExceptionsFolder == "" {
		return p, err
	}
	folder := filepath.Join(filepath.Dir(path), filepath.FromSlash(p.ExceptionsFolder))
	err = filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return usageError{fmt.Errorf("reading the exceptions: %w", err)}
		}
		if ext := filepath.Ext(file); d.IsDir() || ext != ".yaml" && ext != ".yml" {
			return nil
		}
		data, err := readFile("exceptions", file)
		if err != nil {
			return err
		}
		return p.AddExceptions(file, data)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// loadVEX reads the VEX documents given with --vex.
func loadVEX(c *cli.Context) ([]evidence.VEXStatement, error) {
	var out []evidence.VEXStatement
	var failed []error
	for _, path := range c.StringSlice("vex") {
		data, err := readBounded("VEX document", path, maxVEXBytes)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		statements, err := vex.Parse(path, data)
		if err != nil {
			failed = append(failed, usageError{err})
			continue
		}
		for _, s := range statements {
			out = append(out, attestations.VEX(s, nil))
		}
	}
	return out, errors.Join(failed...)
}

func openDatabase(c *cli.Context) (*vulndb.DB, error) {
	dir, err := databaseDir(c)
	if err != nil {
		return nil, err
	}
	return vulndb.Open(c.Context, dir)
}

// checkPlatform returns a usage error for an invalid platform, before anything is read.
func checkPlatform(c *cli.Context) error {
	s := c.String("platform")
	if s == "" {
		return nil
	}
	if p, err := v1.ParsePlatform(s); err != nil || p.OS == "" || p.Architecture == "" {
		return usagef("invalid --platform %q: must be os/arch or os/arch/variant", s)
	}
	return nil
}

// errNoKeyPassword means that a key is encrypted and no password is available.
var errNoKeyPassword = errors.New("the key is encrypted, and no password was given")

// loadKey opens the key given with --key.
func loadKey(c *cli.Context, s Streams) (trust.Key, error) {
	path := c.String("key")
	if path == "" {
		return nil, usagef("no key given: use --key FILE or --keyless. \"imagegate key generate\" writes a key pair")
	}
	return openKey(c, s, path)
}

// openKey opens a key of a key management service, or reads a private key in cosign's format or
// plain PEM. The password comes from COSIGN_PASSWORD, or from a prompt if standard input is a
// terminal.
func openKey(c *cli.Context, s Streams, path string) (trust.Key, error) {
	if trust.IsKMS(path) {
		return openKMS(c, path)
	}
	data, err := readFile("key", path)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(data, []byte("-----BEGIN PUBLIC KEY-----")) && !bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, trustError{fmt.Errorf("loading key %q: the file contains a public key, which cannot sign: use the private key", path)}
	}
	key, err := trust.LoadKey(data, func() ([]byte, error) { return keyPassword(c.Context, s, "Password for the key: ") })
	if err != nil {
		return nil, trustError{fmt.Errorf("loading key %q: %w", path, err)}
	}
	return key, nil
}

// openKMS opens a key of a key management service. For Vault, it reads the same variables as the
// vault command. The clients of the clouds read their own environment variables.
func openKMS(c *cli.Context, ref string) (trust.Key, error) {
	key, err := trust.OpenKMS(c.Context, ref, trust.KMSOptions{VaultAddress: os.Getenv("VAULT_ADDR"),
		VaultToken: os.Getenv("VAULT_TOKEN"), VaultPath: os.Getenv("TRANSIT_SECRET_ENGINE_PATH")})
	var unknown *trust.SchemeError
	if errors.As(err, &unknown) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, trustError{err}
	}
	return key, nil
}

// trustedKeys reads the public keys in a file, or gets one from a key management service.
func trustedKeys(c *cli.Context) ([]crypto.PublicKey, error) {
	path := c.String("key")
	if path == "" {
		return nil, usagef("no key given: use --key FILE with the public key, or --certificate-identity")
	}
	if trust.IsKMS(path) {
		key, err := openKMS(c, path)
		if err != nil {
			return nil, err
		}
		return []crypto.PublicKey{key.PublicKey()}, nil
	}
	data, err := readFile("key", path)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, trustError{fmt.Errorf("loading key %q: the file contains a private key: use the public key, which \"imagegate key public\" prints", path)}
	}
	keys, err := trust.LoadPublicKeys(data)
	if err != nil {
		return nil, trustError{fmt.Errorf("loading key %q: %w", path, err)}
	}
	return keys, nil
}

// newPassword asks for a password twice, unless COSIGN_PASSWORD is set.
func newPassword(ctx context.Context, s Streams) ([]byte, error) {
	first, err := keyPassword(ctx, s, "Password for the new key: ")
	if _, set := os.LookupEnv(passwordVariable); set || err != nil {
		return first, err
	}
	again, err := keyPassword(ctx, s, "Password again: ")
	if err == nil && !bytes.Equal(first, again) {
		err = errors.New("the passwords differ")
	}
	return first, err
}

// passwordVariable is the variable with the password of a key. The cosign command uses the same
// one.
const passwordVariable = "COSIGN_PASSWORD"

// keyPassword returns the password of a key: from COSIGN_PASSWORD, or from a prompt if standard
// input is a terminal.
func keyPassword(ctx context.Context, s Streams, prompt string) ([]byte, error) {
	if password, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(password), nil
	}
	in, ok := s.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, errNoKeyPassword
	}
	return askPassword(ctx, int(in.Fd()), s.Err, prompt)
}

// askPassword reads a line without echo. If ctx is canceled, it restores the terminal and returns
// an error.
func askPassword(ctx context.Context, fd int, w io.Writer, prompt string) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		password []byte
		err      error
	}
	fmt.Fprint(w, prompt)
	defer fmt.Fprintln(w)
	answered := make(chan answer, 1)
	go func() {
		password, err := term.ReadPassword(fd)
		answered <- answer{password, err}
	}()
	select {
	case a := <-answered:
		return a.password, a.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}

// newGate builds the gate for promote and check. A zero at means now.
func newGate(c *cli.Context, policies policy.Set, db *vulndb.DB, progress gate.Progress, at time.Time) (*gate.Gate, error) {
	dir, err := tempDir(c)
	if err != nil {
		return nil, err
	}
	kept, err := openCache(c)
	if err != nil {
		return nil, err
	}
	reach, err := registryAccess(c)
	if err != nil {
		return nil, err
	}
	g, err := gate.New(gate.Options{
		Policies: policies, Database: db, TempDir: dir, Now: time.Now, Tool: tool(),
		Platform: c.String("platform"), Keychain: reach.keychain, Transport: reach.transport, Gunzip: gunzip(), Cache: kept, UnpackIn: unpackIn, Progress: progress, At: at,
	})
	if err != nil {
		return nil, usageError{err}
	}
	return g, nil
}

// gunzip returns the command line of the fastest installed program that decompresses gzip, or nil
// if none is installed. The output of the program is verified, so a faulty program only costs time.
func gunzip() []string {
	for _, argv := range [][]string{{"igzip", "-dc"}, {"unpigz", "-c"}} {
		if path, err := exec.LookPath(argv[0]); err == nil && filepath.IsAbs(path) {
			return append([]string{path}, argv[1:]...)
		}
	}
	return nil
}

// approvedTags parses the destinations. Each must name a tag, so that an image is not promoted to
// "latest" by accident.
func approvedTags(args []string) ([]name.Tag, error) {
	var tags []name.Tag
	for _, a := range args {
		tag, err := parseApproved(a, name.NewTag)
		if err != nil && !strings.ContainsAny(path.Base(a), ":@") {
			return nil, usagef("approved reference %q has no tag: must be registry/repository:tag", a)
		}
		if err != nil {
			return nil, usagef("invalid approved reference %q: must be registry/repository:tag: %v", a, err)
		}
		tags = append(tags, tag)
	}
	return tags, nil
}
