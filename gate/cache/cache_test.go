package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// clock is a clock that advances by one second on every call.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

func open1(t *testing.T, dir string, limit int64) *Cache {
	t.Helper()
	c, err := Open(Options{Dir: dir, Key: make([]byte, keySize), Max: limit, Now: (&clock{now: time.Now().Add(-time.Hour / 2)}).Now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c *Cache, key string, data []byte) {
	t.Helper()
	if err := c.Put(key, data); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestGetReturnsWhatWasPut(t *testing.T) {
	c := open1(t, filepath.Join(t.TempDir(), "new"), 1<<20)
	if _, ok := c.Get("a"); ok {
		t.Error("an empty cache returned an entry")
	}
	put(t, c, "a", []byte("one"))
	put(t, c, "b", nil)
	put(t, c, "a", []byte("two"))
	if got, ok := c.Get("a"); !ok || string(got) != "two" {
		t.Errorf("%q, %v", got, ok)
	}
	if got, ok := c.Get("b"); !ok || len(got) != 0 {
		t.Errorf("%q, %v", got, ok)
	}
	if s, err := c.Status(); err != nil || s.Entries != 2 || s.Bytes == 0 || s.Oldest.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestDamagedEntryIsNotReturned checks that Get does not return a damaged entry. It changes each
// byte of a file, truncates the file at every length, and gives it the name of another entry.
func TestDamagedEntryIsNotReturned(t *testing.T) {
	dir := t.TempDir()
	c := open1(t, dir, 1<<20)
	put(t, c, "a", []byte("some bytes"))
	path := files(t, dir)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, stored []byte) {
		t.Helper()
		if err := os.WriteFile(path, stored, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Get("a"); ok && !bytes.Equal(got, []byte("some bytes")) {
			t.Errorf("%s: %q", what, got)
		}
	}
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		check(fmt.Sprint("byte ", i), changed)
		check(fmt.Sprint("cut at ", i), whole[:i])
	}
	put(t, c, "b", []byte("others"))
	if err := os.Rename(c.path("b"), c.path("a")); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Get("a"); ok {
		t.Errorf("under the name of another: %q", got)
	}
}

// TestPartsAreAuthenticatedTogether checks that GetParts returns what PutParts stored. It changes each
// byte of the entry, and then GetParts must return nothing.
func TestPartsAreAuthenticatedTogether(t *testing.T) {
	dir := t.TempDir()
	c := open1(t, dir, 1<<20)
	if err := c.PutParts("a", []byte("one"), []byte("another")); err != nil {
		t.Fatal(err)
	}
	get := func() string {
		first, second, ok := c.GetParts("a")
		if !ok {
			return ""
		}
		rest, err := second()
		if err != nil {
			t.Fatal(err)
		}
		return string(first) + " " + string(rest)
	}
	if got := get(); got != "one another" {
		t.Errorf("%q", got)
	}
	path := files(t, dir)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := get(); got != "" {
			t.Errorf("byte %d: %q", i, got)
		}
	}
	put(t, c, "b", []byte("a whole entry"))
	if _, _, ok := c.GetParts("b"); ok {
		t.Error("an entry without parts was returned as parts")
	}
}

// TestCacheIsBounded checks that the cache removes the least recently used entry first when it
// reaches its size limit, and that it does not store an entry larger than the limit.
func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	c := open1(t, dir, 400)
	random := func(seed byte) []byte { // random bytes, because they do not compress
		out := make([]byte, 100)
		for i := range out {
			seed = seed*167 + 41
			out[i] = seed ^ byte(i*i)
		}
		return out
	}
	put(t, c, "a", random(1))
	put(t, c, "b", random(2))
	if _, ok := c.Get("a"); !ok {
		t.Fatal("not there")
	}
	put(t, c, "c", random(3))
	_, a := c.Get("a")
	_, b := c.Get("b")
	_, last := c.Get("c")
	if !a || b || !last {
		t.Errorf("a %v, b %v, c %v", a, b, last)
	}
	small := open1(t, dir, 20)
	put(t, small, "d", random(5))
	if _, ok := small.Get("d"); ok {
		t.Error("an entry larger than the cache was stored")
	}
	removed, err := c.Prune(0)
	if err != nil || removed.Entries == 0 || len(files(t, dir)) != 0 {
		t.Errorf("%+v, %v, %v", removed, err, files(t, dir))
	}
}

// TestCacheWithoutRoomStoresNothing checks that a limit of 0 disables the cache.
func TestCacheWithoutRoomStoresNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	c := open1(t, dir, 0)
	put(t, c, "a", []byte("x"))
	if _, ok := c.Get("a"); ok || len(files(t, dir)) > 0 {
		t.Error("the entry was stored")
	}
	if s, err := c.Status(); err != nil || s != (Status{}) {
		t.Errorf("%+v, %v", s, err)
	}
	var none *Cache
	put(t, none, "a", nil)
	if _, ok := none.Get("a"); ok {
		t.Error("a nil cache returned an entry")
	}
}

