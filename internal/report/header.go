package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy/evidence"
)

// header writes the tool, the image, the database and the policy.
func (t text) header() {
	t.tool()
	t.image()
	t.database()
	t.baseline()
	if t.Policy.Digest == "" {
		t.label("Policy", "none")
		return
	}
	if !t.details {
		line := short(t.Policy.File) + " " + shortDigest(t.Policy.Digest)
		if len(t.Policy.Files) > 0 {
			var names []string
			for _, f := range t.Policy.Files {
				names = append(names, short(f.Name))
			}
			line += ", with " + strings.Join(names, ", ")
		}
		t.label("Policy", line)
		return
	}
	t.label("Policy", short(t.Policy.File))
	t.label("", short(t.Policy.Digest))
	for _, f := range t.Policy.Files {
		t.label("", "with "+short(f.Name)+" "+short(f.Digest))
	}
}

func (t text) tool() {
	line := short(t.Tool.Name) + " " + short(t.Tool.Version)
	if t.Command != "" {
		line += " " + short(t.Command)
	}
	if at := t.referenceTime(); !at.IsZero() {
		line += ", " + units.Instant(at)
	}
	t.Item(0, line)
	var components []string
	for _, name := range slices.Sorted(maps.Keys(t.Tool.Components)) {
		components = append(components, short(name)+" "+short(t.Tool.Components[name]))
	}
	if len(components) > 0 && t.details {
		t.Item(0, "with "+strings.Join(components, ", "))
	}
	t.Space()
	if !t.At.IsZero() {
		t.label("As of", units.Instant(t.At)+t.timeLeft(t.At)+", with today's database: nothing is promoted")
	}
}

func (t text) image() {
	t.label("Image", short(t.Input.Image.Reference))
	if t.Input.Image.Digest == "" {
		t.label("", "not resolved to a digest")
	} else {
		t.label("", short(t.Input.Image.Digest))
	}
	if t.MovedTo != "" {
		t.label("", "the tag now points to "+short(t.MovedTo)+": it moved during the run, and that image was not evaluated")
	}
	for _, p := range t.Input.Platforms {
		line := short(p.Platform)
		if t.Decision != nil || t.Outcome() != PassedEarlier && t.Outcome() != Overridden { // otherwise, the image was not scanned
			line += fmt.Sprintf(", %s, %s", distribution(p.Distribution), units.Count(len(p.Packages), "package"))
		}
		t.label("", line)
		if t.details {
			t.label("", short(p.Digest))
		}
	}
	if t.Transfer.CacheHits > 0 {
		t.label("", "SBOMs from the cache: "+units.Count(t.Transfer.CacheHits, "platform"))
	}
	if t.Transfer.BytesRead > 0 {
		t.label("", fmt.Sprintf("read %s from the source in %s", units.Size(t.Transfer.BytesRead), units.Count(t.Transfer.Fetches, "fetch")))
	}
}

func distribution(d evidence.Distribution) string {
	switch {
	case d.Name != "":
		return short(d.Name)
	case d.ID != "":
		return strings.TrimSpace(short(d.ID) + " " + layout.Limit(d.Version, layout.MaxName))
	}
	return "unknown distribution"
}

func (t text) database() {
	db := t.Input.Database
	if db.Digest == "" && db.Built.IsZero() {
		t.label("Database", "none")
		return
	}
	built := "build date unknown"
	if !db.Built.IsZero() {
		built = "built " + units.Instant(db.Built) + t.age(db.Built)
	}
	if t.details {
		t.label("Database", built+", schema "+short(db.Schema))
		if db.Source != "" {
			t.label("", "from "+layout.Limit(db.Source, layout.MaxName))
		}
		t.label("", short(db.Digest))
	} else {
		t.label("Database", built)
	}
	t.providers(db.Providers)
	if counts := advisoryCounts(db.Advisories); counts != "" {
		t.label("", "advisories: "+counts)
	}
}

// providers describes data that is at least a day older than the database itself: the oldest
// provider. It also names the providers without a date.
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
	if built := t.Input.Database.Built; !oldest.Captured.IsZero() && (t.details || built.Sub(oldest.Captured) >= 24*time.Hour) {
		t.label("", fmt.Sprintf("oldest data: %s, captured %s%s", short(oldest.Name), units.Instant(oldest.Captured), t.age(oldest.Captured)))
	}
	if len(undated) > 0 {
		t.label("", "data without a date: "+strings.Join(undated, ", "))
	}
}

// Pinned returns the reference of the image by its digest, with the registry as the user wrote it.
// The commands in all formats use this reference.
func (r Report) Pinned() string { return remedy.Pinned(r.Input.Image) }

// shortDigest returns the first digits of a digest, which are enough to recognize it.
func shortDigest(digest string) string {
	const digits = len("sha256:") + 12
	if strings.HasPrefix(digest, "sha256:") && len(digest) > digits {
		digest = digest[:digits]
	}
	return short(digest)
}
