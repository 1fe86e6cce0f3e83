package layers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func watched(t *testing.T, total int64) (*Store, string) {
	t.Helper()
	s, err := New(Options{Dir: t.TempDir(), MaxTotal: total})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	dir, err := s.TempDir("unpack")
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestUnpackedArchivesDoNotPassTheLimit(t *testing.T) {
	s, dir := watched(t, 1<<20)
	ctx, stop := s.Watch(t.Context(), dir)
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 1<<19), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened")
	}
	if err := stop(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if n := s.used.Load(); n != 0 {
		t.Errorf("%d bytes still count", n)
	}
}

func TestNestedArchivesDoNotGoOnForever(t *testing.T) {
	s, dir := watched(t, 0)
	ctx, stop := s.Watch(t.Context(), dir)
	for i := 0; ctx.Err() == nil; i++ {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprint(i)), 0o700); err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if i > 1<<20 {
			t.Fatal("nothing happened")
		}
	}
	if err := stop(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestUnpackingWithinTheLimitsIsNotDisturbed(t *testing.T) {
	s, dir := watched(t, 1<<20)
	ctx, stop := s.Watch(t.Context(), dir)
	for range 10 { // the files exist one after the other, never at the same time
		file := filepath.Join(dir, "archive")
		if err := os.WriteFile(file, make([]byte, 1<<19), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * watchPause / 2)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if ctx.Err() != nil {
		t.Error(ctx.Err())
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if ctx.Err() == nil || s.used.Load() != 0 {
		t.Errorf("afterwards: %v, %d bytes", ctx.Err(), s.used.Load())
	}
}