// TestIncompleteFilesDoNotStay checks that Prune removes old incomplete files and keeps recent
// ones. A process that was killed leaves such files.
func TestIncompleteFilesDoNotStay(t *testing.T) {
	dir := t.TempDir()
	c := open1(t, dir, 1<<20)
	old, recent := filepath.Join(dir, ".imagegate-partial-1"), filepath.Join(dir, ".imagegate-partial-2")
	for _, path := range []string{old, recent} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prune(1 << 20); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 1 || got[0] != recent {
		t.Errorf("%v", got)
	}
}

// TestParallelUseIsSafe checks that readers see a complete entry or none while other workers write.
func TestParallelUseIsSafe(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for worker := range 8 {
		c := open1(t, dir, 2000)
		group.Go(func() {
			for i := range 50 {
				key := fmt.Sprint(i % 5)
				want := bytes.Repeat([]byte(key), 1000)
				if worker%2 == 0 {
					if err := c.Put(key, want); err != nil {
						t.Error(err)
					}
				} else if got, ok := c.Get(key); ok && !bytes.Equal(got, want) {
					t.Errorf("%q", got)
				}
			}
		})
	}
	group.Wait()
}

func TestOptionsAreChecked(t *testing.T) {
	for _, opts := range []Options{{}, {Dir: "x"}, {Dir: "x", Now: time.Now, Max: -1}} {
		if _, err := Open(opts); err == nil {
			t.Errorf("%+v", opts)
		}
	}
}

// TestEntryOfAnotherSecretIsNotReturned checks that Get rejects planted and renamed entries. A user
// who can write to the folder can create entries that look valid, and rename valid ones.
func TestEntryOfAnotherSecretIsNotReturned(t *testing.T) {
	dir := t.TempDir()
	theirs, err := Open(Options{Dir: dir, Max: 1 << 20, Now: time.Now, Key: bytes.Repeat([]byte("x"), keySize)})
	if err != nil {
		t.Fatal(err)
	}
	put(t, theirs, "image of sha256:a", []byte("no packages"))
	ours := open1(t, dir, 1<<20)
	if got, ok := ours.Get("image of sha256:a"); ok {
		t.Errorf("planted: %q", got)
	}
	// Two pipelines with different secrets may share a folder. The entry of the other pipeline is
	// still there.
	if got, ok := theirs.Get("image of sha256:a"); !ok || string(got) != "no packages" {
		t.Errorf("the owner of the secret gets %q, %v", got, ok)
	}
	put(t, ours, "image of sha256:b", []byte("few packages"))
	if err := os.Rename(ours.path("image of sha256:b"), ours.path("image of sha256:a")); err != nil {
		t.Fatal(err)
	}
	if got, ok := ours.Get("image of sha256:a"); ok {
		t.Errorf("of another image: %q", got)
	}
}

// TestCacheWithoutASecretStoresNothing checks that a cache without a secret stores and returns
// nothing, because it cannot authenticate entries.
func TestCacheWithoutASecretStoresNothing(t *testing.T) {
	dir := t.TempDir()
	put(t, open1(t, dir, 1<<20), "a", []byte("x"))
	c, err := Open(Options{Dir: dir, Max: 1 << 20, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "b", []byte("y"))
	_, a := c.Get("a")
	if _, b := c.Get("b"); a || b || len(files(t, dir)) != 1 {
		t.Errorf("a %v, b %v, files %v", a, b, files(t, dir))
	}
	if _, err := Open(Options{Dir: dir, Max: 1, Now: time.Now, Key: []byte("short")}); err == nil {
		t.Error("a short secret is accepted")
	}
}
