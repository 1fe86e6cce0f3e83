package vulndb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anchore/grype/grype/search"
	syftpkg "github.com/anchore/syft/syft/pkg"
	"github.com/gofrs/flock"
)

// child runs a job of a test in this process. TestMain calls it if a test started this test binary
// as a child process.
func child(job string, args []string) error {
	ctx := context.Background()
	switch dir := args[0]; job {
	case "read":
		for range 15 {
			if err := readOnce(ctx, dir); err != nil {
				return err
			}
		}
		return nil
	case "import":
		for i := range 6 {
			file := args[1+i%2]
			if _, err := Import(ctx, ImportOptions{Dir: dir, File: file, Now: stopped(built)}); err != nil {
				return err
			}
		}
		return nil
	case "update":
		_, err := Update(ctx, UpdateOptions{Dir: dir, URL: args[1], Now: stopped(built)})
		return err
	case "hang":
		// Exit in the middle of an import, and leave the write lock and a temporary folder behind.
		w, err := lockForWriting(ctx, dir)
		if err != nil {
			return err
		}
		tmp, err := w.temporary()
		if err != nil {
			return err
		}
		if err := os.WriteFile(tmp+"/vulnerability.db", []byte("half"), 0o600); err != nil {
			return err
		}
		os.Exit(3)
	}
	return fmt.Errorf("unknown job %q", job)
}

// readOnce opens the current database and looks up an advisory that all databases of the test have.
func readOnce(ctx context.Context, dir string) error {
	db, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	found, err := db.Provider().FindVulnerabilities(
		search.ByEcosystem(syftpkg.JavaScript, syftpkg.NpmPkg), search.ByPackageName("json-schema"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("found %d vulnerabilities", len(found))
	}
	return errors.Join(err, db.Err(), db.Close())
}

func spawn(t *testing.T, job string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "VULNDB_TEST_CHILD="+job)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: %s", job, out.String())
		}
	})
	return cmd
}

func TestReadersNeverSeeAHalfReplacedDatabase(t *testing.T) {
	one, two := mirror(t, records, built), mirror(t, records, built.Add(time.Hour))
	dir := t.TempDir()
	importFile(t, dir, one.Archive)

	var all []*exec.Cmd
	for range 2 {
		all = append(all, spawn(t, "import", dir, one.Archive, two.Archive), spawn(t, "read", dir))
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 10 {
				if err := readOnce(t.Context(), dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for _, file := range []string{one.Archive, two.Archive, one.Archive} {
			if _, err := Import(t.Context(), ImportOptions{Dir: dir, File: file, Now: stopped(built)}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", cmd.Env[len(cmd.Env)-1], err)
		}
	}

	// After the last reader has closed the old database, the directory has only the pointer and one
	// database.
	importFile(t, dir, one.Archive)
	importFile(t, dir, two.Archive)
	if left := folders(t, dir); len(left) != 2 {
		t.Errorf("%q is left", left)
	}
}

// TestLockOnARemovedFolderIsNotHeld checks that a lock in a removed folder does not count as held.
// The folder may be removed, and even created again, between opening the lock file and taking the
// lock.
func TestLockOnARemovedFolderIsNotHeld(t *testing.T) {
	dir := install(t)
	folder := currentFolder(t, dir)
	file := filepath.Join(folder, lockName)
	lock := flock.New(file, flock.SetFlag(os.O_RDONLY))
	if _, err := lock.TryRLock(); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	want := func(want bool) {
		t.Helper()
		if in, err := inPlace(lock, file); err != nil || in != want {
			t.Errorf("in place is %v, %v; want %v", in, err, want)
		}
	}
	want(true)
	if err := os.Rename(folder, folder+"-old"); err != nil {
		t.Fatal(err)
	}
	want(false)
	write(t, file, nil)
	want(false)
	if l, err := lockReader(t.Context(), dir, folderPrefix+strings.Repeat("0", 64)); err != nil || l != nil {
		t.Errorf("a folder that is not there was locked: %v, %v", l, err)
	}
}

func TestParallelUpdatesDownloadOnce(t *testing.T) {
	url, downloads := serve(t, root(mirror(t, records, built)))
	dir := t.TempDir()
	var all []*exec.Cmd
	for range 3 {
		all = append(all, spawn(t, "update", dir, url))
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if downloads.Load() != 1 {
		t.Errorf("%d processes have downloaded %d times", len(all), downloads.Load())
	}
	openDB(t, dir)
}

func TestKilledWriterDoesNotBlockOthers(t *testing.T) {
	dir := install(t)
	var exit *exec.ExitError
	if err := spawn(t, "hang", dir).Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("the process ended with %v", err)
	}
	if len(folders(t, dir)) != 3 {
		t.Fatalf("nothing was left: %q", folders(t, dir))
	}
	openDB(t, dir)
	importFile(t, dir, mirror(t, records, built.Add(time.Hour)).Archive)
	for _, name := range folders(t, dir) {
		if strings.HasPrefix(name, tempPrefix) {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestWaitingForAnotherWriterCanBeCancelled(t *testing.T) {
	b := mirror(t, records, built)
	dir := t.TempDir()
	w, err := lockForWriting(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := Import(ctx, ImportOptions{Dir: dir, File: b.Archive, Now: stopped(built)})
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
	importFile(t, dir, b.Archive)
}
