package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Verified is the result of [Cache.Verify].
type Verified struct {
	// Checked is the number of entries that were read, out of Entries.
	Checked, Entries int
	// Damaged has a reason for each damaged or unreadable entry.
	Damaged []string
}

// Verify reads the entries and checks their frame and checksum, the most recently used entry first.
// It does not read private entries, because damage is only found with their cache key.
// When ctx ends, the rest stays unchecked. The authentication code of an entry covers its cache key,
// which the file does not contain, so only Get can check that code.
func (c *Cache) Verify(ctx context.Context) (Verified, error) {
	entries, err := c.entries()
	entries = slices.DeleteFunc(entries, func(e fs.FileInfo) bool { return strings.HasSuffix(e.Name(), sealed) })
	v := Verified{Entries: len(entries)}
	for i := len(entries) - 1; i >= 0 && ctx.Err() == nil; i-- {
		name := entries[i].Name()
		err := checkEntry(filepath.Join(c.opts.Dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist): // another process removed it
			continue
		case err != nil:
			v.Damaged = append(v.Damaged, fmt.Sprintf("%s: %v", name, err))
		}
		v.Checked++
	}
	return v, err
}

func checkEntry(path string) error {
	stored, err := readEntry(path)
	if err != nil {
		return err
	}
	if len(stored) < headerSize || !bytes.HasPrefix(stored, []byte(frame)) {
		return errors.New("the file does not begin as a cache entry")
	}
	_, err = decompress(stored[headerSize:])
	return err
}
