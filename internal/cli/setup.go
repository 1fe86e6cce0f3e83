package cli

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/password"
	"github.com/imagegate/imagegate/internal/filekind"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/internal/vex"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// These flags are shared by several commands.
var (
	policyFlag      = &cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"IMAGEGATE_POLICY"}, Usage: "use the policy in `FILE`. Repeatable: the image must pass every policy"}
	vexFlag         = &cli.StringSliceFlag{Name: "vex", EnvVars: []string{"IMAGEGATE_VEX"}, Usage: "read the VEX document in `FILE` (OpenVEX, CycloneDX, CSAF). The policy must set vex.files. Repeatable"}
	trustedRootFlag = &cli.StringFlag{Name: "trusted-root", EnvVars: []string{"IMAGEGATE_TRUSTED_ROOT"}, Usage: "verify keyless signatures with the Sigstore trusted root in `FILE`"}
	platformFlag    = &cli.StringFlag{Name: "platform", EnvVars: []string{"IMAGEGATE_PLATFORM"}, Usage: "use only the image for `OS/ARCH[/VARIANT]` of an index (default: all platforms)"}
	cacheFlag       = &cli.StringFlag{Name: "cache-dir", EnvVars: []string{"IMAGEGATE_CACHE_DIR"}, Usage: "store the vulnerability database and the scan cache in `DIR` (default: the user's cache folder)"}
	tempFlag        = &cli.StringFlag{Name: "temp-dir", EnvVars: []string{"IMAGEGATE_TEMP_DIR"}, Usage: "store temporary files, such as decompressed layers, in `DIR` (default: the system's temporary folder)"}
	offlineFlag     = &cli.BoolFlag{Name: "offline", EnvVars: []string{"IMAGEGATE_OFFLINE"}, Usage: "connect to nothing except the registries of the image"}
	outputFlag      = &cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"IMAGEGATE_OUTPUT"}, Usage: "write the report as `FORMAT[=FILE]`: " + report.List(formats.Names()) + ". Repeatable (default: text)"}
	logFlag         = &cli.StringFlag{Name: "log-format", EnvVars: []string{"IMAGEGATE_LOG_FORMAT"}, Value: "text", DefaultText: "text", Usage: "write progress as `FORMAT`: text or json"}
	progressFlag    = &cli.StringFlag{Name: "progress", EnvVars: []string{"IMAGEGATE_PROGRESS"}, Value: "auto", DefaultText: "auto", Usage: "show progress as `MODE`: " + report.List(observe.Modes)}
	colorFlag       = &cli.StringFlag{Name: "color", EnvVars: []string{"IMAGEGATE_COLOR"}, Value: "auto", DefaultText: "auto", Usage: "use colors `WHEN`: " + report.List(observe.Colors)}
	quietFlag       = &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"IMAGEGATE_QUIET"}, Usage: "show no progress; same as --progress quiet"}
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
		return nil, exit.Usage(&exit.FileError{What: what, Path: path, Err: err})
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, exit.Usage(&exit.FileError{What: what, Path: path, Err: err})
	}
	if int64(len(data)) > limit {
		return nil, exit.Usagef("reading the %s: %q is larger than %d bytes", what, path, limit)
	}
	return data, nil
}

// loadPolicies reads the policies given with --policy. It fails if there are none.
func loadPolicies(c *cli.Context) (policy.Set, error) {
	var set policy.Set
	var failed []error
	for _, path := range c.StringSlice("policy") {
		if path == "" { // an unset variable must not go unnoticed among other policies
			return nil, exit.Usagef("--policy is empty: use --policy FILE")
		}
		p, err := loadPolicy(path)
		failed = append(failed, err)
		set = append(set, p)
	}
	if len(set) == 0 {
		return nil, notGiven("no policy given: use --policy FILE", "--policy", "policy.yaml", exit.PolicyHint)
	}
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return set, set.Validate(time.Now())
}

// loadPolicy reads a policy and the files in its exceptions folder, if the policy names one.
func loadPolicy(path string) (*policy.Policy, error) {
	data, err := readFile("policy", path)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(path, data)
	if err != nil {
		return nil, exit.Usage(filekind.Explain(path, data, filekind.Policy, err))
	}
	if p.ExceptionsFolder == "" {
		return p, nil
	}
	folder := filepath.Join(filepath.Dir(path), filepath.FromSlash(p.ExceptionsFolder))
	err = filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return exit.Usage(fmt.Errorf("reading the exceptions: %w", err))
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
			failed = append(failed, exit.Usage(err))
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
		example := ""
		if s != "linux" && err == nil && p.Architecture == "" {
			example = ", such as linux/" + s
		}
		return exit.Usagef("invalid --platform %q: must be os/arch or os/arch/variant%s", s, example)
	}
	return nil
}

