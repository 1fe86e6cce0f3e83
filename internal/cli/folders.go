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

	"github.com/imagegate/imagegate/internal/disk"
)

// sharedFlag is for containers without other users, in which the mode of a folder says nothing: every
// parent may be writable for all, and a volume of Kubernetes with an fsGroup for its group.
var sharedFlag = &cli.BoolFlag{Name: "insecure-shared-parents", EnvVars: []string{"IMAGEGATE_INSECURE_SHARED_PARENTS"},
	Usage: "accept folders inside folders that other users can write to (for containers with one user)"}

// checkFolder checks that only this user or root can change a folder, or replace it by way of a
// folder above it. A folder that does not exist is accepted: this user will own it.
func checkFolder(c *cli.Context, dir string) error {
	if c.Bool(sharedFlag.Name) {
		if err := disk.TakeBack(dir, 0o020); err != nil {
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

// tempDir is where a run makes a folder of its own. Other users may have theirs there too.
func tempDir(c *cli.Context) (string, error) {
	dir := c.String("temp-dir")
	if dir == "" {
		dir = os.TempDir()
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", usagef("--temp-dir %q is not a folder", dir)
	}
	if c.Bool(sharedFlag.Name) {
		return dir, nil
	}
	if err := disk.TrustedShared(dir); err != nil {
		return "", err
	}
	return dir, disk.TrustedParents(dir)
}

// unpackIn points the libraries that unpack archives to a folder: os.MkdirTemp reads the variable
// each time.
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

// cacheDir is where the vulnerability database and the catalogs are.
func cacheDir(c *cli.Context) (string, error) {
	if dir := c.String("cache-dir"); dir != "" {
		return dir, checkFolder(c, dir)
	}
	users, err := os.UserCacheDir()
	if err != nil {
		return "", usagef("no cache folder is known (%v): name one with --cache-dir", err)
	}
	return defaultFolder(filepath.Join(users, "imagegate"), func(dir string) error { return checkFolder(c, dir) })
}

// defaultFolder returns dir, which is in the user's home folder by the environment, if check accepts
// it. If dir is another user's, it returns the same place in the home folder that the user database
// states: in a container HOME may be a folder of the machine, which a user of the machine owns.
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

// inOwnHome returns the place of dir in the home folder that the user database states.
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

// cacheKeyVariable holds a secret that several machines share, as the jobs of a pipeline do that
// restore the cache from elsewhere.
const cacheKeyVariable = "IMAGEGATE_CACHE_KEY"

// leastCacheKey is how many characters such a secret must have.
const leastCacheKey = 32

// cacheKey is the secret that authenticates cached catalogs: IMAGEGATE_CACHE_KEY, or a file in the
// user's configuration folder, which is made if it does not exist. The key is nil, and nothing is
// cached, if there is no place for such a file that only this user can read, outside the cache
// folder: whoever restores that folder would restore the key with it.
func cacheKey(c *cli.Context, cacheDir string) ([]byte, error) {
	if s := os.Getenv(cacheKeyVariable); s != "" {
		if len(s) < leastCacheKey {
			return nil, usagef("%s is too short: want %d characters or more", cacheKeyVariable, leastCacheKey)
		}
		sum := sha256.Sum256([]byte("imagegate cache key\n" + s))
		return sum[:], nil
	}
	file, ok := cacheKeyFile(c)
	if !ok || within(cacheDir, file) || ensureCacheKey(file) != nil {
		return nil, nil //nolint:nilerr // without a place for it there is no key
	}
	return readCacheKey(file)
}

// cacheKeyFile is where the secret is, if this user has such a place.
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

// checkKeyFolder checks the folder that holds the secret, and the folders above it as checkFolder does.
func checkKeyFolder(c *cli.Context, file string) error {
	if !c.Bool(sharedFlag.Name) {
		return disk.TrustedParents(file)
	}
	dir := filepath.Dir(file)
	if err := disk.TakeBack(dir, 0o070); err != nil {
		return err
	}
	if err := disk.Trusted(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ensureCacheKey makes the secret if there is none. The file gets its name when it is complete; an
// empty one is of a process that was killed. Of two processes that do so at once, one replaces the
// secret of the other, whose entries are then ignored.
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
	return nil, nil // it is not a file of this program
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
