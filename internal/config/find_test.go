package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// found returns the path of the file that Load finds, relative to dir. It returns "" if Load finds
// none.
func found(t *testing.T, dir string, o Options) string {
	t.Helper()
	f, err := load(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return ""
	}
	rel, err := filepath.Rel(dir, f.Path)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// TestSearchEndsAtTheRepository checks which folders the search covers. A file above the repository
// or above the home folder does not belong to the run.
func TestSearchEndsAtTheRepository(t *testing.T) {
	dir := temp(t)
	write(t, dir, Name, "details: true\n")
	write(t, dir, "home/repo/sub/"+Name, "details: true\n")
	write(t, dir, "home/worktree/.git", "gitdir: elsewhere\n")
	mkdir(t, dir, "home/repo/.git")
	mkdir(t, dir, "home/repo/sub/deep")
	mkdir(t, dir, "home/plain")
	mkdir(t, dir, "other/deep")
	home := filepath.Join(dir, "home")
	for start, want := range map[string]string{
		"":                   Name,
		"other/deep":         Name,
		"home/plain":         "", // the home folder ends the search
		"home/repo":          "", // so does the repository
		"home/worktree":      "", // in a worktree or a submodule, .git is a file
		"home/repo/sub":      "home/repo/sub/" + Name,
		"home/repo/sub/deep": "home/repo/sub/" + Name,
	} {
		if got := found(t, dir, Options{Dir: filepath.Join(dir, start), Home: home}); got != want {
			t.Errorf("%q: %q, want %q", start, got, want)
		}
	}
	write(t, dir, "home/"+Name, "details: true\n")
	if got := found(t, dir, Options{Dir: filepath.Join(dir, "home/plain"), Home: home}); got != "home/"+Name {
		t.Errorf("the file in the home folder: %q", got)
	}
}

// TestFoundLinkMustNotLeaveTheRepository checks that a configuration file that is a symbolic link
// cannot lead to a file outside of the repository.
func TestFoundLinkMustNotLeaveTheRepository(t *testing.T) {
	dir := temp(t)
	secret := write(t, dir, "secret.yaml", "details: true\n")
	mkdir(t, dir, "repo/.git")
	write(t, dir, "repo/shared/gate.yaml", "details: true\n")
	sub := mkdir(t, dir, "repo/sub")
	for target, want := range map[string]string{
		"../shared/gate.yaml":  "",
		secret:                 "must lead to a regular file in ",
		"../../secret.yaml":    "must lead to a regular file in ",
		"../shared":            "must lead to a regular file in ",
		"none.yaml":            "must lead to a regular file in ",
		"/dev/zero":            "must lead to a regular file in ",
		"../shared/../.git/..": "must lead to a regular file in ",
	} {
		path := filepath.Join(sub, Name)
		_ = os.Remove(path)
		link(t, target, path)
		f, err := load(t, Options{Dir: sub})
		if want == "" && (err != nil || f == nil) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", target, f, err)
		}
	}
	// Without a repository, the folder of the file is the limit.
	alone := mkdir(t, dir, "alone")
	link(t, secret, filepath.Join(alone, Name))
	if _, err := load(t, Options{Dir: alone, Home: alone}); err == nil {
		t.Error("a link leaves its folder")
	}
}

// TestFoundFileMustBeReadable checks that a found file that is a folder or too large is an error.
// It must not be ignored.
func TestFoundFileMustBeReadable(t *testing.T) {
	dir := temp(t)
	mkdir(t, dir, Name)
	if _, err := load(t, Options{Dir: dir, Home: dir}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
	big := temp(t)
	write(t, big, Name, strings.Repeat("#", maxSize+1))
	if _, err := load(t, Options{Dir: big, Home: big}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}
