package buildinfo

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestReadDescribesThisExecutable(t *testing.T) {
	got := Read()
	if got.Version == "" || got.Go != runtime.Version() || got.Platform != runtime.GOOS+"/"+runtime.GOARCH || !strings.HasPrefix(got.URI, "https://") {
		t.Errorf("%+v", got)
	}
	data, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(data), `"components":{`) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestIDChangesWithTheExecutable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := ID(file, now); got != now.String() {
		t.Errorf("without a file: %q", got)
	}
	seen := map[string]bool{}
	for _, content := range []string{"a", "ab"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		seen[ID(file, now)] = true
	}
	if err := os.Chtimes(file, now, now); err != nil {
		t.Fatal(err)
	}
	if seen[ID(file, now)] = true; len(seen) != 3 {
		t.Errorf("%v", seen)
	}
}
