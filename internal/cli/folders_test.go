//go:build unix

package cli

import (
	"flag"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/disk"
)

// foldersOf is a command line that names a cache folder, or none.
func foldersOf(cacheDir string) *cli.Context {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.String("cache-dir", cacheDir, "")
	return cli.NewContext(nil, flags, nil)
}

// TestHomeOfAnotherUserIsNotUsedAndNoError: a CI system runs a container as root with a folder of the
// machine as HOME.
func TestHomeOfAnotherUserIsNotUsedAndNoError(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a folder to another user needs root")
	}
	root, err := user.LookupId("0")
	if err != nil || disk.TrustedParents(filepath.Join(root.HomeDir, "x")) != nil {
		t.Skip("root has no home folder of its own here")
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	expect := func(inside string) {
		t.Helper()
		dir, err := cacheDir(foldersOf(""))
		if err != nil || !strings.HasPrefix(dir, inside+"/") {
			t.Errorf("the cache is in %q, want it in %q: %v", dir, inside, err)
		}
		if file, ok := cacheKeyFile(); !ok || !strings.HasPrefix(file, inside+"/") {
			t.Errorf("the key of the cache is %q, want it in %q", file, inside)
		}
	}
	expect(home)
	if err := os.Chown(home, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	expect(root.HomeDir)
	// What is named is used or refused.
	if dir, err := cacheDir(foldersOf(filepath.Join(home, "cache"))); err == nil {
		t.Errorf("--cache-dir: got %q", dir)
	}
	theirs := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(theirs, "cache"))
	if err := os.Chown(theirs, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	if dir, err := cacheDir(foldersOf("")); err == nil {
		t.Errorf("XDG_CACHE_HOME: got %q", dir)
	}
}

// TestEmptyKeyOfTheCacheDoesNotStay: a process was killed before it wrote the key.
func TestEmptyKeyOfTheCacheDoesNotStay(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	t.Setenv(cacheKeyVariable, "")
	file, ok := cacheKeyFile()
	if !ok {
		t.Skip("the folder for temporary files belongs to another user")
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := cacheKey(t.TempDir())
	if err != nil || len(first) != 32 {
		t.Fatalf("a key of %d bytes, %v", len(first), err)
	}
	if again, err := cacheKey(t.TempDir()); err != nil || string(again) != string(first) {
		t.Errorf("the key changes, %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	// What is in the file is not replaced, whatever it is.
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := cacheKey(t.TempDir()); err != nil || key != nil {
		t.Errorf("a key of %d bytes, %v", len(key), err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("%q, %v", data, err)
	}
}
