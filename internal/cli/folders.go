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

// sharedFlag disables some folder checks. It is for containers without other users, where the modes
// of folders do not matter: parent folders may be writable for everyone, and a Kubernetes volume
// with an fsGroup is writable for its group.
var sharedFlag = &cli.BoolFlag{Name: "insecure-shared-parents", EnvVars: []string{"IMAGEGATE_INSECURE_SHARED_PARENTS"},
	Usage: "do not check whether other users can write to the parent folders of the cache and temporary folders. For containers that have only one user"}

// checkFolder checks that only this user or root can change a folder, or replace it through a
// parent folder. A folder that does not exist is accepted, because this user will create and own
// it.
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

// tempDir returns the parent folder of the run's own temporary folder. Other users may use the same
// parent folder, such as /tmp.
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

// unpackIn makes libraries unpack archives in dir until undo is called. It sets the variable
// TMPDIR, which os.MkdirTemp reads on each call.
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

// cacheDir returns the folder of the vulnerability database and the scan cache.
func cacheDir(c *cli.Context) (string, error) {
	if dir := c.String("cache-dir"); dir != "" {
		return dir, checkFolder(c, dir)
	}
	users, err := os.UserCacheDir()
	if err != nil {
		return "", exit.Usagef("cannot determine the default cache folder (%v): use --cache-dir DIR", err)
	}
	return defaultFolder(filepath.Join(users, "imagegate"), func(dir string) error { return checkFolder(c, dir) })
}

// defaultFolder returns dir if check accepts it. dir is in the home folder that the variable HOME
// names. In a container, HOME may be a mounted folder of another user. If check refuses dir,
// defaultFolder tries the same path in the home folder from the user database.
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

// inOwnHome returns dir with the home folder of HOME replaced by the home folder from the user
// database. It returns false if the latter does not exist.
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

// cacheKeyVariable is the environment variable with a cache key that several machines share, for
// example CI jobs that restore the cache of another job.
const cacheKeyVariable = "IMAGEGATE_CACHE_KEY"

// leastCacheKey is the minimum length in bytes of the value of cacheKeyVariable.
const leastCacheKey = 32

// cacheKey returns the secret that authenticates cached SBOMs. The secret comes from
// IMAGEGATE_CACHE_KEY or from a file in the user's configuration folder. If the file is missing,
// cacheKey creates it if create is set, and returns nil otherwise. The file must be private to this
// user, and outside the cache folder: restoring a shared cache must not restore the key. If no
// folder is suitable for the file, cacheKey returns nil, which disables the cache.
func cacheKey(c *cli.Context, cacheDir string, create bool) ([]byte, error) {
	if s := os.Getenv(cacheKeyVariable); s != "" {
		if len(s) < leastCacheKey {
			return nil, exit.Usagef("the value of %s is too short: it must have %d characters or more", cacheKeyVariable, leastCacheKey)
		}
		sum := sha256.Sum256([]byte("imagegate cache key\n" + s))
		return sum[:], nil
	}
	file, ok := cacheKeyFile(c)
	if !ok || within(cacheDir, file) || create && ensureCacheKey(file) != nil {
		return nil, nil //nolint:nilerr // a missing key only disables the cache
	}
	if info, err := os.Lstat(file); !create && (errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0) {
		return nil, nil
	}
	return readCacheKey(file)
}

// cacheKeyFile returns the path of the file with the cache key, and whether other users cannot
// change its folder.
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

// checkKeyFolder checks the folder of the cache key and its parent folders with the rules of
// checkFolder.
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

// ensureCacheKey creates the file with the cache key if it is missing, or if a killed process left
// it empty. The new file is renamed into place only when it is complete. If two processes create
// the key at the same time, the second key replaces the first, and cache entries made with the
// first key are ignored.
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
	return nil, nil // the file does not contain a cache key of imagegate
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