// loadKey opens the key given with --key.
func loadKey(c *cli.Context, s Streams) (trust.Key, error) {
	path := c.String("key")
	if path == "" {
		return nil, notGiven("no key given: use --key FILE or --keyless", "--key", "cosign.key", exit.KeyHint)
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
	if err := checkPrivate(path, data); err != nil {
		return nil, err
	}
	key, err := trust.LoadKey(data, func() ([]byte, error) { return password.Of(c.Context, s.In, s.Err, "Password for the key: ") })
	if err != nil {
		return nil, exit.Trust(fmt.Errorf("loading key %q: %w", path, err))
	}
	return key, nil
}

// privateMark ends the first line of every private key in PEM format.
var privateMark = []byte("PRIVATE KEY-----")

// checkPrivate returns an error if the content of a key file is a public key.
func checkPrivate(path string, data []byte) error {
	if bytes.Contains(data, []byte("-----BEGIN PUBLIC KEY-----")) && !bytes.Contains(data, privateMark) {
		return exit.Trust(&wrongKeyError{path: path, is: "public", want: "private", other: sibling(path, ".pub", ".key")})
	}
	return nil
}

// wrongKeyError is the error for a public key file where a private key is needed, or the reverse.
type wrongKeyError struct {
	path, is, want string
	other          string // the file with the wanted half, if there is one
}

func (e *wrongKeyError) Error() string {
	use := ""
	if e.other != "" {
		use = ": use " + e.other
	}
	return fmt.Sprintf("loading key %q: it is a %s key, and the command needs the %s key%s", e.path, e.is, e.want, use)
}

// Mend returns the shell command that selects the other key of the pair, or "" if that file does
// not exist.
func (e *wrongKeyError) Mend() string {
	if e.other == "" {
		return ""
	}
	return "export IMAGEGATE_KEY=" + e.other
}

// sibling returns path with the extension from replaced by to, if path has the extension from and
// the new file exists. Otherwise it returns "".
func sibling(path, from, to string) string {
	base, ok := strings.CutSuffix(path, from)
	if !ok {
		return ""
	}
	if _, err := os.Stat(base + to); err != nil {
		return ""
	}
	return base + to
}

// checkSigner returns an error if no signer is selected, or if the key file is missing or holds a
// public key. It does not decrypt the key.
func checkSigner(c *cli.Context) error {
	path := c.String("key")
	switch {
	case c.Bool("keyless") && path != "":
		return exit.Usagef("--key and --keyless cannot be used together")
	case c.Bool("keyless"):
		return nil
	case path == "":
		return notGiven("no key given: use --key FILE or --keyless", "--key", "cosign.key", exit.KeyHint)
	case trust.IsKMS(path):
		return nil
	}
	data, err := readFile("key", path)
	if err != nil {
		return err
	}
	return checkPrivate(path, data)
}

// openKMS opens a key in a key management service. Vault uses the same variables as the vault
// command. The clients of cloud services read their own environment variables.
func openKMS(c *cli.Context, ref string) (trust.Key, error) {
	key, err := trust.OpenKMS(c.Context, ref, trust.KMSOptions{VaultAddress: os.Getenv("VAULT_ADDR"),
		VaultToken: os.Getenv("VAULT_TOKEN"), VaultPath: os.Getenv("TRANSIT_SECRET_ENGINE_PATH")})
	var unknown *trust.SchemeError
	if errors.As(err, &unknown) {
		return nil, exit.Usage(err)
	}
	if err != nil {
		return nil, exit.Trust(err)
	}
	return key, nil
}

// trustedKeys returns the public keys given with --key: from a file, or from a key management
// service.
func trustedKeys(c *cli.Context) ([]crypto.PublicKey, error) {
	path := c.String("key")
	if path == "" {
		return nil, exit.Usagef("no key given: use --key FILE with the public key, or --certificate-identity")
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
	if bytes.Contains(data, privateMark) {
		return nil, exit.Trust(&wrongKeyError{path: path, is: "private", want: "public", other: sibling(path, ".key", ".pub")})
	}
	keys, err := trust.LoadPublicKeys(data)
	if err != nil {
		return nil, exit.Trust(fmt.Errorf("loading key %q: %w", path, err))
	}
	return keys, nil
}

// newGate builds a gate. now is its clock. The policies are evaluated as of at or, if at is zero,
// as of the current time of the clock.
func newGate(c *cli.Context, policies policy.Set, db *vulndb.DB, progress gate.Progress, now func() time.Time, at time.Time) (*gate.Gate, error) {
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
		Policies: policies, Database: db, TempDir: dir, Now: now, Tool: tool(),
		Platform: c.String("platform"), Keychain: reach.keychain, Transport: reach.transport, Gunzip: gunzip(), Cache: kept, UnpackIn: unpackIn, Progress: progress, At: at,
	})
	if err != nil {
		return nil, exit.Usage(err)
	}
	return g, nil
}

// gunzip returns the command line of the fastest installed gzip decompressor, or nil if none is
// installed. Its output is verified, so a faulty program only costs time.
func gunzip() []string {
	for _, argv := range [][]string{{"igzip", "-dc"}, {"unpigz", "-c"}} {
		if path, err := exec.LookPath(argv[0]); err == nil && filepath.IsAbs(path) {
			return append([]string{path}, argv[1:]...)
		}
	}
	return nil
}
