//go:build unix

package cli

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/disk"
)

// foldersOf returns a command line with --cache-dir. If cacheDir is empty, the flag is not given.
func foldersOf(cacheDir string) *cli.Context {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.String("cache-dir", cacheDir, "")
	return cli.NewContext(nil, flags, nil)
}

// foldersOfOneUser returns the command line of foldersOf with --insecure-shared-parents added.
func foldersOfOneUser(cacheDir string) *cli.Context {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.String("cache-dir", cacheDir, "")
	flags.Bool(sharedFlag.Name, true, "")
	return cli.NewContext(nil, flags, nil)
}

// mountWithGroup changes a volume as the kubelet does for an fsGroup: the group owns every file and
// can read and write it, and new files inherit the group of their folder.
func mountWithGroup(t *testing.T, volume string, group int) {
	t.Helper()
	err := filepath.WalkDir(volume, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return err
		}
		mode := info.Mode() | 0o660
		if d.IsDir() {
			mode |= fs.ModeSetgid | 0o110
		}
		return errors.Join(os.Lchown(path, -1, group), os.Chmod(path, mode))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestVolumeWithGroupIsUsedWhereThereIsOneUser checks that a pod can keep its cache and its cache
// key on a volume with an fsGroup if --insecure-shared-parents is set. Without the flag, imagegate
// refuses the volume.
func TestVolumeWithGroupIsUsedWhereThereIsOneUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a folder to another group needs root")
	}
	volume := t.TempDir()
	t.Setenv("HOME", volume)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(volume, "config"))
	t.Setenv(cacheKeyVariable, "")
	dir := filepath.Join(volume, "cache")
	record := filepath.Join(dir, "db", "record")
	elsewhere := t.TempDir()
	var key []byte
	for mount := range 2 {
		mountWithGroup(t, volume, 2000)
		if got, err := cacheDir(foldersOf(dir)); err == nil {
			t.Errorf("mount %d: without the flag %q is used", mount, got)
		}
		if _, err := cacheDir(foldersOfOneUser(dir)); err != nil {
			t.Fatal(err)
		}
		again, err := cacheKey(foldersOfOneUser(""), elsewhere, true)
		if err != nil || len(again) != 32 || mount > 0 && string(again) != string(key) {
			t.Fatalf("mount %d: a key of %d bytes, %v", mount, len(again), err)
		}
		key = again
		if mount > 0 {
			if err := disk.Trusted(record); err != nil {
				t.Error(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(record), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(record, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// With the flag, cacheDir only removes the group's permissions from files. A file of another
	// user, or a file that all users can write, stays unchanged and is not trusted.
	for what, spoil := range map[string]func() error{
		"another user's": func() error { return os.Chown(record, 65534, 2000) },
		"for all users":  func() error { return errors.Join(os.Chown(record, 0, 2000), os.Chmod(record, 0o666)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := cacheDir(foldersOfOneUser(dir)); err != nil {
			t.Fatal(err)
		}
		if disk.Trusted(record) == nil {
			t.Errorf("%s file is trusted", what)
		}
	}
}

// TestHomeOfAnotherUserIsNotUsedAndNoError checks that root uses the home folder from the user
// database, without an error, if HOME belongs to another user. Some CI systems run a container as
// root with a host folder as HOME.
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
		if file, ok := cacheKeyFile(foldersOf("")); !ok || !strings.HasPrefix(file, inside+"/") {
			t.Errorf("the key of the cache is %q, want it in %q", file, inside)
		}
	}
	expect(home)
	if err := os.Chown(home, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	expect(root.HomeDir)
	// A folder that the user names is used or refused, but never replaced with another folder.
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

// TestEmptyKeyOfTheCacheDoesNotStay checks that cacheKey replaces an empty key file. A process that
// is killed before it writes the key leaves such a file.
func TestEmptyKeyOfTheCacheDoesNotStay(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	t.Setenv(cacheKeyVariable, "")
	file, ok := cacheKeyFile(foldersOf(""))
	if !ok {
		t.Skip("the folder for temporary files belongs to another user")
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := cacheKey(foldersOf(""), t.TempDir(), true)
	if err != nil || len(first) != 32 {
		t.Fatalf("a key of %d bytes, %v", len(first), err)
	}
	if again, err := cacheKey(foldersOf(""), t.TempDir(), true); err != nil || string(again) != string(first) {
		t.Errorf("the key changes, %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	// A key file with other content is never replaced.
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := cacheKey(foldersOf(""), t.TempDir(), true); err != nil || key != nil {
		t.Errorf("a key of %d bytes, %v", len(key), err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("%q, %v", data, err)
	}
}
