//go:build unix

package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stranger is the user ID of another user on this machine.
const stranger = 65534

func give(t *testing.T, path string, uid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making files of another user needs root")
	}
	if err := os.Lchown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
}

// TestFileOfAStrangerIsIgnored checks that another user's configuration file in a shared folder is
// neither read nor an error.
func TestFileOfAStrangerIsIgnored(t *testing.T) {
	shared := temp(t)
	file := write(t, shared, Name, "policy: weak.yaml\n")
	give(t, file, stranger)
	var warnings []string
	f, err := Load(Options{Dir: mkdir(t, shared, "mine"), Keys: keys, Warn: func(s string) { warnings = append(warnings, s) }})
	if f != nil || err != nil {
		t.Errorf("%+v, %v", f, err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], file) || !strings.Contains(warnings[0], "owned by another user (user 65534)") {
		t.Errorf("%q", warnings)
	}
}

// TestSearchEndsBeforeTheFolderOfAStranger checks that a file or link of this user is not read from
// a parent folder that another user owns, because the other user may have put it there.
func TestSearchEndsBeforeTheFolderOfAStranger(t *testing.T) {
	theirs := temp(t)
	write(t, theirs, Name, "details: true\n")
	mine := mkdir(t, theirs, "mine")
	give(t, theirs, stranger)
	if got := found(t, theirs, Options{Dir: mine}); got != "" {
		t.Errorf("found %s", got)
	}
}

// TestCheckoutOfAnotherUserIsRead checks that root reads the configuration file in a checkout that
// belongs to another user, as in many CI systems.
func TestCheckoutOfAnotherUserIsRead(t *testing.T) {
	repo := temp(t)
	file := write(t, repo, Name, "details: true\n")
	sub := mkdir(t, repo, "sub")
	for _, path := range []string{file, mkdir(t, repo, ".git"), sub, repo} {
		give(t, path, stranger)
	}
	if got := found(t, repo, Options{Dir: sub}); got != Name {
		t.Errorf("found %q", got)
	}
}

// TestPipeDoesNotBlock checks that a named pipe is refused without being opened.
func TestPipeDoesNotBlock(t *testing.T) {
	dir := temp(t)
	pipe := filepath.Join(dir, Name)
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, o := range []Options{{Named: pipe}, {Dir: dir, Home: dir}} {
			if _, err := load(t, o); err == nil || !strings.Contains(err.Error(), "not a regular file") {
				t.Error(err)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("reading a pipe blocks")
	}
}
