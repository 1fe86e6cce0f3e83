package vulndb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// TestRecordsFindWhatTheirReadmeSays checks that the example records give the findings in the table
// in examples/records/README.md. Other tests and the demo build their images from this table.
func TestRecordsFindWhatTheirReadmeSays(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(records, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	db := openDB(t, install(t))
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 9 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "type" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows++
		typ, name, bad, good, on, id, severity := syftpkg.Type(cells[1]), cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]
		found := matches(t, db, packageOf(typ, name, bad, on))
		if !slices.Contains(ids(found), id) {
			t.Errorf("%s %s on %q has %q, not %s", name, bad, on, ids(found), id)
			continue
		}
		for _, m := range found {
			if m.Vulnerability.ID != id {
				continue
			}
			if got := strings.ToLower(m.Vulnerability.Metadata.Severity); got != severity {
				t.Errorf("%s of %s is %q, not %q", id, name, got, severity)
			}
			if hasFix := m.Vulnerability.Fix.State == vulnerability.FixStateFixed; hasFix != (good != "never") {
				t.Errorf("%s of %s: fix state is %q, and the table says %q", id, name, m.Vulnerability.Fix.State, good)
			}
		}
		if good != "never" {
			if left := ids(matches(t, db, packageOf(typ, name, good, on))); len(left) != 0 {
				t.Errorf("%s %s on %q still has %q", name, good, on, left)
			}
		}
	}
	if rows < 20 {
		t.Errorf("only %d rows were read from the table", rows)
	}
	if err := db.Err(); err != nil {
		t.Error(err)
	}
}
