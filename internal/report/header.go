package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// header names the tool, the image, the database and the policy.
func (t text) header() {
	t.tool()
	t.image()
	t.database()
	t.baseline()
	if t.Policy.Digest == "" {
		t.field("Policy", "none")
		return
	}
	t.field("Policy", short(t.Policy.File)+" "+short(t.Policy.Digest))
	for _, f := range t.Policy.Files {
		t.field("", "with "+short(f.Name)+" "+short(f.Digest))
	}
}

func (t text) tool() {
	made := []string{short(t.Tool.Name), short(t.Tool.Version)}
	if t.Command != "" {
		made = append(made, "("+short(t.Command)+")")
	}
	var components []string
	for _, name := range slices.Sorted(maps.Keys(t.Tool.Components)) {
		components = append(components, short(name)+" "+short(t.Tool.Components[name]))
	}
	if len(components) > 0 {
		made = append(made, "with "+strings.Join(components, ", "))
	}
	t.field("Made by", strings.Join(made, " "))
	if at := t.referenceTime(); !at.IsZero() {
		t.field("Made at", instant(at))
	}
	if !t.At.IsZero() {
		t.field("As of", instant(t.At)+t.timeLeft(t.At)+", with today's database: nothing is promoted")
	}
}

func (t text) image() {
	t.field("Image", short(t.Input.Image.Reference))
	if t.Input.Image.Digest == "" {
		t.field("Digest", "not resolved")
	} else {
		t.field("Digest", short(t.Input.Image.Digest))
	}
	if t.MovedTo != "" {
		t.field("", "the tag now points to "+short(t.MovedTo)+": it moved during the run, and that image was not evaluated")
	}
	name := "Platforms"
	for _, p := range t.Input.Platforms {
		line := short(p.Platform)
		if t.Decision != nil || t.Outcome() != PassedEarlier && t.Outcome() != Overridden { // else the image was not scanned
			line += fmt.Sprintf(", %s, %s", distribution(p.Distribution), count(len(p.Packages), "package"))
		}
		t.field(name, line)
		t.field("", short(p.Digest))
		name = ""
	}
}

func distribution(d evidence.Distribution) string {
	switch {
	case d.Name != "":
		return short(d.Name)
	case d.ID != "":
		return strings.TrimSpace(short(d.ID) + " " + sanitize(d.Version, maxName))
	}
	return "unknown distribution"
}

func (t text) database() {
	db := t.Input.Database
	if db.Digest == "" && db.Built.IsZero() {
		t.field("Database", "none")
		return
	}
	built := "build date unknown"
	if !db.Built.IsZero() {
		built = "built " + instant(db.Built) + t.age(db.Built)
	}
	t.field("Database", built+", schema "+short(db.Schema))
	if db.Source != "" {
		t.field("", "from "+sanitize(db.Source, maxName))
	}
	t.field("", short(db.Digest))
	t.providers(db.Providers)
	if counts := advisoryCounts(db.Advisories); counts != "" {
		t.field("", "advisories: "+counts)
	}
}

// providers names the oldest data in the database, and the providers without a date.
func (t text) providers(all []evidence.Provider) {
	var oldest evidence.Provider
	var undated []string
	for _, p := range all {
		switch {
		case p.Captured.IsZero():
			undated = append(undated, short(p.Name))
		case oldest.Captured.IsZero() || p.Captured.Before(oldest.Captured):
			oldest = p
		}
	}
	if !oldest.Captured.IsZero() {
		t.field("", fmt.Sprintf("oldest data: %s, captured %s%s", short(oldest.Name), instant(oldest.Captured), t.age(oldest.Captured)))
	}
	if len(undated) > 0 {
		t.field("", "data without a date: "+strings.Join(undated, ", "))
	}
}
