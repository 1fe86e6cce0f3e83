package promote

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vulns "github.com/in-toto/attestation/go/predicates/vulns/v02"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestScanIsInTheFormOfInToto checks the scan in in-toto's format. The published Go types of the
// predicate must parse it, it must have all required fields, and each finding must have the same
// content as in cosign's format.
func TestScanIsInTheFormOfInToto(t *testing.T) {
	w := newWorld(t)
	at := w.tag("app:1")
	img := w.having("linux/amd64", lab.Deb{Name: "openssl", Version: "3.0.9-1"})
	w.put(img, at)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	found, err := attach.Read(t.Context(), trust.Both, at.Context().Digest(digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	var got *vulns.Vulns
	for _, e := range found.Envelopes {
		st, _, err := w.trusting(w.signer.PublicKey()).VerifyEnvelope(e, digest)
		if err != nil {
			t.Fatal(err)
		}
		if st.PredicateType == VulnsType {
			got = new(vulns.Vulns)
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(st.Predicate, got); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got == nil {
		t.Fatal("the statement is missing")
	}
	if got.Scanner.Uri != tool.URI || got.Scanner.Db.GetUri() == "" || got.Scanner.Db.GetVersion() != database.Info().Digest {
		t.Errorf("the scanner is %v", got.Scanner)
	}
	if started, finished := got.Metadata.ScanStartedOn.AsTime(), got.Metadata.ScanFinishedOn.AsTime(); started.IsZero() || finished.Before(started) {
		t.Errorf("the scan was from %s to %s", started, finished)
	}
	if updated := got.Scanner.Db.LastUpdate.AsTime(); !updated.Equal(lastUpdate(database.Info())) {
		t.Errorf("the last update was at %s", updated)
	}
	if len(got.Scanner.Result) == 0 {
		t.Fatal("nothing was found")
	}
	for _, r := range got.Scanner.Result {
		if r.Id == "" || len(r.Severity) == 0 || r.Severity[0].Method == "" || evidence.SeverityUnknown.String() == r.Severity[0].Score {
			t.Errorf("a finding is %v", r)
		}
		if len(r.Annotations) != 1 || r.Annotations[0].Fields["name"].GetStringValue() != "openssl" {
			t.Errorf("%s is noted with %v", r.Id, r.Annotations)
		}
	}
}

// TestRebuiltDatabaseIsNotUpdated checks that lastUpdate is the date of the oldest data, not the
// date of the build.
func TestRebuiltDatabaseIsNotUpdated(t *testing.T) {
	built := time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC)
	captured := func(days int) evidence.Provider { return evidence.Provider{Captured: built.AddDate(0, 0, days)} }
	for name, c := range map[string]struct {
		providers []evidence.Provider
		want      time.Time
	}{
		"no providers":   {nil, built},
		"an old one":     {[]evidence.Provider{captured(-1), captured(-9), captured(-3)}, built.AddDate(0, 0, -9)},
		"all after that": {[]evidence.Provider{captured(1)}, built},
	} {
		got := lastUpdate(evidence.Database{Built: built, Providers: c.providers})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
