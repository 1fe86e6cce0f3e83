package buildinfo

import (
	"bytes"
	"encoding/json"
	"errors"
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

func TestWriteForAPersonAndForAProgram(t *testing.T) {
	info := Info{Version: "v1.2.3", Commit: "abc", CommitTime: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Modified: true, Go: "go1.26", Platform: "linux/amd64",
		Components: map[string]string{"syft": "v1", "grype": "v2"}}
	var text, data bytes.Buffer
	if err := errors.Join(info.Write(&text, "6.1.9", false), info.Write(&data, "6.1.9", true)); err != nil {
		t.Fatal(err)
	}
	const want = "imagegate version v1.2.3\ncommit     abc, 2026-01-02 03:04 UTC, modified\ngo         go1.26, linux/amd64\n" +
		"grype      v2\nsyft       v1\ndatabase   schema 6.1.9\n"
	if text.String() != want {
		t.Errorf("%q", text.String())
	}
	var got struct{ Version, DatabaseSchema string }
	if err := json.Unmarshal(data.Bytes(), &got); err != nil || got.Version != "v1.2.3" || got.DatabaseSchema != "6.1.9" {
		t.Errorf("%s, %v", &data, err)
	}
}
