package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFreeOfAMissingFolderIsThatOfItsParent checks that a folder that will be created later has the
// free space of its parent.
func TestFreeOfAMissingFolderIsThatOfItsParent(t *testing.T) {
	dir := t.TempDir()
	have, err := Free(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	missing, err2 := Free(filepath.Join(dir, "not", "yet"))
	if err != nil || err2 != nil || have <= 0 || missing <= 0 {
		t.Errorf("%d, %v; missing: %d, %v", have, err, missing, err2)
	}
}

func TestCheckWritableLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := CheckWritable(dir, 1000); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if err := CheckWritable(filepath.Join(dir, "none"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}
