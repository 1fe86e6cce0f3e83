package credentials

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/names"
)

// maxConfigBytes is the maximum size of a configuration file, in bytes.
const maxConfigBytes = 4 << 20

// configFile is a possible location of a credential configuration: a file or an environment
// variable.
type configFile struct {
	name   string // the name of the file or the environment variable
	inline string // the configuration itself, if it is in an environment variable
	// isDefault means that the file is in a default location and the user did not name it. An
	// unusable file is then ignored: HOME may be another user's folder, or not a folder at all.
	isDefault bool
}

// files returns the possible locations of a configuration in the order of precedence. Locations
// that environment variables name come before the default locations of Docker and podman.
func (k *keychain) files() []configFile {
	var out []configFile
	add := func(isDefault bool, elements ...string) {
		if elements[0] != "" {
			out = append(out, configFile{name: filepath.Join(elements...), isDefault: isDefault})
		}
	}
	add(false, k.Getenv("REGISTRY_AUTH_FILE"))
	if inline := k.Getenv("DOCKER_AUTH_CONFIG"); inline != "" {
		out = append(out, configFile{name: "DOCKER_AUTH_CONFIG", inline: inline})
	}
	if dir := k.Getenv("DOCKER_CONFIG"); dir != "" {
		add(false, dir, "config.json")
	} else {
		add(true, k.Home, ".docker", "config.json")
	}
	if dir := k.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		add(true, dir, "containers", "auth.json")
	} else {
		add(true, k.RunDir, "auth.json")
	}
	if dir := k.Getenv("XDG_CONFIG_HOME"); dir != "" {
		add(true, dir, "containers", "auth.json")
	} else {
		add(true, k.Home, ".config", "containers", "auth.json")
	}
	return out
}

// config is a parsed credential configuration. The entries in Auths are parsed only when they are
// needed.
type config struct {
	Auths       map[string]json.RawMessage `json:"auths"`
	CredsStore  string                     `json:"credsStore"`
	CredHelpers map[string]string          `json:"credHelpers"`
}

