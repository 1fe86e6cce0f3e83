//go:build unix

package layers

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

const stranger = 65534

// leftOver creates the folder that a killed run leaves behind, with a file in it, and returns its
// path.
func leftOver(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lockName, "blobs/content"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	return err == nil
}

func TestSweepDeletesNothingOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making folders of another user needs root")
	}
	parent := t.TempDir()
	dir := leftOver(t, filepath.Join(parent, "imagegate-1"))
	if err := os.Chown(dir, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	sweep(parent)
	if !exists(t, filepath.Join(dir, "blobs", "content")) {
		t.Error("the folder was removed")
	}
}

func TestSweepDeletesNothingThatOthersCanReach(t *testing.T) {
	parent := t.TempDir()
	dir := leftOver(t, filepath.Join(parent, "imagegate-1"))
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	sweep(parent)
	if !exists(t, filepath.Join(dir, "blobs", "content")) {
		t.Error("the folder was removed")
	}
}

func TestSweepDeletesNothingBehindALink(t *testing.T) {
	parent, home := t.TempDir(), t.TempDir()
	precious := leftOver(t, filepath.Join(home, "precious"))
	nearby := leftOver(t, filepath.Join(parent, "nearby"))
	if err := os.Symlink(precious, filepath.Join(parent, "imagegate-1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nearby", filepath.Join(parent, "imagegate-2")); err != nil {
		t.Fatal(err)
	}
	left := leftOver(t, filepath.Join(parent, "imagegate-3"))
	if err := os.Symlink(precious, filepath.Join(left, "layers")); err != nil {
		t.Fatal(err)
	}
	sweep(parent)
	for _, dir := range []string{precious, nearby} {
		if !exists(t, filepath.Join(dir, "blobs", "content")) {
			t.Errorf("%s was emptied", dir)
		}
	}
	if exists(t, left) {
		t.Error("the left-over folder is still there")
	}
}

// TestSweepDeletesNothingBehindALinkThatAppears checks that a sweep deletes nothing behind a link
// while another user repeatedly replaces a left-over folder with the link.
func TestSweepDeletesNothingBehindALinkThatAppears(t *testing.T) {
	parent, home := t.TempDir(), t.TempDir()
	precious := leftOver(t, filepath.Join(home, "precious"))
	nearby := leftOver(t, filepath.Join(parent, "nearby"))
	name := filepath.Join(parent, "imagegate-1")
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			target := precious
			if i%2 == 0 {
				target = "nearby"
			}
			_ = os.RemoveAll(name)
			_ = os.MkdirAll(filepath.Join(name, "blobs"), 0o700)
			_ = os.WriteFile(filepath.Join(name, lockName), nil, 0o600)
			_ = os.Rename(name, name+".away")
			_ = os.Symlink(target, name)
			_ = os.Remove(name)
			_ = os.Rename(name+".away", name)
		}
	})
	for range 3000 {
		sweep(parent)
	}
	close(done)
	group.Wait()
	for _, dir := range []string{precious, nearby} {
		if !exists(t, filepath.Join(dir, "blobs", "content")) || !exists(t, filepath.Join(dir, lockName)) {
			t.Errorf("%s was emptied", dir)
		}
	}
}

func TestRunFolderIsPrivate(t *testing.T) {
	s, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Stat(s.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestCloseDeletesNothingElsewhere checks that Close deletes nothing in another folder if the name
// of the run's folder has become a link to that folder.
func TestCloseDeletesNothingElsewhere(t *testing.T) {
	parent := t.TempDir()
	precious := leftOver(t, filepath.Join(t.TempDir(), "precious"))
	s, err := New(Options{Dir: parent})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.dir, s.dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, s.dir); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if !exists(t, filepath.Join(precious, "blobs", "content")) {
		t.Error("the other folder was emptied")
	}
}
