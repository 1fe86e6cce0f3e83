package cli

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/disk"
)

// sharedFlag is for containers in which every folder that can be written to has a parent that
// other users could write to, and in which there are no other users.
var sharedFlag = &cli.BoolFlag{Name: "insecure-shared-parents", EnvVars: []string{"IMAGEGATE_INSECURE_SHARED_PARENTS"},
	Usage: "accept cache and temporary folders inside folders that other users can write to"}

// checkFolder checks that only this user or root can change a folder, or replace it by way of a
// folder above it. A folder that does not exist is accepted: this user will own it.
func checkFolder(c *cli.Context, dir string) error {
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
	dir := c.String("cache-dir")
	if dir == "" {
		users, err := os.UserCacheDir()
		if err != nil {
			return "", usagef("no cache folder is known (%v): name one with --cache-dir", err)
		}
		dir = filepath.Join(users, "imagegate")
	}
	return dir, checkFolder(c, dir)
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
func cacheKey(cacheDir string) ([]byte, error) {
	if s := os.Getenv(cacheKeyVariable); s != "" {
		if len(s) < leastCacheKey {
			return nil, usagef("%s is too short: want %d characters or more", cacheKeyVariable, leastCacheKey)
		}
		sum := sha256.Sum256([]byte("imagegate cache key\n" + s))
		return sum[:], nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, nil //nolint:nilerr // without a home folder there is no key
	}
	file := filepath.Join(dir, "imagegate", "cache.key")
	if within(cacheDir, file) || disk.TrustedParents(file) != nil {
		return nil, nil
	}
	if os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return nil, nil
	}
	if err := newCacheKey(file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, nil
	}
	return readCacheKey(file)
}

func newCacheKey(file string) error {
	if _, err := os.Lstat(file); err == nil {
		return fs.ErrExist
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	return disk.WriteNew(file, 0o600, []byte(hex.EncodeToString(key[:])+"\n"))
}

func readCacheKey(file string) ([]byte, error) {
	if err := disk.Secret(file); err != nil {
		return nil, fmt.Errorf("reading the key of the cache: %w", err)
	}
	data, err := readFile("key of the cache", file)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(key) != 32 {
		return nil, nil // another process is just writing it, or was killed while it did
	}
	return key, nil
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
