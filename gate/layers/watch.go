package layers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Watch counts the bytes that other code writes to a folder from TempDir towards MaxTotal. It also
// limits the number of folders, because each archive nested in another one is unpacked to its own
// folder. It polls, so the limit can be exceeded by the bytes written in one interval, a few
// hundredths of a second.
//
// If a limit is exceeded, Watch cancels the returned context and removes the folder, so that no
// code can write more to it. stop then returns an error that wraps ErrTooLarge. The caller must
// call stop. After that, the bytes of the folder no longer count.
func (s *Store) Watch(ctx context.Context, dir string) (_ context.Context, stop func() error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{store: s, dir: dir, folders: max(leastFolders, foldersPerCPU*runtime.NumCPU())}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for pause := watchPause; ; {
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
			var files int
			if files, w.err = w.look(); w.err != nil {
				cancel(w.err)
				w.err = errors.Join(w.err, os.RemoveAll(dir))
				return
			}
			pause = max(watchPause, time.Duration(files)*watchPerFile)
		}
	}()
	return ctx, func() error {
		close(done)
		<-stopped
		cancel(nil)
		s.used.Add(-w.counted)
		return w.err
	}
}

const (
	watchPause = 20 * time.Millisecond
	// watchPerFile is the pause for each file and folder in the watched folder. The pause between
	// two polls is watchPause, or the sum of these pauses if it is longer, so that polling takes
	// less than a tenth of a core.
	watchPerFile = 50 * time.Microsecond
	// At most foldersPerCPU folders for each CPU may exist at once, or leastFolders in total if
	// that is more. Catalogers unpack about four archives for each CPU at once, and each nested
	// archive needs one more folder. So 128 folders are enough even for deeply nested archives.
	leastFolders  = 1024
	foldersPerCPU = 128
)

type watch struct {
	store   *Store
	dir     string
	folders int
	counted int64
	err     error
}

// look measures the watched folder and compares it with the limits. It returns the number of files
// and folders.
func (w *watch) look() (files int, err error) {
	var bytes int64
	folders := 0
	_ = filepath.WalkDir(w.dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the file was removed meanwhile
		}
		if e.IsDir() {
			folders++
			return nil
		}
		files++
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	used := w.store.used.Add(bytes - w.counted)
	w.counted = bytes
	switch total := w.store.opts.MaxTotal; {
	case used > total:
		return 0, fmt.Errorf("%w: the image needs more than %d bytes on disk with its archives unpacked", ErrTooLarge, total)
	case folders > w.folders:
		return 0, fmt.Errorf("%w: archives in the image are nested too deeply: %d folders are unpacked at once", ErrTooLarge, folders)
	}
	return files + folders, nil
}