// read parses the configuration. The result is empty if the file is missing or blank. It is also
// empty if this user cannot read a file in a default location, or if that path is not a file.
func (f configFile) read() (*config, error) {
	data := []byte(f.inline)
	if f.inline == "" {
		var err error
		data, err = readBounded(f.name)
		if errors.Is(err, fs.ErrNotExist) || f.isDefault && isUnusable(err) {
			return &config{}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if strings.TrimSpace(string(data)) == "" {
		return &config{}, nil
	}
	c := &config{}
	err := json.Unmarshal(data, c)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType): // err is not wrapped, because its text quotes the value, which may be secret
		return nil, fmt.Errorf("the value of %q has the wrong type: auths and credHelpers must be objects, credsStore must be a string", wrongType.Field)
	case err != nil:
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	return c, nil
}

func isUnusable(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	if err := disk.TrustedContent(f); err != nil {
		return nil, cause(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err == nil && len(data) > maxConfigBytes {
		err = fmt.Errorf("larger than %d bytes", maxConfigBytes)
	}
	return data, cause(err)
}

// cause removes the file path from an error. The caller adds the path itself.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// lookup returns the credentials for a target and their source, or nil if the configuration has
// none.
func (f configFile) lookup(ctx context.Context, t target) (found *authn.AuthConfig, source string, err error) {
	fail := func(helper string, err error) (*authn.AuthConfig, string, error) {
		return nil, "", &ConfigError{Registry: t.registry, File: f.name, Helper: helper, Err: err}
	}
	c, err := f.read()
	if err != nil {
		return fail("", err)
	}
	by := func(helper string) string { return helperPrefix + helper + ", named in " + f.name }
	if key, name := c.helperFor(t); name != "" {
		found, err := askHelper(ctx, name, t.serverNames(key))
		if err != nil {
			return fail(helperPrefix+name, err)
		}
		if found != nil {
			return found, by(name), nil
		}
	}
	plain, plainErr := c.plain(t)
	if c.CredsStore != "" {
		found, err := askHelper(ctx, c.CredsStore, t.serverNames(""))
		if found != nil {
			return found, by(c.CredsStore), nil
		}
		// A failing credsStore is ignored if auths has the credentials.
		if err != nil && plain == nil {
			return fail(helperPrefix+c.CredsStore, err)
		}
	}
	if plainErr != nil {
		return fail("", plainErr)
	}
	return plain, f.name, nil
}

// helperFor returns the credential helper that credHelpers names for the target, and the key of
// this entry. Both are empty if there is none.
func (c *config) helperFor(t target) (key, name string) {
	for _, want := range t.keys {
		for _, key := range sortedKeys(c.CredHelpers) {
			if keyOf(key) == want && c.CredHelpers[key] != "" {
				return key, c.CredHelpers[key]
			}
		}
	}
	return "", ""
}

// plain returns the credentials that auths has for the target, for the most specific key of the
// target first. It returns nil if auths has none.
func (c *config) plain(t target) (*authn.AuthConfig, error) {
	keys := sortedKeys(c.Auths)
	for _, want := range t.keys {
		for _, key := range keys {
			if keyOf(key) != want {
				continue
			}
			found, err := parseEntry(c.Auths[key])
			if err != nil {
				return nil, fmt.Errorf("entry %q in auths: %w", key, err)
			}
			if found != nil {
				return found, nil
			}
		}
	}
	return nil, nil
}

// sortedKeys returns the keys of m in a fixed order. URLs come first, because "docker login" writes
// a URL for Docker Hub.
func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if x, y := strings.Contains(a, "://"), strings.Contains(b, "://"); x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	return keys
}

// serverNames returns the names under which a credential helper may store the credentials for the
// target's registry. key is the key of the helper in credHelpers, or empty.
func (t target) serverNames(key string) []string {
	out := []string{t.registry}
	if names.Host(t.registry) == names.DockerHub {
		out = []string{"https://index.docker.io/v1/"}
	}
	if key != "" && key != out[0] {
		out = append(out, key)
	}
	return out
}

// parseEntry parses one entry of auths. It returns nil for an empty entry.
func parseEntry(raw json.RawMessage) (*authn.AuthConfig, error) {
	var entry struct{ Auth, Username, Password, IdentityToken, RegistryToken string }
	if json.Unmarshal(raw, &entry) != nil { // err is not returned, because its text may quote a secret
		return nil, errors.New(`the entry must be an object with the string "auth", or with the strings "username" and "password"`)
	}
	a := authn.AuthConfig{Username: entry.Username, Password: entry.Password, IdentityToken: entry.IdentityToken, RegistryToken: entry.RegistryToken}
	if entry.Auth != "" {
		var err error
		if a.Username, a.Password, err = decodeAuth(entry.Auth); err != nil {
			return nil, err
		}
	}
	return checked(a)
}

// decodeAuth returns the user and password in auth. It removes a final line break, which "echo"
// without -n adds. A password cannot contain a line break: RFC 7617, section 2.
func decodeAuth(auth string) (user, password string, err error) {
	decoded, err := base64.StdEncoding.DecodeString(auth)
	if err != nil {
		decoded, err = base64.RawStdEncoding.DecodeString(auth)
	}
	user, password, ok := strings.Cut(strings.TrimRight(string(decoded), "\r\n\x00"), ":")
	if err != nil || !ok || user == "" {
		return "", "", errors.New("auth is not the base64 form of user:password")
	}
	return user, password, nil
}

// checked returns a copy of the credentials a, or nil without an error if a is empty. It returns an
// error if a value contains control characters, because such a value cannot be sent in an HTTP
// header.
func checked(a authn.AuthConfig) (*authn.AuthConfig, error) {
	if a == (authn.AuthConfig{}) {
		return nil, nil
	}
	for _, s := range []string{a.Username, a.Password, a.IdentityToken, a.RegistryToken} {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, errors.New("the user name, password or token contains a control character")
		}
	}
	return &a, nil
}
