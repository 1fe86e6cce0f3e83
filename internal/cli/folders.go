package cli

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
)

// sharedFlag is for containers without other users, where folder modes mean nothing: every parent
// may be writable for all, and a Kubernetes volume with an fsGroup is writable for its group.
var sharedFlag = &cli.BoolFlag{Name: "insecure-shared-parents", EnvVars: []string{"IMAGEGATE_INSECURE_SHARED_PARENTS"},
	Usage: "do not check who else can write to the parents of the cache and temporary folders. For containers without other users"}

// checkFolder checks that only this user or root can change a folder, or replace it through a
// parent folder. A folder that does not exist is accepted: this user will own it.
func checkFolder(c *cli.Context, dir string) error {
	if c.Bool(sharedFlag.Name) {
		if err := disk.RemovePermissions(dir, 0o020); err != nil {
			return fmt.Errorf("removing the group's write permission in %q: %w", dir, err)
		}
	}
	err := disk.Trusted(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && !c.Bool(sharedFlag.Name) {
		err = disk.TrustedParents(dir)
	}
	return err
}

// tempDir returns the parent folder of a run's own temporary folder. Other users may have theirs
// there too.
func tempDir(c *cli.Context) (string, error) {
	dir := c.String("temp-dir")
	if dir == "" {
		dir = os.TempDir()
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", exit.Usagef("--temp-dir %q is not a folder", dir)
	}
	if c.Bool(sharedFlag.Name) {
		return dir, nil
	}
	if err := disk.TrustedShared(dir); err != nil {
		return "", err
	}
	return dir, disk.TrustedParents(dir)
}

// unpackIn makes libraries that unpack archives use dir: os.MkdirTemp reads the variable on each
// call.
func unpackIn(dir string) (undo func() error, err error) {
	name := "TMPDIR"
	if runtime.GOOS == "windows" {
		name = "TMP"
	}
	before, set := os.LookupEnv(name)
	if err := os.Setenv(name, dir); err != nil {
		return nil, err
	}
	return func() error {
		if !set {
			return os.Unsetenv(name)
		}
		return os.Setenv(name, before)
	}, nil
}

// cacheDir returns the folder of the vulnerability database and the SBOM cache.
func cacheDir(c *cli.Context) (string, error) {
	if dir := c.String("cache-dir"); dir != "" {
		return dir, checkFolder(c, dir)
	}
	users, err := os.UserCacheDir()
	if err != nil {
		return "", exit.Usagef("no default cache folder (%v): use --cache-dir DIR", err)
	}
	return defaultFolder(filepath.Join(users, "imagegate"), func(dir string) error { return checkFolder(c, dir) })
}

// defaultFolder returns dir, which the environment places in the user's home folder, if check
// accepts it. If check refuses it, defaultFolder uses the same path in the home folder from the
// user database. In a container, HOME may be a folder of the host that another user owns.
func defaultFolder(dir string, check func(dir string) error) (string, error) {
	err := check(dir)
	var untrusted *disk.UntrustedError
	if !errors.As(err, &untrusted) {
		return dir, err
	}
	own, ok := inOwnHome(dir)
	if !ok || check(own) != nil {
		return dir, err
	}
	return own, nil
}

// inOwnHome returns dir relocated to the home folder from the user database.
func inOwnHome(dir string) (string, bool) {
	named, err := os.UserHomeDir()
	if err != nil {
		return "", false
	}
	rel, err := filepath.Rel(named, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return "", false
	}
	info, err := os.Stat(u.HomeDir)
	return filepath.Join(u.HomeDir, rel), err == nil && info.IsDir()
}

func databaseDir(c *cli.Context) (string, error) {
	dir, err := cacheDir(c)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "db")
	return dir, checkFolder(c, dir)
}

// cacheKeyVariable holds a secret that several machines share, such as pipeline jobs that restore
// the cache from elsewhere.
const cacheKeyVariable = "IMAGEGATE_CACHE_KEY"

// leastCacheKey is the minimum length of such a secret, in bytes.
const leastCacheKey = 32

// cacheKey returns the secret that authenticates cached SBOMs: IMAGEGATE_CACHE_KEY, or a file in
// the user's configuration folder, created if missing. It returns nil, which disables the cache, if
// no such file can be private to this user and outside the cache folder: restoring a shared cache
// would restore the key with it.
func cacheKey(c *cli.Context, cacheDir string) ([]byte, error) {
	if s := os.Getenv(cacheKeyVariable); s != "" {
		if len(s) < leastCacheKey {
			return nil, exit.Usagef("%s is too short: want %d characters or more", cacheKeyVariable, leastCacheKey)
		}
		sum := sha256.Sum256([]byte("imagegate cache key\n" + s))
		return sum[:], nil
	}
	file, ok := cacheKeyFile(c)
	if !ok || within(cacheDir, file) || ensureCacheKey(file) != nil {
		return nil, nil //nolint:nilerr // nothing is cached without a key
	}
	return readCacheKey(file)
}

// cacheKeyFile returns the path of the secret, and whether this user has a safe place for it.
func cacheKeyFile(c *cli.Context) (string, bool) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false
	}
	file, err := defaultFolder(filepath.Join(dir, "imagegate", "cache.key"), func(file string) error {
		return checkKeyFolder(c, file)
	})
	return file, err == nil
}

// checkKeyFolder checks the folder of the secret and its parent folders as checkFolder does.
func checkKeyFolder(c *cli.Context, file string) error {
	if !c.Bool(sharedFlag.Name) {
		return disk.TrustedParents(file)
	}
	dir := filepath.Dir(file)
	if err := disk.RemovePermissions(dir, 0o070); err != nil {
		return err
	}
	if err := disk.Trusted(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ensureCacheKey creates the secret if it does not exist. The file is complete when it gets its
// name; an empty file was left by a killed process. If two processes create the secret at once, one
// replaces it, and the cache entries of the other process are ignored.
func ensureCacheKey(file string) error {
	if info, err := os.Lstat(file); err == nil && (!info.Mode().IsRegular() || info.Size() > 0) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	return disk.WriteBytes(file, 0o600, []byte(hex.EncodeToString(key[:])+"\n"))
}

func readCacheKey(file string) ([]byte, error) {
	if err := disk.Secret(file); err != nil {
		return nil, fmt.Errorf("reading the key of the cache: %w", err)
	}
	data, err := readFile("key of the cache", file)
	if err != nil {
		return nil, err
	}
	if key, err := hex.DecodeString(strings.TrimSpace(string(data))); err == nil && len(key) == 32 {
		return key, nil
	}
	return nil, nil // not a file of this program
}

// within reports whether a file is inside a folder.
func within(dir, file string) bool {
	for _, resolve := range []func(string) (string, error){filepath.Abs, filepath.EvalSymlinks} {
		d, err1 := resolve(dir)
		f, err2 := resolve(filepath.Dir(file))
		if err1 != nil || err2 != nil {
			continue
		}
		if rel, err := filepath.Rel(d, f); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}
